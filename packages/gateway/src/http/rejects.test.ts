/** What a native client wrote and is no event: seen by whom it concerns, and by no subscription. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createNativeLog } from '../../test/natives.ts';
import { receiver } from '../../test/receivers.ts';
import { world } from '../../test/world.ts';
import { createMetrics } from '../metrics.ts';

const ROUTE = 'GET /v1/topics/orders.created/rejects';

test(
  'rejects are listed with what they begin with, for an admin and the owner; a reader sees that they are there',
  {
    timeout: 30_000,
  },
  async (t) => {
    const log = createNativeLog();
    const { ask, key } = await world(t, { stores: { log } });
    await log.write('orders.created', 'bad one', `bad ${'x'.repeat(1_000)}`, '{}');
    const { status, json } = await ask(ROUTE);
    assert.deepEqual([status, json.next], [200, null]);
    assert.deepEqual(
      json.data.map(({ code, detail, bytes, begins }: Record<string, unknown>) => [code, detail, bytes, String(begins).length]),
      [
        ['invalid_json', 'it is no JSON', 1_004, 256],
        ['invalid_json', 'it is no JSON', 7, 7],
      ],
    );
    const crm = await key('crm', ['subscribe']);
    const seen = (await ask(ROUTE, { key: crm })).json;
    assert.deepEqual([seen.data.length, seen.data[0].code, 'begins' in seen.data[0]], [2, 'invalid_json', false]);
    assert.equal((await ask(ROUTE, { key: await key('shop', ['publish']) })).status, 403);
    const first = (await ask(`${ROUTE}?limit=1`)).json;
    const second = (await ask(`${ROUTE}?limit=1&cursor=${first.next}`)).json;
    assert.deepEqual([first.data[0].bytes, second.data[0].bytes], [1_004, 7]);
    assert.equal((await ask(`${ROUTE}?cursor=x`)).status, 400);
    assert.equal((await ask('GET /v1/topics/orders..x/rejects')).json.code, 'invalid_topic');
  },
);

test('where nobody writes past the gateway there are none', { timeout: 30_000 }, async (t) => {
  const { ask } = await world(t);
  assert.deepEqual((await ask(ROUTE)).json.data, []);
});

test(
  'a reject is delivered to nobody and holds up nobody, not its key either; it is counted and told of',
  {
    timeout: 30_000,
  },
  async (t) => {
    const log = createNativeLog();
    const metrics = createMetrics({ version: '1' });
    const { ask, notice } = await world(t, { stores: { log } });
    const endpoint = await receiver(t);
    const spec = { topics: ['orders.*'], ordering: 'key', deliver: { webhook: { url: endpoint.url } } };
    assert.equal((await ask('PUT /v1/subscriptions/crm', { json: spec })).status, 201);
    await log.write('orders.created', 'bad', '{"good":1}');
    const { body } = await endpoint.request(1);
    assert.equal(String(body), '{"good":1}');
    const told = await notice('rejected');
    assert.deepEqual([told.topic, told.code, told.detail], ['orders.created', 'invalid_json', 'it is no JSON']);
    metrics.notice(told);
    assert.match(await metrics.text(), /^millrace_rejects_total\{topic="orders\.created",code="invalid_json"\} 1$/m);
    const { findings } = (await ask('GET /v1/health/checks')).json.data[0];
    assert.match(
      findings[0].problem,
      /^1 message of clients of the broker could not be events .* on orders\.created \(invalid_json\)$/,
    );
    assert.deepEqual((await ask('GET /v1/events?from=earliest')).json.data.length, 1, 'and is no event for people either');
  },
);
