/** Consumers that settle what is none of theirs, ask for more than there may be, or do nothing at all: nobody else notices, and nothing is lost. */
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { turnsUntil } from '../http/test/door.ts';
import { type Client, type Frame, realtime, type RealtimeDoor } from './test/client.ts';
import { framed, rawSocket } from './test/raw-socket.ts';

const UNSENT_BYTES = 16_384;
const EVENT_BYTES = 100_000;
/** More than the system holds for a connection on loopback. */
const EVENTS = 120;

describe('a consumer', { timeout: 60_000 }, () => {
  test('settles no delivery of another group, nor one that never was', async (t) => {
    const door = await realtime(t);
    const [mailer, printer] = [await consumer(door, 'mailer', 1), await consumer(door, 'printer', 1)];
    await door.publish('orders.created', { n: 1 });
    const { id } = await mailer.next('msg');
    await printer.next('msg');
    const ids = [id, id.slice(0, -1), 'del_', '__proto__', '\u0000', '\ud800', '🗲'.repeat(256), '../../x', `${id}~${id}`];
    const frames = [{ op: 'ack' }, { op: 'nack', dead: true }, { op: 'extend', ms: 1 }];
    for (const frame of frames) {
      printer.say({ ...frame, sub: 1, ids });
      const error = await printer.next('error');
      assert.deepEqual([error.code, error.retryable, error.sub], ['unknown_delivery', false, 1], frame.op);
      assert.equal(error.ids.length, ids.length);
    }
    printer.say({ op: 'ack', sub: 1, through: id });
    assert.deepEqual((await printer.next('error')).ids, [id]);
    mailer.say({ op: 'ack', sub: 1, ids: [id] });
    assert.deepEqual((await mailer.next('acked')).ids, [id]);
    assert.deepEqual((await door.ask('GET /v1/dead-letters?subscription=mailer')).json.data, []);
    assert.deepEqual(door.errors, []);
  });

  test('is told that it has asked for too much, and what it acked in the same frame counts', async (t) => {
    const door = await realtime(t);
    const client = await consumer(door, 'mailer', 10_000);
    await door.publish('orders.created', { n: 1 });
    const { id } = await client.next('msg');
    client.say({ op: 'credit', sub: 1, add: 2 });
    assert.deepEqual(overflow(await client.next('error')), ['credit_overflow', 1, undefined]);
    client.say({ op: 'ack', sub: 1, ids: [id], credit: 10_000, ref: 'a' });
    assert.deepEqual(overflow(await client.next('error')), ['credit_overflow', 1, undefined]);
    assert.deepEqual(await client.next('acked'), { op: 'acked', sub: 1, ref: 'a', ids: [id] });
    // Nothing was added: there is room for the one that was used.
    client.say({ op: 'credit', sub: 1, add: 1 }, { op: 'credit', sub: 1, add: 1 });
    assert.equal((await client.next('error')).code, 'credit_overflow');
  });

  test('that acks what has no acks, with too much credit, is told both and goes on', async (t) => {
    const door = await realtime(t);
    const client = await door.client();
    await client.hello();
    client.say({ op: 'sub', sub: 1, topics: ['orders.created'], credit: 1 });
    await client.next('subed');
    for (const op of ['ack', 'nack']) {
      client.say({ op, sub: 1, ids: ['x'], credit: 10_000 });
      const codes = [(await client.next('error')).code, (await client.next('error')).code];
      assert.deepEqual(codes, ['credit_overflow', 'invalid_request']);
    }
    await door.publish('orders.created', { n: 1 });
    await client.next('msg');
  });

  test('is told which acks are too many at once, and by the text it gave them', async (t) => {
    const door = await realtime(t, { sessionSettles: 1 });
    const client = await consumer(door, 'mailer', 1);
    await door.publish('orders.created', { n: 1 });
    const { id } = await client.next('msg');
    client.say(
      { op: 'ack', sub: 1, ids: [id], ref: 'a' },
      { op: 'ack', sub: 1, ids: [id], ref: 'b' },
      { op: 'ack', sub: 1, through: id, ref: 'c' },
    );
    for (const ref of ['b', 'c']) {
      const error = await client.next('error');
      assert.deepEqual([error.code, error.retryable, error.ids, error.ref], ['too_many_requests', true, [id], ref]);
    }
    assert.equal((await client.next('acked')).ref, 'a');
  });

  test('that is asked twice whether it drains is answered once, and at once where it changes its mind', async (t) => {
    const door = await realtime(t);
    const client = await consumer(door, 'mailer', 1);
    await door.publish('orders.created', { n: 1 });
    const { id } = await client.next('msg');
    const drain = { op: 'unsub', sub: 1, drain: true };
    client.say(drain, drain, drain, { op: 'ack', sub: 1, ids: [id] }, { op: 'ping', t: 1 });
    await client.next('unsubed');
    client.say({ op: 'unsub', sub: 1 });
    assert.equal((await client.next('error')).code, 'not_found');
    client.say({ op: 'sub', sub: 2, group: 'mailer', credit: 1 });
    await client.next('subed');
    await door.publish('orders.created', { n: 2 });
    await client.next('msg');
    const ops: string[] = [];
    client.socket.on('message', (data: Buffer) => ops.push(...[JSON.parse(data.toString())].flat().map(({ op }: Frame) => op)));
    client.say({ ...drain, sub: 2 }, { op: 'unsub', sub: 2 }, { op: 'ping', t: 2 });
    await client.next('unsubed');
    client.say({ op: 'ping', t: 3 });
    for (const t of [1, 2, 3]) assert.equal((await client.next('pong')).t, t);
    assert.deepEqual(
      ops.filter((op) => op === 'unsubed'),
      ['unsubed'],
    );
  });

  test('that wants a filter of its own in a group is refused: it would get what it does not want', async (t) => {
    const door = await realtime(t);
    const client = await door.client();
    await client.hello();
    const sub = { op: 'sub', group: 'mailer', topics: ['orders.created'], credit: 1, filter: { data: { n: [1] } } };
    client.say({ ...sub, sub: 1 });
    const error = await client.next('error');
    assert.deepEqual([error.code, error.sub, error.retryable], ['invalid_request', 1, false]);
    const { json } = await door.ask('POST /v1/pull', { json: [{ ...sub, waitMs: 0 }] });
    assert.deepEqual(
      json.map(({ code }: Frame) => code),
      ['invalid_request'],
    );
    assert.equal((await door.ask('GET /v1/subscriptions/mailer')).status, 404);
  });

  test('that never acks has it no longer than it may: it goes to another, and in the end to the dead letters', async (t) => {
    const door = await realtime(t);
    const spec = {
      app: 'default',
      topics: ['orders.created'],
      deliver: { stream: { ackWait: '1s' } },
      retry: { schedule: ['1s'] },
    };
    await door.ask('PUT /v1/subscriptions/mailer', { json: spec });
    const [idle, other] = [await consumer(door, 'mailer', 1), await consumer(door, 'mailer', 0)];
    await door.publish('orders.created', { n: 1 });
    const first = await idle.next('msg');
    other.say({ op: 'credit', sub: 1, add: 1 });
    // real time: the group's own clock
    const again = await other.next('msg');
    assert.deepEqual([again.id, again.attempt], [first.id, 2]);
    // Too late for the first one, and not too late at all: it is out with the other.
    await door.notice('dead');
    const { json } = await door.ask('GET /v1/dead-letters?subscription=mailer');
    assert.deepEqual(
      json.data.map(({ cause, attempts }: Frame) => [cause, attempts]),
      [['ack_timeout', 2]],
    );
    idle.say({ op: 'ack', sub: 1, ids: [first.id] });
    assert.deepEqual((await idle.next('error')).code, 'unknown_delivery');
    // Nobody was let go for it.
    idle.say({ op: 'credit', sub: 1, add: 1 });
    await door.publish('orders.created', { n: 2 });
    assert.deepEqual((await idle.next('msg')).event.data, { n: 2 });
    assert.deepEqual(door.errors, []);
  });
});

