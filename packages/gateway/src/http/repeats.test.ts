/** A POST with an idempotency key, sent again. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { describe, test } from 'node:test';
import { createHandClock } from '../../test/clock.ts';
import { receiver } from '../../test/receivers.ts';
import { type Answer, world } from '../../test/world.ts';
import { LIMITS, limitsOf } from '../limits.ts';

const SUBSCRIPTION = { topics: ['orders.*'], deliver: { webhook: { url: 'http://127.0.0.1:9/' } } };

describe('the same POST again', { timeout: 30_000 }, () => {
  test('is not done again, and gets the answer of the first time, its secret with it', async (t) => {
    const { ask, directory } = await world(t);
    const headers = { 'idempotency-key': 'one' };
    const first = await ask('POST /v1/subscriptions', { json: SUBSCRIPTION, headers });
    const again = await ask('POST /v1/subscriptions', { json: SUBSCRIPTION, headers });
    assert.deepEqual([first.status, again.status, again.text], [201, 201, first.text]);
    for (const name of ['etag', 'location', 'content-type', 'cache-control'])
      assert.equal(again.headers[name], first.headers[name], name);
    assert.deepEqual([first.headers['idempotency-replayed'], again.headers['idempotency-replayed']], [undefined, 'true']);
    assert.equal((await ask('GET /v1/subscriptions')).json.data.length, 1);
    assert.ok(!JSON.stringify(await directory.list('answer', { limit: 10 })).includes('whsec_'));
  });

  test('of a client that gave up before the answer is done once, and answered when it comes again', async (t) => {
    const { ask, app, admin } = await world(t);
    await app.listen({ host: '127.0.0.1', port: 0 });
    const { port } = app.server.address() as AddressInfo;
    const body = JSON.stringify(SUBSCRIPTION);
    const send = (key: string): string =>
      `POST /v1/subscriptions HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ${admin}\r\nidempotency-key: ${key}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
    for (let n = 0; n < 20; n++) {
      const handled = once(app.server, 'request');
      const socket = connect(port, '127.0.0.1');
      socket.on('error', () => undefined);
      socket.write(send(`gone-${n}`));
      await handled;
      socket.resetAndDestroy();
    }
    for (let n = 0; n < 20; n++) {
      const again = () => ask('POST /v1/subscriptions', { json: SUBSCRIPTION, headers: { 'idempotency-key': `gone-${n}` } });
      let answer = await again();
      // The first may still be under way: it ends by itself.
      for (; answer.status === 409; answer = await again()) assert.equal(answer.json.code, 'in_flight');
      assert.equal(answer.status, 201);
    }
    assert.equal((await ask('GET /v1/subscriptions')).json.data.length, 20);
  });

  test('with another body is refused; at another address, by another app, or after a refusal it is a new one', async (t) => {
    const { ask, key } = await world(t);
    const headers = { 'idempotency-key': 'one' };
    assert.equal((await ask('POST /v1/subscriptions', { json: { topics: [] }, headers })).status, 400);
    const first = await ask('POST /v1/subscriptions', { json: SUBSCRIPTION, headers });
    assert.equal(first.status, 201);
    const other = await ask('POST /v1/subscriptions', { json: { ...SUBSCRIPTION, concurrency: 2 }, headers });
    assert.deepEqual([other.status, other.json.code], [422, 'idempotency_key_reused']);
    const shop = await ask('POST /v1/subscriptions', { json: SUBSCRIPTION, headers, key: await key('shop', ['manage']) });
    assert.notEqual(shop.json.id, first.json.id);
    const made = await ask('POST /v1/apps/shop/keys', { json: { scopes: ['publish'] }, headers });
    assert.deepEqual([made.status, made.headers['idempotency-replayed']], [201, undefined]);
    const again = await ask('POST /v1/apps/shop/keys', { json: { scopes: ['publish'] }, headers });
    assert.equal(again.json.key, made.json.key);
  });

  test('while the first one is worked on is refused', async (t) => {
    const { ask } = await world(t);
    const held: ServerResponse[] = [];
    const endpoint = await receiver(t, (response) => void held.push(response));
    const deliver = { webhook: { url: endpoint.url } };
    await ask('PUT /v1/subscriptions/s', { json: { ...SUBSCRIPTION, deliver } });
    const send = (): Promise<Answer> => ask('POST /v1/subscriptions/s/test', { headers: { 'idempotency-key': 'x' } });
    const first = send();
    await endpoint.request(1);
    assert.equal((await send()).json.code, 'in_flight');
    held[0]?.writeHead(204).end();
    assert.equal((await first).json.delivered, true);
    assert.deepEqual([(await send()).text, endpoint.requests.length], [(await first).text, 1]);
  });

  test('a day later is a new one, and what was kept is gone', async (t) => {
    const clock = createHandClock();
    const { ask, directory } = await world(t, { clock });
    const headers = { 'idempotency-key': 'one' };
    const first = await ask('POST /v1/subscriptions', { json: SUBSCRIPTION, headers });
    await clock.advance(LIMITS.repeatMs);
    const later = await ask('POST /v1/subscriptions', { json: SUBSCRIPTION, headers });
    assert.notEqual(later.json.id, first.json.id);
    assert.equal((await directory.list('answer', { limit: 10 })).length, 1);
    assert.equal(
      (await ask('POST /v1/subscriptions', { json: SUBSCRIPTION, headers: { 'idempotency-key': 'x'.repeat(256) } })).status,
      400,
    );
  });

  test('with another key of the same app does not get an answer that was for the first', async (t) => {
    const { ask, key } = await world(t);
    const [one, other] = [await key('shop', ['manage']), await key('shop', ['manage', 'publish'])];
    const headers = { 'idempotency-key': 'one' };
    const first = await ask('POST /v1/subscriptions', { json: SUBSCRIPTION, headers, key: one });
    const second = await ask('POST /v1/subscriptions', { json: SUBSCRIPTION, headers, key: other });
    assert.deepEqual([second.status, second.json.code], [422, 'idempotency_key_reused']);
    assert.ok(!second.text.includes('whsec_'));
    assert.equal((await ask('POST /v1/subscriptions', { json: SUBSCRIPTION, headers, key: one })).text, first.text);
  });

  for (const [what, limits] of [
    ['places', { repeatsOfApp: 2 }],
    ['bytes', { repeatsOfAppBytes: 1 }],
  ] as const)
    test(`finds the ${what} of its app used up, and those of others not`, async (t) => {
      const { ask, key, directory } = await world(t, { limits: limitsOf(limits) });
      const shop = await key('shop', ['manage']);
      const send = (n: number, of?: string): Promise<Answer> =>
        ask('POST /v1/subscriptions', { json: SUBSCRIPTION, headers: { 'idempotency-key': `key ${n}` }, key: of });
      const most = what === 'places' ? 2 : 1;
      for (let n = 0; n < most; n++) assert.equal((await send(n, shop)).status, 201);
      const refused = await send(most, shop);
      assert.deepEqual([refused.status, refused.json.code], [429, 'too_many_requests']);
      assert.match(refused.json.detail, /'shop'/);
      assert.equal((await send(0, shop)).headers['idempotency-replayed'], 'true');
      assert.equal((await send(0)).status, 201);
      assert.equal((await directory.list('answer', { limit: 10 })).length, most + 1);
    });

  test('counts what others keep, also what was kept before a restart', async (t) => {
    const { ask, key, directory } = await world(t, { limits: limitsOf({ repeatsBytes: 100 }) });
    const kept = { digest: '', status: 201, headers: {}, sealed: 'x'.repeat(100), createdMs: Date.now() };
    await directory.put('answer', 'default', 'crm/x', kept);
    const headers = { 'idempotency-key': 'one' };
    const refused = await ask('POST /v1/subscriptions', { json: SUBSCRIPTION, headers, key: await key('shop', ['manage']) });
    assert.equal(refused.json.code, 'too_many_requests');
    assert.equal((await ask('POST /v1/subscriptions', { json: SUBSCRIPTION })).status, 201);
  });

  test('is kept nowhere where doing it twice is as doing it once', async (t) => {
    const { ask, directory } = await world(t);
    await ask('PUT /v1/subscriptions/s', { json: SUBSCRIPTION });
    const headers = { 'idempotency-key': 'one' };
    for (const verb of ['pause', 'pause', 'resume', 'resume']) {
      const answer = await ask(`POST /v1/subscriptions/s/${verb}`, { headers });
      assert.deepEqual([answer.status, answer.headers['idempotency-replayed']], [200, undefined], verb);
    }
    assert.deepEqual(await directory.list('answer', { limit: 10 }), []);
  });
});
