/** The examples with a plain NATS client, as their READMEs say: Millrace's log is on the same server. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { receiver } from '../packages/gateway/test/receivers.ts';
import { findBroker } from '../scripts/brokers/find.ts';
import { startChild } from './test/child.ts';
import { startGateway } from './test/gateway.ts';

const { server, skip } = await findBroker('nats');
const NATS_URL = server?.url ?? '';
after(() => server?.remove());

const example = (path: string): [string, string] => [process.execPath, join(import.meta.dirname, path)];
const publish = example('5-native-publisher/publish.ts');
const subscribe = example('6-native-subscriber/subscribe.ts');

describe('a plain NATS client', { skip, timeout: 60_000 }, () => {
  test('publishes to the webhooks of a topic, and is told where nobody keeps it', async (t) => {
    const gateway = await startGateway(t, ['--log', NATS_URL]);
    const endpoint = await receiver(t);
    await gateway.subscribe('s', { topics: ['orders.*'], deliver: { webhook: { url: endpoint.url } } });
    const undeclared = startChild(t, publish, { NATS_URL });
    assert.equal(await undeclared.ended, 1);
    assert.match(undeclared.output(), /nobody keeps orders\.created: declare it, millrace topic create orders\.created/);
    assert.equal((await gateway.ask('PUT /v1/topics/orders.created', {})).status, 201);
    const child = startChild(t, publish, { NATS_URL });
    assert.equal(await child.ended, 0, child.output());
    assert.match(child.output(), /^MILLRACE {2}\d+\n$/);
    const { headers, body } = await endpoint.request(1);
    assert.equal(headers['ce-type'], 'orders.created');
    assert.deepEqual(JSON.parse(body.toString()), { id: 42, amount: 150 });
  });

  test('gets what is published through Millrace, and JSON of it all', async (t) => {
    const gateway = await startGateway(t, ['--log', NATS_URL]);
    const child = startChild(t, subscribe, { NATS_URL });
    await child.printed(/listens on orders\.\*/);
    const id = await gateway.publish({ type: 'orders.paid', data: { id: 42 } });
    await child.printed(new RegExp(`^orders\\.paid  ${id}  \\{"id":42\\}$`, 'm'));
    const bare = await gateway.publish({ type: 'orders.paid' });
    await child.printed(new RegExp(`^orders\\.paid  ${bare}  null$`, 'm'));
    child.kill('SIGTERM');
    assert.equal(await child.ended, 0);
  });
});