for (const [name, begin] of Object.entries({ websocket: overWebSocket, sse: overSse }))
  describe(`a client over ${name}`, { timeout: 60_000 }, () => {
    test('that reads nothing has a bounded part of what there is, is let go, and the rest is for others', async (t) => {
      const door = await realtime(t, { unsentBytes: UNSENT_BYTES });
      // As it is without a word, it would have too little out to fill a connection.
      const spec = { app: 'default', topics: ['orders.created'], deliver: { stream: {} }, concurrency: EVENTS };
      assert.equal((await door.ask('PUT /v1/subscriptions/mailer', { json: spec })).status, 201);
      for (const sub of [
        { op: 'sub', sub: 1, topics: ['orders.created'], credit: 10_000 },
        { op: 'sub', sub: 1, topics: ['orders.created'], credit: 10_000, group: 'mailer' },
      ]) {
        const slow = await begin(t, door, sub);
        slow.socket.pause();
        let most = 0;
        for (let n = 0; n < EVENTS; n++) {
          await door.publish('orders.created', 'x'.repeat(EVENT_BYTES));
          most = Math.max(most, slow.inside.writableLength);
        }
        await turnsUntil(() => slow.inside.writableLength > UNSENT_BYTES);
        // One event is the step in which it grows; its frame and transport add a few bytes.
        assert.ok(most < UNSENT_BYTES + EVENT_BYTES + 1_000, String(most));
        await door.hand.advance(10_000);
        slow.socket.resume();
        assert.equal(await slow.bye, 4_008);
      }
      const other = await consumer(door, 'mailer', 10_000);
      for (const ids = new Set<string>(); ids.size < EVENTS;) {
        const msg = await other.next('msg');
        ids.add(msg.id);
        other.say({ op: 'ack', sub: 1, ids: [msg.id] });
      }
      assert.deepEqual([door.gateway.feeds.size, door.errors], [0, []]);
    });

    test('that is there no more, and whose network does not say so, is cut when its pongs are missed', async (t) => {
      const door = await realtime(t, { sessions: 2 });
      const [gone, other] = [
        await begin(t, door, { op: 'sub', sub: 1, topics: ['orders.created'], credit: 1, group: 'mailer' }),
        await consumer(door, 'mailer', 0),
      ];
      await door.publish('orders.created', { n: 1 });
      await gone.msg;
      gone.socket.pause();
      other.say({ op: 'credit', sub: 1, add: 1 });
      for (let n = 0; n < 3; n++) {
        other.say({ op: 'ping', t: n });
        await other.next('pong');
        await door.hand.advance(25_000);
      }
      assert.equal((await other.next('msg')).attempt, 2);
      await door.hand.advance(2_000);
      await turnsUntil(gone.isCut);
      // Its place is free.
      await consumer(door, 'mailer', 1);
      assert.deepEqual(door.errors, []);
    });
  });

