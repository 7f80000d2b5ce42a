/** Quotas at the door: what is answered, what it costs, and that a noisy app costs nobody else anything. */
import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { describe, test } from 'node:test';
import { receiver } from '../../test/receivers.ts';
import { world } from '../../test/world.ts';
import { openDoor } from './test/door.ts';

describe('quotas', { timeout: 60_000 }, () => {
  test('are told of in each answer, and what is too much is refused with when to come again', async (t) => {
    const { ask, key } = await world(t);
    await ask('PATCH /v1/apps/shop', { json: { quotas: { publishesPerSecond: 1, eventsPerDay: 20 } } });
    const shop = await key('shop', ['publish']);
    const first = await ask('POST /v1/events', { key: shop, json: { type: 'orders.created' } });
    assert.equal(first.status, 202);
    assert.equal(first.headers['ratelimit-policy'], '"publishes";q=5;w=5, "day";q=20;w=86400');
    assert.match(String(first.headers['ratelimit']), /^"publishes";r=4;t=1, "day";r=19;t=\d+$/);
    const list = Array.from({ length: 5 }, () => ({ type: 'orders.created' }));
    const refused = await ask('POST /v1/events', { key: shop, json: list });
    assert.deepEqual([refused.status, refused.json.code], [429, 'rate_limited']);
    assert.ok(Number(refused.headers['retry-after']) >= Number(/;t=(\d+)/.exec(String(refused.headers['ratelimit']))?.[1]));
    const tooMany = await ask('POST /v1/topics/orders.created/events', { key: shop, json: 1 });
    assert.equal(tooMany.status, 202);
    const long = await ask('POST /v1/events', {
      key: shop,
      json: Array.from({ length: 19 }, () => ({ type: 'orders.created' })),
    });
    assert.deepEqual([long.status, long.json.code], [429, 'quota_exceeded']);
    const { json: usage } = await ask('GET /v1/apps/shop/usage', { key: shop });
    assert.deepEqual([usage.eventsToday, usage.eventsThisMonth, usage.events, usage.quotas.eventsPerDay], [2, 2, 2, 20]);
    assert.equal((await ask('GET /v1/apps/crm/usage', { key: shop })).status, 404);
    const none = await ask('POST /v1/events', { json: { type: 'orders.created' } });
    assert.equal(none.headers['ratelimit'], undefined, 'an app without quotas is told of none');
  });

  test('count events, so a duplicate does not; and a token counts for its app', async (t) => {
    const { ask, key } = await world(t);
    await ask('PATCH /v1/apps/shop', { json: { quotas: { eventsPerDay: 2 } } });
    const shop = await key('shop', ['publish']);
    const grant = { scopes: ['publish'], topics: ['orders.*'] };
    const { token } = (await ask('POST /v1/tokens', { key: shop, json: grant })).json;
    const event = { type: 'orders.created', id: 'a' };
    assert.equal((await ask('POST /v1/events', { key: shop, json: event })).json.status, 'appended');
    assert.equal((await ask('POST /v1/events', { key: token, json: event })).json.status, 'duplicate');
    assert.equal((await ask('POST /v1/events', { key: token, json: { ...event, id: 'b' } })).status, 202);
    for (const by of [shop, token])
      assert.equal((await ask('POST /v1/events', { key: by, json: { ...event, id: 'c' } })).json.code, 'quota_exceeded');
  });

  test('of lines are kept line by line', async (t) => {
    const { app, ask, key } = await world(t);
    await ask('PATCH /v1/apps/shop', { json: { quotas: { publishesPerSecond: 1 } } });
    const headers = { authorization: `Bearer ${await key('shop', ['publish'])}`, 'content-type': 'application/x-ndjson' };
    const address = await app.listen({ host: '127.0.0.1', port: 0 });
    const send = (lines: number): Promise<Response> =>
      fetch(`${address}/v1/events`, { method: 'POST', headers, body: '{"type":"orders.created"}\n'.repeat(lines) });
    assert.match(await (await send(4)).text(), /"appended":4/);
    const lines = (await (await send(3)).text()).trim().split('\n');
    assert.equal(lines.length, 4);
    assert.ok(
      lines.slice(0, 3).every((line) => line.includes('"rate_limited"')),
      lines.join('\n'),
    );
    const few = await send(1);
    assert.match(await few.text(), /"appended":1/);
    const none = await send(1);
    assert.deepEqual([none.status, none.headers.get('ratelimit-policy')], [429, '"publishes";q=5;w=5']);
  });

  test('of subscriptions refuse one more, whatever the way', async (t) => {
    const { ask, key } = await world(t);
    await ask('PATCH /v1/apps/shop', { json: { quotas: { subscriptions: 1 } } });
    const shop = await key('shop', ['manage']);
    const json = { topics: ['orders.*'], deliver: { webhook: { url: 'http://127.0.0.1:9/' } } };
    const made = await Promise.all(['a', 'b', 'c'].map((id) => ask(`PUT /v1/subscriptions/${id}`, { key: shop, json })));
    assert.deepEqual(
      made.map(({ status }) => status).toSorted((a, b) => a - b),
      [201, 429, 429],
    );
    assert.equal((await ask('POST /v1/subscriptions', { key: shop, json })).json.code, 'quota_exceeded');
    const [there] = made.filter(({ status }) => status === 201);
    assert.equal((await ask(`PUT /v1/subscriptions/${there?.json.id}`, { key: shop, json })).status, 200, 'to change it is none');
    assert.equal((await ask(`DELETE /v1/subscriptions/${there?.json.id}`, { key: shop })).status, 204);
    assert.equal((await ask('POST /v1/subscriptions', { key: shop, json })).status, 201);
    assert.equal((await ask('GET /v1/apps/shop/usage', { key: shop })).json.open.subscriptions, 1);
  });

  test('of deliveries under way hold the subscriptions of an app together, and nobody else', async (t) => {
    const { ask, key } = await world(t);
    await ask('PATCH /v1/apps/shop', { json: { quotas: { deliveriesInFlight: 2 } } });
    const open: ServerResponse[] = [];
    const slow = await receiver(t, (response) => void open.push(response));
    const quick = await receiver(t);
    const subscribe = (id: string, app: string, { url }: { readonly url: string }): Promise<unknown> =>
      ask(`PUT /v1/subscriptions/${id}`, { json: { app, topics: ['orders.created'], deliver: { webhook: { url } } } });
    await subscribe('one', 'shop', slow);
    await subscribe('other', 'shop', slow);
    await subscribe('crm', 'crm', quick);
    const events = Array.from({ length: 5 }, () => ({ type: 'orders.created' }));
    assert.equal((await ask('POST /v1/events', { json: events })).status, 202);
    await slow.request(2);
    await quick.request(5);
    assert.equal(slow.requests.length, 2);
    const { json } = await ask('GET /v1/apps/shop/usage', { key: await key('shop', ['subscribe']) });
    assert.deepEqual(json.open, { connections: 0, subscriptions: 2, deliveriesInFlight: 2 });
    for (let answered = 0; answered < 10; answered++) {
      await slow.request(answered + 1);
      assert.ok(slow.requests.length <= answered + 2);
      open[answered]?.writeHead(204).end();
    }
    assert.equal(slow.requests.length, 10);
  });

  test('refuse before anything of the body has come', async (t) => {
    const door = await openDoor(t);
    await door.ask('PATCH /v1/apps/shop', { json: { quotas: { bytesPerSecond: 1_000 } } });
    const key = await door.key('shop', ['publish']);
    const full = await door.ask('POST /v1/events', { key, json: { type: 'orders.created', data: 'x'.repeat(6_000) } });
    assert.equal(full.status, 202, 'one alone is taken, and puts the app into debt');
    const connection = await door.connect();
    const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json', 'content-length': 5_000_000 };
    connection.write(door.head('POST /v1/events', headers));
    const answer = await connection.all();
    assert.match(answer, /^HTTP\/1\.1 429 /);
    assert.match(answer, /ratelimit: "bytes";r=0;t=\d+\r\n/i);
    assert.match(answer, /retry-after: \d+\r\n/i);
  });

  test('keep a flood of one app from another one, whose events all get in and are all delivered', async (t) => {
    const { app, ask, key } = await world(t);
    await ask('PATCH /v1/apps/shop', { json: { quotas: { publishesPerSecond: 20, deliveriesInFlight: 2 } } });
    const [noisy, quiet] = [await key('shop', ['publish']), await key('crm', ['publish', 'manage'])];
    const endpoint = await receiver(t);
    const json = { topics: ['orders.paid'], deliver: { webhook: { url: endpoint.url } } };
    assert.equal((await ask('PUT /v1/subscriptions/crm-paid', { key: quiet, json })).status, 201);
    const address = await app.listen({ host: '127.0.0.1', port: 0 });
    const publish = async (by: string, event: object): Promise<number> => {
      const headers = { authorization: `Bearer ${by}`, 'content-type': 'application/json' };
      const answer = await fetch(`${address}/v1/events`, { method: 'POST', headers, body: JSON.stringify(event) });
      await answer.arrayBuffer();
      return answer.status;
    };
    const counts = new Map<number, number>();
    let isOver = false;
    const flood = async (): Promise<void> => {
      while (!isOver) {
        const status = await publish(noisy, { type: 'orders.created', data: 'x'.repeat(1_000) });
        counts.set(status, (counts.get(status) ?? 0) + 1);
      }
    };
    const floods = Array.from({ length: 16 }, flood);
    const events = 40;
    for (let sent = 0; sent < events; sent++) assert.equal(await publish(quiet, { type: 'orders.paid', data: { sent } }), 202);
    await endpoint.request(events);
    isOver = true;
    await Promise.all(floods);
    assert.equal(new Set(endpoint.requests.map(({ body }) => body.toString())).size, events);
    assert.deepEqual(
      [...counts.keys()].toSorted((a, b) => a - b),
      [202, 429],
    );
    assert.ok((counts.get(429) ?? 0) > (counts.get(202) ?? 0), JSON.stringify([...counts]));
  });
});
