/** A gateway on a real NATS, and a plain client beside it that writes what it likes. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { connect, headers } from '@nats-io/transport-node';
import { ready, startProcess, temporary } from '../../packages/gateway/test/process.ts';
import { receiver } from '../../packages/gateway/test/receivers.ts';
import { findBroker } from '../../scripts/brokers/find.ts';

const { server, skip } = await findBroker('nats');
after(() => server?.remove());

test(
  'what a plain client writes is delivered where it can be an event, and is else seen by people alone',
  {
    skip,
    timeout: 60_000,
  },
  async (t) => {
    const data = temporary(t);
    const log = ['--log', server?.url ?? ''];
    const running = startProcess(t, ['start', '--json', '--port', '0', '--data', data, '--allow-egress', 'loopback', ...log]);
    const { address, key, ask } = await ready(running, data);
    const endpoint = await receiver(t);
    assert.equal((await ask('PUT /v1/topics/orders.created', {})).status, 201);
    const spec = { topics: ['orders.*'], ordering: 'key', deliver: { webhook: { url: endpoint.url, body: 'event' } } };
    assert.equal((await ask('PUT /v1/subscriptions/crm', spec)).status, 201);

    const nc = await connect({ servers: server?.url ?? '' });
    t.after(() => nc.close());
    const claims = (type: string, id: string) => {
      const lines = headers();
      for (const [name, value] of Object.entries({ specversion: '1.0', id, source: '/plain', datacontenttype: type }))
        lines.set(`ce-${name}`, value);
      return { headers: lines };
    };
    nc.publish('orders.created', '{"a":', claims('application/json', '1'));
    nc.publish('orders.created', 'x'.repeat(600_000));
    nc.publish('orders.created', Uint8Array.of(0xff, 0), claims('application/avro', '2'));
    nc.publish('orders.created', '{"a":1}', claims('application/json', '3'));
    await nc.flush();

    await endpoint.request(2);
    const ids = endpoint.requests.map(({ body }) => JSON.parse(String(body)).id);
    assert.deepEqual(new Set(ids), new Set(['2', '3']), 'bytes that say what they are, and JSON');
    const { json } = await ask('GET /v1/topics/orders.created/rejects');
    assert.deepEqual(
      json.data.map(({ code, bytes }: { readonly code: string; readonly bytes: number }) => [code, bytes]),
      [
        ['payload_too_large', 600_000],
        ['invalid_json', 5],
      ],
    );
    const metrics = await (await fetch(`${address}/metrics`)).text();
    assert.match(metrics, /^millrace_rejects_total\{topic="orders\.created",code="payload_too_large"\} 1$/m);

    const command = async (...args: string[]) => {
      const ended = startProcess(t, [...args, '--url', address, '--key', key]);
      await ended.ended;
      return ended.output.stdout;
    };
    assert.match(await command('topic', 'rejects', 'orders.created'), /payload_too_large.*\n.*invalid_json/);
    const said = await command('doctor');
    assert.match(said, /^worth knowing: 2 messages of clients of the broker could not be events .*: millrace topic rejects/m);
    assert.match(said, /^worth knowing: whether an event that was answered survives a power loss is not known here: /m);
  },
);