const overflow = ({ code, sub, ids }: Frame): unknown[] => [code, sub, ids];

async function consumer(door: RealtimeDoor, group: string, credit: number): Promise<Client> {
  const client = await door.client();
  await client.hello();
  client.say({ op: 'sub', sub: 1, group, topics: ['orders.created'], credit });
  await client.next('subed');
  return client;
}

async function overWebSocket(t: TestContext, door: RealtimeDoor, sub: object) {
  const { socket, inside, write, next, closed } = await rawSocket(t, door);
  write(framed(JSON.stringify([{ op: 'hello', v: 1, token: door.admin }, sub])));
  await next('subed');
  return { socket, inside, msg: next('msg').catch(() => undefined), bye: closed, isCut: () => inside.destroyed };
}

async function overSse(_t: TestContext, door: RealtimeDoor, sub: object) {
  const body = JSON.stringify([{ op: 'hello', v: 1 }, sub]);
  const { socket, inside, write, until } = await door.connect();
  write(door.head('POST /v1/sse', { 'content-type': 'application/json', 'content-length': body.length }) + body);
  await until(/"subed"/);
  return {
    socket,
    inside,
    msg: until(/"op":"msg"/),
    // The answer has ended; the connection is one of HTTP's, and idle.
    isCut: () => inside.writableLength === 0,
    get bye() {
      return until(/"op":"bye","code":4008/).then(() => 4_008);
    },
  };
}
