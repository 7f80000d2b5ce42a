/** Sessions and plain streams over server-sent events, as a client with fetch sees them. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { turnsUntil } from '../http/test/door.ts';
import { realtime, type RealtimeDoor } from './test/client.ts';
import { follow, openSession, type Stream } from './test/stream.ts';

describe('server-sent events', { timeout: 30_000 }, () => {
  test('carry a session: frames in the body, more by POST, what comes of them on the stream', async (t) => {
    const door = await realtime(t);
    const stream = await openSession(t, door, [
      { op: 'hello', v: 1 },
      { op: 'sub', sub: 1, topics: ['orders.created'], credit: 1 },
    ]);
    const { session } = await stream.frame('welcome');
    assert.equal((await stream.frame('subed')).recovered, true);
    const ids = [await door.publish('orders.created', { n: 1 }), await door.publish('orders.created', { n: 2 })];
    const first = await stream.next(({ data = '' }) => data.includes('"msg"'));
    assert.equal(JSON.parse(first.data ?? '').event.id, ids[0]);
    assert.equal(first.id, JSON.parse(first.data ?? '').cursor);
    const said = await door.ask(`POST /v1/sse/${session}`, { json: [{ op: 'credit', sub: 1, add: 1 }] });
    assert.equal(said.status, 202);
    assert.equal((await stream.frame('msg')).event.id, ids[1]);
    const other = await door.key('shop', ['subscribe']);
    assert.equal((await door.ask(`POST /v1/sse/${session}`, { key: other, json: [] })).status, 404);
    await door.ask(`POST /v1/sse/${session}`, { json: [{ op: 'bye' }] });
    await stream.ended();
    assert.equal((await door.ask(`POST /v1/sse/${session}`, { json: [] })).status, 404);
    assert.deepEqual(door.errors, []);
  });

  test('carry a group, whose deliveries go to others when the stream ends', async (t) => {
    const door = await realtime(t);
    const join = [
      { op: 'hello', v: 1 },
      { op: 'sub', sub: 1, group: 'mailer', topics: ['orders.created'], credit: 1 },
    ];
    const one = await openSession(t, door, join);
    await one.frame('subed');
    await door.publish('orders.created', { n: 1 });
    const { id } = await one.frame('msg');
    one.close();
    const other = await openSession(t, door, join);
    const { session } = await other.frame('welcome');
    const again = await other.frame('msg');
    assert.deepEqual([again.id, again.attempt], [id, 2]);
    await door.ask(`POST /v1/sse/${session}`, { json: [{ op: 'ack', sub: 1, ids: [id] }] });
    assert.deepEqual((await other.frame('acked')).ids, [id]);
  });

  test('follow topics with curl: data is the event over as many lines as it has, id is where to go on', async (t) => {
    const door = await realtime(t);
    const stream = await follow(t, door, '?topics=orders.created');
    await stream.next(({ id }) => id !== undefined);
    await door.ask('POST /v1/events', {
      body: '{"type":"orders.created","data":{\n "n": 12345678901234567890,\r\n "m": 1}}',
      headers: { 'content-type': 'application/json' },
    });
    const first = await stream.next(({ data }) => data !== undefined);
    assert.match(first.data ?? '', /"data":\{\n "n": 12345678901234567890,\n "m": 1\}/);
    stream.close();
    const missed = await door.publish('orders.created', { n: 2 });
    const again = await follow(t, door, '?topics=orders.created', { 'last-event-id': first.id ?? '' });
    assert.equal(JSON.parse((await again.next(({ data }) => data !== undefined)).data ?? '').id, missed);
    const lost = await follow(t, door, '?topics=orders.created', { 'last-event-id': 'nonsense' });
    assert.deepEqual(JSON.parse((await lost.next(({ type }) => type === 'gap')).data ?? ''), { reason: 'unknown_cursor' });
  });

  test('are refused with where and why', async (t) => {
    const door = await realtime(t, { sessions: 1 });
    assert.equal((await door.ask('GET /v1/sse')).json.code, 'invalid_topic');
    assert.equal((await door.ask('GET /v1/sse?topics=a&from=earliest')).json.pointer, '/query/from');
    assert.equal((await door.ask('POST /v1/sse', { key: '', json: [] })).status, 401);
    const stream = await openSession(t, door, [{ op: 'sub', sub: 1, topics: ['a'], credit: 1 }]);
    assert.equal((await stream.frame('bye')).code, 4_400);
    await stream.ended();
    const good = await openSession(t, door, [{ op: 'hello', v: 1 }]);
    await good.frame('welcome');
    assert.equal((await door.ask('POST /v1/sse', { json: [{ op: 'hello', v: 1 }] })).json.code, 'overloaded');
  });

  test('end with the gateway, after a word', async (t) => {
    const door = await realtime(t);
    const [session, plain] = [await openSession(t, door, [{ op: 'hello', v: 1 }]), await follow(t, door, '?topics=a')];
    await session.frame('welcome');
    const closed = door.app.close();
    assert.equal((await session.frame('bye')).code, 4_001);
    await Promise.all([session.ended(), plain.ended(), closed]);
  });
});

describe('a plain stream of events', { timeout: 30_000 }, () => {
  const QUERY = '?topics=orders.created';
  const opened = async (stream: Stream): Promise<Stream> => {
    await stream.next(({ id }) => id !== undefined);
    return stream;
  };

  test('ends when its token is revoked or its key deleted', async (t) => {
    const door = await realtime(t);
    const { id, key } = (await door.ask('POST /v1/apps/shop/keys', { json: { scopes: ['subscribe'] } })).json;
    const [one, other] = [await tokenOf(door, key), await tokenOf(door, key)];
    const [revoked, ofToken, ofKey] = await Promise.all(
      [one.token, other.token, key].map(async (by) => opened(await follow(t, door, QUERY, as(by)))),
    );
    assert.equal((await door.ask('POST /v1/tokens/revoke', { json: { app: 'shop', jti: one.jti } })).status, 204);
    await revoked?.ended();
    await door.publish('orders.created', { n: 1 });
    for (const stream of [ofToken, ofKey]) await stream?.next(({ data }) => data !== undefined);
    await door.ask(`DELETE /v1/apps/shop/keys/${id}`);
    await Promise.all([ofToken?.ended(), ofKey?.ended()]);
    assert.deepEqual(door.errors, []);
  });

  test('ends with the app', async (t) => {
    const door = await realtime(t);
    const key = await door.key('shop', ['subscribe']);
    const { token } = await tokenOf(door, key);
    const streams = await Promise.all([key, token].map(async (by) => opened(await follow(t, door, QUERY, as(by)))));
    assert.equal((await door.ask('DELETE /v1/apps/shop')).status, 204);
    for (const stream of streams) await stream.ended();
  });

  test('ends with its token, after a while for a backend that is slow', async (t) => {
    const door = await realtime(t, { tokenGraceMs: 20_000, heartbeatMs: 60_000 });
    const { token } = await tokenOf(door, await door.key('shop', ['subscribe']), { ttl: '30s' });
    const stream = await opened(await follow(t, door, QUERY, as(token)));
    await door.hand.advance(40_000);
    await door.publish('orders.created', { n: 1 });
    await stream.next(({ data }) => data !== undefined);
    await door.hand.advance(10_000);
    await stream.ended();
  });

  test('counts against the connections of its app, and the sessions of the process', async (t) => {
    const door = await realtime(t, { sessions: 2 });
    await door.ask('PATCH /v1/apps/shop', { json: { quotas: { connections: 1 } } });
    const key = await door.key('shop', ['subscribe']);
    const { token, jti } = await tokenOf(door, key);
    const first = await opened(await follow(t, door, QUERY, as(token)));
    assert.equal((await follow(t, door, QUERY, as(key))).status, 429);
    await opened(await follow(t, door, QUERY));
    assert.equal((await door.ask(`GET /v1/sse${QUERY}`)).json.code, 'overloaded');
    assert.equal((await door.ask('POST /v1/sse', { json: [{ op: 'hello', v: 1 }] })).json.code, 'overloaded');
    await door.ask('POST /v1/tokens/revoke', { json: { app: 'shop', jti } });
    await first.ended();
    await opened(await follow(t, door, QUERY, as(key)));
  });

  test('is for a page of the app, with a token', async (t) => {
    const door = await realtime(t);
    const origin = 'https://shop.example';
    await door.ask('PATCH /v1/apps/shop', { json: { origins: [origin] } });
    const key = await door.key('shop', ['subscribe']);
    const { token } = await tokenOf(door, key);
    const codeOf = async (by: string, from: string): Promise<string> =>
      (await door.ask(`GET /v1/sse${QUERY}`, { key: by, headers: { origin: from } })).json.code;
    assert.equal(await codeOf(key, origin), 'forbidden');
    assert.equal(await codeOf(door.admin, 'https://elsewhere.example'), 'forbidden');
    assert.equal(await codeOf(token, 'https://elsewhere.example'), 'origin_not_allowed');
    await opened(await follow(t, door, QUERY, { ...as(token), origin }));
  });

  test('leaves nothing where its client goes, or it is refused, while it is being opened', async (t) => {
    const door = await realtime(t);
    const { feeds } = door.gateway;
    const really = feeds.open;
    const opening = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    let waiting = 0;
    t.mock.method(feeds, 'open', async (...given: Parameters<typeof really>) => {
      if (++waiting === 2) opening.resolve();
      await goOn.promise;
      return really(...given);
    });
    const { token, jti } = await tokenOf(door, await door.key('shop', ['subscribe']));
    // First: it is the next connection that comes.
    const gone = await door.connect();
    const refused = follow(t, door, QUERY, as(token));
    gone.write(door.head(`GET /v1/sse${QUERY}`));
    await opening.promise;
    gone.socket.destroy();
    await gone.closed;
    await door.ask('POST /v1/tokens/revoke', { json: { app: 'shop', jti } });
    goOn.resolve();
    assert.equal((await refused).status, 401);
    await opened(await follow(t, door, QUERY));
    assert.equal(feeds.size, 1);
    assert.deepEqual(door.errors, []);
  });

  test('says now and then that it is there', async (t) => {
    const door = await realtime(t);
    const stream = await opened(await follow(t, door, QUERY));
    for (let n = 0; n < 2; n++) {
      await door.hand.advance(25_000);
      assert.deepEqual(await stream.next(() => true), { id: undefined, type: undefined, data: undefined });
    }
  });

  test('that is not read is cut after a while, and goes on where it is read again before', async (t) => {
    const door = await realtime(t, { unsentBytes: 16_384 });
    const [slow, late] = [await door.connect(), await door.connect()];
    for (const one of [slow, late]) {
      one.write(door.head(`GET /v1/sse${QUERY}`));
      await one.until(/\nid: /);
      one.socket.pause();
    }
    await fill(door);
    for (const one of [slow, late]) await turnsUntil(() => one.inside.writableLength > 16_384);
    await door.hand.advance(9_000);
    late.socket.resume();
    await late.until(/"n":"last"/);
    await door.hand.advance(1_000);
    await slow.closed;
    await door.publish('orders.created', { n: 'more' });
    await late.until(/"n":"more"/);
  });

  test('that has ended and is not read to its end is cut', async (t) => {
    const door = await realtime(t, { unsentBytes: 16_384 });
    const { token, jti } = await tokenOf(door, await door.key('shop', ['subscribe']));
    const stream = await door.connect();
    stream.write(door.head(`GET /v1/sse${QUERY}`, as(token)));
    await stream.until(/\nid: /);
    stream.socket.pause();
    await fill(door);
    await door.ask('POST /v1/tokens/revoke', { json: { app: 'shop', jti } });
    await door.hand.advance(2_000);
    await stream.closed;
    assert.deepEqual(door.errors, []);
  });
});

describe('a session over server-sent events', { timeout: 30_000 }, () => {
  test('that has ended and is not read to its end is cut', async (t) => {
    const door = await realtime(t, { unsentBytes: 16_384 });
    const stream = await door.connect();
    const body = JSON.stringify([
      { op: 'hello', v: 1 },
      { op: 'sub', sub: 1, topics: ['orders.created'], credit: 10_000 },
    ]);
    stream.write(door.head('POST /v1/sse', { 'content-type': 'application/json', 'content-length': body.length }) + body);
    const text = await stream.until(/"subed"/);
    stream.socket.pause();
    await fill(door);
    const session = /"session":"(\w+)"/.exec(text)?.[1];
    assert.equal((await door.ask(`POST /v1/sse/${session}`, { json: [{ op: 'bye' }] })).status, 202);
    await door.hand.advance(2_000);
    await stream.closed;
    assert.deepEqual(door.errors, []);
  });

  test('whose answers are not read is asked nothing more, and goes on where they are', async (t) => {
    const door = await realtime(t, { unsentBytes: 16_384, frameBytes: 600_000 });
    const stream = await door.connect();
    const body = JSON.stringify([
      { op: 'hello', v: 1 },
      { op: 'sub', sub: 1, topics: ['orders.created'], credit: 0 },
    ]);
    stream.write(door.head('POST /v1/sse', { 'content-type': 'application/json', 'content-length': body.length }) + body);
    const session = /"session":"(\w+)"/.exec(await stream.until(/"subed"/))?.[1];
    stream.socket.pause();
    // Each is answered with its ids.
    const ack = { op: 'ack', sub: 1, ids: Array.from({ length: 1_000 }, () => 'x'.repeat(500)) };
    let answer = await door.ask(`POST /v1/sse/${session}`, { json: [ack] });
    // More than the system holds for a connection on loopback.
    for (let n = 0; n < 100 && answer.status === 202; n++) answer = await door.ask(`POST /v1/sse/${session}`, { json: [ack] });
    assert.deepEqual([answer.status, answer.json.code, answer.headers['retry-after']], [429, 'too_many_requests', '1']);
    assert.ok(stream.inside.writableLength < 2_000_000, String(stream.inside.writableLength));
    const json = [{ op: 'pub', event: { type: 'orders.paid' } }];
    assert.equal((await door.ask(`POST /v1/sse/${session}`, { json })).status, 429);
    stream.socket.resume();
    await turnsUntil(() => stream.inside.writableLength === 0);
    assert.equal((await door.ask(`POST /v1/sse/${session}`, { json: [{ op: 'ping', t: 7 }] })).status, 202);
    await stream.until(/"op":"pong","t":7/);
    assert.deepEqual((await door.ask('GET /v1/events?topics=orders.paid')).json.data, []);
    assert.deepEqual(door.errors, []);
  });

  test('is spoken in by its own token alone, and by the one it came in with later', async (t) => {
    const door = await realtime(t);
    const key = await door.key('shop', ['subscribe', 'publish']);
    const [own, other, next] = [await tokenOf(door, key), await tokenOf(door, key), await tokenOf(door, key)];
    const stream = await openSession(t, door, [{ op: 'hello', v: 1 }], as(own.token));
    const { session } = await stream.frame('welcome');
    const say = async (by: string, ...json: object[]): Promise<number> =>
      (await door.ask(`POST /v1/sse/${session}`, { key: by, json })).status;
    for (const by of [other.token, next.token, key, door.admin]) assert.equal(await say(by, { op: 'bye' }), 404);
    assert.equal(await say(own.token, { op: 'auth', token: next.token }), 202);
    await stream.frame('authed');
    assert.equal(await say(other.token, { op: 'bye' }), 404);
    // A client whose header stays what it was.
    assert.equal(await say(own.token, { op: 'ping', t: 1 }), 202);
    assert.equal((await stream.frame('pong')).t, 1);
    assert.equal(await say(next.token, { op: 'bye' }), 202);
    await stream.ended();
  });
});

const as = (by: string): Record<string, string> => ({ authorization: `Bearer ${by}` });

async function tokenOf(door: RealtimeDoor, key: string, more: object = {}): Promise<{ token: string; jti: string }> {
  const grant = { scopes: ['subscribe'], topics: ['orders.*'], ...more };
  const { status, json } = await door.ask('POST /v1/tokens', { key, json: grant });
  assert.equal(status, 201, json.message);
  return json;
}

/** More than the system holds for a connection on loopback. */
async function fill(door: RealtimeDoor): Promise<void> {
  const data = 'x'.repeat(100_000);
  for (let n = 0; n < 120; n++) await door.publish('orders.created', data);
  await door.publish('orders.created', { n: 'last' });
}
