/** A receiver of a real process that acknowledges first: it reports over HTTP, also to the process that came after. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ready, startProcess, temporary } from './process.ts';
import { receiver } from './receivers.ts';

async function report(header: string | undefined, body: object): Promise<Response> {
  const [address = '', token] = header?.split(' ') ?? [];
  for (;;) {
    const answer = await fetch(address, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    // Its own answer may not be written down yet.
    if (answer.status !== 409) return answer;
    await answer.arrayBuffer();
  }
}

describe('a failure that is reported to a process', { timeout: 120_000 }, () => {
  test('goes to where the gateway listens, if that is this machine, and has the delivery sent again', async (t) => {
    const data = temporary(t);
    const args = ['start', '--auto-topics', '--allow-egress', 'loopback', '--port', '0', '--data', data, '--json'];
    const first = startProcess(t, args);
    const { ask, address } = await ready(first, data);
    const endpoint = await receiver(t);
    const spec = { topics: ['>'], retry: { schedule: ['1h', '1h'] }, deliver: { webhook: { url: endpoint.url } } };
    assert.equal((await ask('PUT /v1/subscriptions/s', spec)).status, 201);
    await ask('POST /v1/events', { type: 'orders.created', id: 'a' });
    const { headers } = await endpoint.request(1);
    assert.ok(headers['millrace-failed']?.startsWith(`${address}/v1/deliveries/`));
    assert.equal((await report(headers['millrace-failed'], { reason: 'no', delayMs: 0 })).status, 202);
    const again = await endpoint.request(2);
    assert.equal(again.headers['webhook-id'], headers['webhook-id']);
    await first.line(({ kind, n }) => kind === 'delivered' && n === 2);
    assert.equal((await first.line(({ kind }) => kind === 'reported'))['outcome'], 'retry');
    first.child.kill('SIGKILL');
    await first.ended;

    // Nothing of the token is kept: the next process knows it by its key.
    const { port } = new URL(address);
    const second = startProcess(t, [...args, '--port', port]);
    const { ask: askSecond } = await ready(second, data);
    assert.equal((await report(again.headers['millrace-failed'], { reason: 'never', dead: true })).status, 202);
    const { data: letters } = (await askSecond('GET /v1/dead-letters?subscription=s')).json;
    assert.deepEqual([letters[0].cause, letters[0].detail, letters[0].attempts], ['reported_failed', 'never', 2]);
  });

  test('goes to the public address where one is set', async (t) => {
    const args = ['dev', '--no-sample', '--port', '0', '--data', temporary(t), '--json'];
    const running = startProcess(t, args, { MILLRACE_PUBLIC_URL: 'https://events.example/' });
    const { ask } = await ready(running);
    const endpoint = await receiver(t);
    await ask('PUT /v1/subscriptions/s', { topics: ['>'], deliver: { webhook: { url: endpoint.url } } });
    await ask('POST /v1/events', { type: 'orders.created', id: 'a' });
    const { headers } = await endpoint.request(1);
    assert.ok(headers['millrace-failed']?.startsWith('https://events.example/v1/deliveries/'));
  });
});
