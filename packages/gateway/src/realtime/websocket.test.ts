/** Sessions over real WebSockets: what spec/protocol.md promises of ephemeral subs, publishing, liveness and the end. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { WebSocket } from 'ws';
import { turnsUntil } from '../http/test/door.ts';
import { realtime } from './test/client.ts';
import { framed, rawSocket } from './test/raw-socket.ts';
import { follow, openSession } from './test/stream.ts';

describe('a session', { timeout: 60_000 }, () => {
  test('is greeted, subscribes, and gets what is published from then on, with the bytes of the data as they were', async (t) => {
    const door = await realtime(t);
    const client = await door.client();
    const welcome = await client.hello();
    assert.equal(welcome.heartbeatMs, 25_000);
    assert.match(welcome.session, /^ses_/);
    await door.publish('orders.created', { n: 0 });
    client.say({ op: 'sub', sub: 1, topics: ['orders.*'], credit: 10 });
    const subed = await client.next('subed');
    assert.equal(subed.recovered, true);
    assert.equal(subed.cursors.length, 1);
    const { json } = await door.ask('POST /v1/events', {
      body: '{"type":"orders.created","partitionkey":"k","data":{"big":12345678901234567890,"a":1}}',
      headers: { 'content-type': 'application/json' },
    });
    const msg = await client.next('msg');
    assert.equal(msg.sub, 1);
    assert.equal(msg.event.id, json.id);
    assert.equal(msg.event.type, 'orders.created');
    assert.match(String(msg.cursor), /:.+@/);
    assert.deepEqual(door.errors, []);
  });

  test('takes the data of an event byte for byte, and is told the place of what it published', async (t) => {
    const door = await realtime(t);
    const client = await door.client();
    await client.hello();
    client.raw('{"op":"sub","sub":1,"topics":["orders.paid"],"credit":1}');
    await client.next('subed');
    const raw = new Promise<string>((resolve) =>
      client.socket.on('message', (data: Buffer) => data.toString().includes('"msg"') && resolve(data.toString())),
    );
    client.raw('{"op":"pub","ref":"a","event":{"type":"orders.paid","data":{"n": 12345678901234567890}}}');
    assert.equal((await client.next('pubed')).status, 'appended');
    assert.match(await raw, /"data":\{"n": 12345678901234567890\}/);
    client.raw('{"op":"pub","ref":"b","event":{"type":"orders.unknown"}}');
    const refused = await client.next('error');
    assert.deepEqual([refused.ref, refused.code, refused.retryable], ['b', 'unknown_topic', false]);
    client.say({ op: 'pub', ref: 'c', event: { type: 'orders.paid' }, idempotencyKey: 'one' });
    const first = await client.next('pubed');
    client.say({ op: 'pub', ref: 'd', event: { type: 'orders.paid' }, idempotencyKey: 'one' });
    assert.deepEqual(await client.next('pubed'), { op: 'pubed', ref: 'd', id: first.id, status: 'duplicate' });
  });

  test('is sent no more than it gave credit for, and the rest in order when it gives more', async (t) => {
    const door = await realtime(t);
    const client = await door.client();
    await client.hello();
    client.say({ op: 'sub', sub: 7, topics: ['orders.created'], credit: 2 });
    await client.next('subed');
    const ids: string[] = [];
    for (let n = 0; n < 5; n++) ids.push(await door.publish('orders.created', { n }));
    assert.equal((await client.next('msg')).event.id, ids[0]);
    assert.equal((await client.next('msg')).event.id, ids[1]);
    client.say({ op: 'ping', t: 1 });
    assert.deepEqual(await client.next('pong'), { op: 'pong', t: 1 });
    client.say({ op: 'credit', sub: 7, add: 10 });
    for (const id of ids.slice(2)) assert.equal((await client.next('msg')).event.id, id);
    client.say({ op: 'credit', sub: 7, add: 10_000 });
    assert.equal((await client.next('error')).code, 'credit_overflow');
    client.say({ op: 'unsub', sub: 7 });
    await client.next('unsubed');
    await door.publish('orders.created', { n: 6 });
    client.say({ op: 'sub', sub: 8, topics: ['orders.created'], credit: 2, filter: { data: { n: [7] } } });
    await client.next('subed');
    await door.publish('orders.created', { n: 6 });
    const last = await door.publish('orders.created', { n: 7 });
    const msg = await client.next('msg');
    assert.deepEqual([msg.sub, msg.event.id], [8, last]);
  });

  test('goes on from its cursor over another connection, and from nothing that it can not tell', async (t) => {
    const door = await realtime(t);
    const one = await door.client();
    await one.hello();
    one.say({ op: 'sub', sub: 1, topics: ['orders.created'], credit: 10 });
    await one.next('subed');
    await door.publish('orders.created', { n: 0 });
    const { cursor } = await one.next('msg');
    one.socket.close();
    await one.closed;
    const missed = [await door.publish('orders.created', { n: 1 }), await door.publish('orders.created', { n: 2 })];
    const other = await door.client();
    await other.hello();
    other.say({ op: 'sub', sub: 1, topics: ['orders.created'], credit: 10, from: { cursors: [cursor] } });
    assert.equal((await other.next('subed')).recovered, true);
    for (const id of missed) assert.equal((await other.next('msg')).event.id, id);
    other.say({ op: 'sub', sub: 2, topics: ['orders.created'], credit: 10, from: { cursors: ['nonsense'] } });
    const subed = await other.next('subed');
    assert.deepEqual([subed.recovered, subed.gap.reason], [false, 'unknown_cursor']);
    const elsewhere = String(cursor).replace(/^[^/]*/, 'another-log');
    other.say({ op: 'sub', sub: 3, topics: ['orders.created'], credit: 10, from: { cursors: [elsewhere] } });
    assert.equal((await other.next('subed')).gap.reason, 'log_changed');
  });

  test('gets the newest event of each key first where it asks for the last', async (t) => {
    const door = await realtime(t);
    for (const [n, key] of [
      [1, 'a'],
      [2, 'b'],
      [3, 'a'],
    ] as const)
      await door.publish('orders.created', { n }, { partitionkey: key });
    const client = await door.client();
    await client.hello();
    client.say({ op: 'sub', sub: 1, topics: ['orders.created'], credit: 1, from: 'last' });
    await client.next('subed');
    assert.deepEqual((await client.next('msg')).event.data, { n: 2 });
    await door.publish('orders.created', { n: 4 }, { partitionkey: 'c' });
    client.say({ op: 'credit', sub: 1, add: 10 });
    assert.deepEqual((await client.next('msg')).event.data, { n: 3 });
    assert.deepEqual((await client.next('msg')).event.data, { n: 4 });
  });

  test('is pinged with its cursors, and closed where it does not answer', async (t) => {
    const door = await realtime(t);
    const client = await door.client();
    await client.hello();
    client.say({ op: 'sub', sub: 1, topics: ['orders.created'], credit: 1 });
    const { cursors } = await client.next('subed');
    await door.hand.advance(25_000);
    assert.deepEqual((await client.next('ping')).cursors, { 1: cursors });
    client.say({ op: 'pong' }, { op: 'ping', t: 5 });
    await client.next('pong');
    await door.hand.advance(75_000);
    assert.deepEqual(await client.next('bye'), { op: 'bye', code: 4_000, reason: 'no pong came' });
    assert.equal((await client.closed).code, 4_000);
  });

  test('is closed without a hello, after nonsense, for another version, and by a key that is none', async (t) => {
    const door = await realtime(t);
    const [silent, garbled, early, newer, stranger, binary] = await Promise.all(Array.from({ length: 6 }, () => door.client()));
    garbled?.raw('{"op":');
    early?.say({ op: 'sub', sub: 1, topics: ['a'], credit: 1 });
    newer?.say({ op: 'hello', v: 2, token: door.admin });
    stranger?.say({ op: 'hello', v: 1, token: 'mr_aaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' });
    binary?.raw(Buffer.from([0xff, 0x00]));
    for (const [client, code] of [
      [garbled, 4_400],
      [early, 4_400],
      [newer, 4_426],
      [stranger, 4_401],
      [binary, 4_400],
    ] as const)
      assert.equal((await client?.closed)?.code, code);
    await door.hand.advance(10_000);
    assert.equal((await silent?.closed)?.code, 4_408);
    assert.deepEqual(door.errors, []);
  });

  test('is told what it may not, and goes on', async (t) => {
    const door = await realtime(t);
    const client = await door.client();
    await client.hello(await door.key('shop', ['subscribe']));
    client.say({ op: 'pub', ref: 'x', event: { type: 'orders.created' } });
    assert.equal((await client.next('error')).code, 'forbidden');
    client.say({ op: 'sub', sub: 1, credit: 1 });
    assert.deepEqual([(await client.next('error')).sub], [1]);
    client.say({ op: 'sub', sub: 2, topics: ['a..b'], credit: 1 });
    assert.equal((await client.next('error')).code, 'invalid_topic');
    client.say({ op: 'dance' }, { op: 'x-dance' });
    assert.equal((await client.next('error')).code, 'unsupported_op');
    client.say({ op: 'credit', sub: 9, add: 1 });
    assert.deepEqual((await client.next('error')).code, 'not_found');
    client.say({ op: 'sub', sub: 3, topics: ['orders.created'], credit: 1 });
    await client.next('subed');
  });

  test('has no more subs under way than it may have, also where it lets them go before they have begun', async (t) => {
    const door = await realtime(t, { sessionSubs: 2 });
    const { feeds } = door.gateway;
    const really = feeds.open;
    const goOn = Promise.withResolvers<void>();
    let opens = 0;
    t.mock.method(feeds, 'open', async (...given: Parameters<typeof really>) => {
      opens++;
      await goOn.promise;
      return really(...given);
    });
    const client = await door.client();
    await client.hello();
    for (let sub = 1; sub <= 20; sub++) {
      client.say({ op: 'sub', sub, topics: ['orders.created'], credit: 1 });
      if (sub <= 2) client.say({ op: 'unsub', sub });
      else assert.equal((await client.next('error')).code, 'too_many_requests');
    }
    assert.equal(opens, 2);
    goOn.resolve();
    client.say({ op: 'ping', t: 1 });
    await client.next('pong');
    client.say({ op: 'sub', sub: 21, topics: ['orders.created'], credit: 1 });
    assert.equal((await client.next('subed')).sub, 21);
    assert.equal(feeds.size, 1);
  });

  test('sees no event for another audience', async (t) => {
    const door = await realtime(t);
    const client = await door.client();
    await client.hello(await door.key('shop', ['subscribe']));
    client.say({ op: 'sub', sub: 1, topics: ['orders.created'], credit: 9 });
    await client.next('subed');
    await door.publish('orders.created', { n: 1 }, { audience: 'crm' });
    await door.publish('orders.created', { n: 2 }, { audience: 'shop' });
    assert.deepEqual((await client.next('msg')).event.data, { n: 2 });
  });

  test('that reads nothing gets nothing more, and is let go after a while', async (t) => {
    const door = await realtime(t, { unsentBytes: 16_384 });
    const client = await door.client();
    await client.hello();
    client.say({ op: 'sub', sub: 1, topics: ['orders.created'], credit: 10_000 });
    await client.next('subed');
    client.socket.pause();
    const data = 'x'.repeat(100_000);
    // More than the system holds for a connection on loopback.
    for (let n = 0; n < 120; n++) await door.publish('orders.created', data);
    await door.hand.advance(10_000);
    client.socket.resume();
    assert.equal((await client.next('bye')).code, 4_008);
    assert.equal((await client.closed).code, 4_008);
  });

  test('is refused at the door without the subprotocol, elsewhere, and where there are too many', async (t) => {
    const door = await realtime(t, { sessions: 1 });
    const origin = door.app.listeningOrigin.replace('http', 'ws');
    assert.equal(await refusal(`${origin}/v1/stream`, []), 400);
    assert.equal(await refusal(`${origin}/v1/elsewhere`, ['millrace.v1']), 404);
    const client = await door.client();
    await client.hello();
    assert.equal(await refusal(`${origin}/v1/stream`, ['millrace.v1']), 503);
    client.socket.close();
    await client.closed;
    await (await door.client()).hello();
  });

  test('is no matter of requests that offer another upgrade: they are answered as if they had not', async (t) => {
    const door = await realtime(t);
    const { write, until } = await door.connect();
    write(
      door.head('GET /v1/topics/orders.paid', {
        connection: 'Upgrade, HTTP2-Settings, close',
        upgrade: 'h2c',
        'http2-settings': 'AAA',
      }),
    );
    assert.match(await until(/\r\n\r\n/), /^HTTP\/1\.1 200 /);
  });

  test('that does not say who it is takes one of few places: the oldest of these goes for one more', async (t) => {
    const door = await realtime(t, { greetings: 2 });
    const [oldest, idle, fresh] = [await door.client(), await door.client(), await door.client()];
    const { code, retryable } = await oldest.next('error');
    assert.deepEqual([code, retryable], ['overloaded', true]);
    assert.equal((await oldest.next('bye')).code, 4_100);
    assert.equal((await oldest.closed).code, 4_100);
    await fresh.hello();
    await (await door.client()).hello();
    await idle.hello();
    assert.deepEqual(door.errors, []);
  });

  test('that does not say who it is shuts out nobody who does', async (t) => {
    const door = await realtime(t, { greetings: 2, sessions: 5 });
    const idle = [await door.client(), await door.client()];
    const json = [{ op: 'sub', topics: ['orders.created'], credit: 1, waitMs: 0 }];
    assert.equal((await door.ask('POST /v1/pull', { json })).status, 200);
    const session = await openSession(t, door, [{ op: 'hello', v: 1 }]);
    await session.frame('welcome');
    await (await follow(t, door, '?topics=orders.created')).next(({ id }) => id !== undefined);
    await (await door.client()).hello();
    assert.equal((await idle[0]?.closed)?.code, 4_100);
    // Where all places are taken, too.
    await door.client();
    assert.equal((await door.ask('POST /v1/pull', { json })).status, 200);
    await idle[1]?.closed;
    assert.deepEqual(door.errors, []);
  });

  test('that has to go for others is not waited for, whatever it does', async (t) => {
    const door = await realtime(t, { greetings: 1 });
    const silent = await rawSocket(t, door);
    // A message that is under way.
    const until = silent.inside.bytesRead + 60_000;
    silent.write(framed('{'.repeat(100_000)).subarray(0, 60_000));
    await turnsUntil(() => silent.inside.bytesRead === until);
    await (await door.client()).hello();
    await turnsUntil(() => silent.inside.destroyed);
    assert.equal(await silent.closed, 4_100);
  });

  test('is asked to come back when the gateway stops', async (t) => {
    const door = await realtime(t);
    const client = await door.client();
    await client.hello();
    const stopped = door.app.close();
    assert.deepEqual((await client.next('drain')).retryMs, [0, 5_000]);
    assert.equal((await client.closed).code, 4_001);
    await stopped;
  });
});

function refusal(url: string, protocols: string[]): Promise<number | undefined> {
  const socket = new WebSocket(url, protocols);
  return new Promise((resolve) => {
    socket.on('error', () => undefined);
    socket.once('unexpected-response', (_request, { statusCode }) => resolve(statusCode));
    socket.once('open', () => resolve(undefined));
  });
}
