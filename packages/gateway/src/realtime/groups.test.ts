/** Groups over real WebSockets: each delivery to one consumer, acks that count once they are confirmed, and what comes again. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Client, type Frame, realtime, type RealtimeDoor } from './test/client.ts';

describe('a group', { timeout: 30_000 }, () => {
  test('is made by its first consumer, and gives each delivery to one of them', async (t) => {
    const door = await realtime(t);
    const [one, other] = [await consumer(door, { credit: 2 }), await consumer(door, { credit: 2 })];
    const { json } = await door.ask('GET /v1/subscriptions/mailer');
    assert.deepEqual([json.topics, json.deliver, json.ordering], [['orders.created'], { stream: { ackWait: '30s' } }, 'key']);
    const ids = [];
    for (let n = 0; n < 4; n++) ids.push(await door.publish('orders.created', { n }));
    const got = [await one.next('msg'), await one.next('msg'), await other.next('msg'), await other.next('msg')];
    assert.deepEqual(new Set(got.map(({ event }) => event.id)), new Set(ids));
    assert.deepEqual(new Set(got.map(({ attempt }) => attempt)), new Set([1]));
    assert.match(got[0].idempotencyKey, /^msg_/);
    const third = await door.client();
    await third.hello();
    third.say({ op: 'sub', sub: 1, group: 'mailer', credit: 0 });
    const { group, ackWaitMs } = await third.next('subed');
    assert.deepEqual([group, ackWaitMs], ['mailer', 30_000]);
    assert.deepEqual(door.errors, []);
  });

  test('says which topics it has where a consumer asks for others, and only there', async (t) => {
    const door = await realtime(t);
    await consumer(door, { credit: 1, topics: ['orders.created', 'orders.paid'] });
    const client = await door.client();
    await client.hello();
    const wishes = [['orders.*'], ['orders.created'], ['orders.paid', 'orders.created', 'orders.paid'], undefined];
    for (const [at, topics] of wishes.entries()) client.say({ op: 'sub', sub: at + 1, group: 'mailer', topics, credit: 0 });
    const told = new Map<number, unknown>();
    for (const _ of wishes) {
      const frame = await client.next('subed');
      told.set(frame.sub, frame.topics);
    }
    const topics = ['orders.created', 'orders.paid'];
    assert.deepEqual(
      [1, 2, 3, 4].map((sub) => told.get(sub)),
      [topics, topics, undefined, undefined],
    );
  });

  test('counts against the quota of its app, whoever makes it and however it is opened', async (t) => {
    const door = await realtime(t);
    await door.ask('PATCH /v1/apps/shop', { json: { quotas: { subscriptions: 2 } } });
    const key = await door.key('shop', ['subscribe', 'manage']);
    const client = await door.client();
    await client.hello(key);
    const topics = ['orders.created'];
    for (const [at, wish] of [{ group: 'one', topics }, { topics }].entries()) {
      client.say({ op: 'sub', sub: at + 1, credit: 1, ...wish });
      await client.next('subed');
    }
    for (const [at, wish] of [{ group: 'two', topics }, { topics }].entries()) {
      client.say({ op: 'sub', sub: at + 3, credit: 1, ...wish });
      const { sub, code, retryable } = await client.next('error');
      assert.deepEqual([sub, code, retryable], [at + 3, 'quota_exceeded', true]);
    }
    const pulled = await door.ask('POST /v1/pull', { key, json: [{ op: 'sub', group: 'two', topics, credit: 1, waitMs: 0 }] });
    assert.equal(pulled.json[0].code, 'quota_exceeded');
    // To consume what is there is no more of it.
    client.say({ op: 'unsub', sub: 2 }, { op: 'sub', sub: 5, group: 'one', credit: 1 }, { op: 'sub', sub: 6, credit: 1, topics });
    assert.deepEqual(new Set([(await client.next('subed')).sub, (await client.next('subed')).sub]), new Set([5, 6]));
  });

  test('confirms an ack when it is written down, also the second one, and takes all up to one', async (t) => {
    const door = await realtime(t);
    const client = await consumer(door, { credit: 4 });
    for (let n = 0; n < 3; n++) await door.publish('orders.created', { n });
    const msgs = [await client.next('msg'), await client.next('msg'), await client.next('msg')];
    client.say({ op: 'ack', sub: 1, ids: [msgs[1].id] });
    assert.deepEqual((await client.next('acked')).ids, [msgs[1].id]);
    const { json } = await door.ask(`GET /v1/deliveries/${msgs[1].id}`);
    assert.equal(json.outcome, 'delivered');
    client.say({ op: 'ack', sub: 1, ids: [msgs[1].id] });
    assert.deepEqual((await client.next('acked')).ids, [msgs[1].id]);
    client.say({ op: 'ack', sub: 1, through: msgs[2].id, credit: 3 });
    assert.deepEqual((await client.next('acked')).ids, [msgs[0].id, msgs[2].id]);
    client.say({ op: 'ack', sub: 1, ids: ['del_nonsense'] });
    const error = await client.next('error');
    assert.deepEqual([error.code, error.ids, error.sub], ['unknown_delivery', ['del_nonsense'], 1]);
  });

  test('sends again what is nacked when that was asked for, and buries what is never wanted', async (t) => {
    const door = await realtime(t);
    const client = await consumer(door, { credit: 10 });
    await door.publish('orders.created', { n: 1 });
    const first = await client.next('msg');
    client.say({ op: 'nack', sub: 1, ids: [first.id], delayMs: 0, reason: 'not yet' });
    assert.deepEqual((await client.next('nacked')).ids, [first.id]);
    const again = await client.next('msg');
    assert.deepEqual([again.id, again.attempt, again.idempotencyKey], [first.id, 2, first.idempotencyKey]);
    client.say({ op: 'nack', sub: 1, ids: [again.id], dead: true, reason: 'no such order' });
    await client.next('nacked');
    const { json } = await door.ask('GET /v1/dead-letters?subscription=mailer');
    assert.deepEqual(
      json.data.map(({ cause, detail }: Frame) => [cause, detail]),
      [['nack_dead', 'no such order']],
    );
    const many = { subscription: 'mailer', cause: 'nack_dead', dryRun: true };
    assert.equal((await door.ask('POST /v1/dead-letters/redrive', { json: many })).json.count, 1);
  });

  test('keeps the order of a key while deliveries come again, with several consumers', async (t) => {
    const door = await realtime(t);
    const clients = [await consumer(door, { credit: 5 }), await consumer(door, { credit: 5 })];
    const seen = Promise.all(clients.map((client) => ackAll(client)));
    const count = 40;
    for (let n = 0; n < count; n++) await door.publish('orders.created', { n }, { partitionkey: `k${n % 4}` });
    await untilDelivered(door);
    for (const client of clients) client.socket.terminate();
    const taken = (await seen).flat();
    for (let key = 0; key < 4; key++) {
      const ofKey = taken.filter((one) => one.key === `k${key}`).toSorted((a, b) => a.at - b.at);
      assert.deepEqual(
        ofKey.map(({ n }) => n),
        Array.from({ length: count / 4 }, (_, at) => at * 4 + key),
      );
    }
  });

  test('takes back what a consumer leaves behind, and counts no attempt of one that says so', async (t) => {
    const door = await realtime(t);
    const [one, other] = [await consumer(door, { credit: 1 }), await consumer(door, { credit: 0 })];
    await door.publish('orders.created', { n: 1 });
    assert.equal((await one.next('msg')).attempt, 1);
    one.say({ op: 'unsub', sub: 1 });
    await one.next('unsubed');
    other.say({ op: 'credit', sub: 1, add: 1 });
    const second = await other.next('msg');
    assert.equal(second.attempt, 1);
    const third = await consumer(door, { credit: 1 });
    other.socket.terminate();
    assert.equal((await third.next('msg')).attempt, 2);
  });

  test('drains: what is out may still be acked, and nothing more comes', async (t) => {
    const door = await realtime(t);
    const client = await consumer(door, { credit: 5 });
    await door.publish('orders.created', { n: 1 });
    const { id } = await client.next('msg');
    client.say({ op: 'unsub', sub: 1, drain: true }, { op: 'ping', t: 1 });
    await client.next('pong');
    await door.publish('orders.created', { n: 2 });
    client.say({ op: 'ack', sub: 1, ids: [id] });
    await client.next('acked');
    await client.next('unsubed');
    const later = await consumer(door, { credit: 5 });
    assert.deepEqual((await later.next('msg')).event.data, { n: 2 });
  });

  test('is no matter of others: a webhook is none, another app has none, and what is not there may not be wanted', async (t) => {
    const door = await realtime(t);
    await door.ask('PUT /v1/subscriptions/hook', {
      json: { app: 'default', topics: ['orders.created'], deliver: { webhook: { url: 'http://127.0.0.1:1/' } } },
    });
    const client = await door.client();
    await client.hello();
    client.say({ op: 'sub', sub: 1, group: 'hook', credit: 1 });
    assert.equal((await client.next('error')).code, 'conflict');
    client.say({ op: 'sub', sub: 2, group: 'nobody', topics: ['orders.created'], credit: 1, create: false });
    assert.equal((await client.next('error')).code, 'not_found');
    await consumer(door, { credit: 1 });
    const stranger = await door.client();
    await stranger.hello(await door.key('shop', ['subscribe']));
    stranger.say({ op: 'sub', sub: 1, group: 'mailer', credit: 1 });
    assert.equal((await stranger.next('error')).code, 'not_found');
    stranger.say({ op: 'sub', sub: 2, group: 'mailer', topics: ['orders.created'], credit: 1 });
    assert.equal((await stranger.next('error')).code, 'forbidden');
  });

  test('settles nothing before it is entered, and nothing that is none of it', async (t) => {
    const door = await realtime(t);
    const one = await consumer(door, { credit: 1 });
    await door.publish('orders.created', { n: 1 });
    const { id } = await one.next('msg');
    const eager = await door.client();
    await eager.hello();
    eager.say({ op: 'sub', sub: 1, group: 'mailer', credit: 1 }, { op: 'ack', sub: 1, ids: ['foreign~made~up'], ref: 'a' });
    await eager.next('subed');
    const error = await eager.next('error');
    assert.deepEqual([error.code, error.ids, error.ref], ['unknown_delivery', ['foreign~made~up'], 'a']);
    // Whoever it is out with, it counts.
    eager.say({ op: 'ack', sub: 1, ids: [id], ref: 'b' });
    assert.deepEqual(await eager.next('acked'), { op: 'acked', sub: 1, ref: 'b', ids: [id] });
    eager.say({ op: 'sub', sub: 2, topics: ['orders.created'], credit: 1 }, { op: 'ack', sub: 2, ids: ['x'] });
    assert.equal((await eager.next('error')).code, 'invalid_request');
  });

  test('lets a token go on after it was renewed, and drops one that may not see what the group has by now', async (t) => {
    const door = await realtime(t);
    await consumer(door, { credit: 0 });
    const client = await door.client();
    await client.hello();
    client.say({ op: 'sub', sub: 1, group: 'mailer', credit: 9 });
    await client.next('subed');
    client.say({ op: 'auth', token: door.admin });
    assert.deepEqual((await client.next('authed')).dropped, []);
    const { json } = await door.ask('POST /v1/apps/default/keys', {
      json: { scopes: ['subscribe'], topics: ['orders.created'] },
    });
    client.say({ op: 'auth', token: json.key });
    assert.deepEqual((await client.next('authed')).dropped, []);
    await door.ask('PATCH /v1/subscriptions/mailer', { json: { topics: ['orders.*'] } });
    await door.publish('orders.paid', { n: 1 });
    await door.hand.advance(0);
    const error = await client.next('error');
    assert.deepEqual([error.code, error.sub], ['forbidden', 1]);
  });

  test('is made by a key that may manage, and by no other', async (t) => {
    const door = await realtime(t);
    const client = await door.client();
    await client.hello(await door.key('shop', ['subscribe']));
    client.say({ op: 'sub', sub: 1, group: 'new', topics: ['orders.created'], credit: 1 });
    assert.equal((await client.next('error')).code, 'forbidden');
    const maker = await door.client();
    await maker.hello(await door.key('shop', ['subscribe', 'manage']));
    maker.say({ op: 'sub', sub: 1, group: 'new', topics: ['orders.created'], credit: 1 });
    await maker.next('subed');
  });
});

async function consumer(
  door: RealtimeDoor,
  { credit, topics = ['orders.created'] }: { readonly credit: number; readonly topics?: readonly string[] },
): Promise<Client> {
  const client = await door.client();
  await client.hello();
  client.say({ op: 'sub', sub: 1, group: 'mailer', topics, credit });
  await client.next('subed');
  return client;
}

interface Taken {
  readonly key: string;
  readonly n: number;
  readonly at: number;
}

let clock = 0;

/** Acks whatever comes, every third of them at the second try, until the connection is over. */
async function ackAll(client: Client): Promise<Taken[]> {
  const taken: Taken[] = [];
  for (;;) {
    const msg = await client.next('msg').catch(() => undefined);
    if (msg === undefined) return taken;
    const fails = msg.event.data.n % 3 === 0 && msg.attempt === 1;
    if (!fails) taken.push({ key: msg.event.partitionkey, n: msg.event.data.n, at: clock++ });
    client.say({ op: fails ? 'nack' : 'ack', sub: 1, ids: [msg.id], credit: 1, ...(fails ? { delayMs: 0 } : {}) });
  }
}

/** Nothing tells of it: it is asked for until it is so. */
async function untilDelivered({ gateway }: RealtimeDoor): Promise<void> {
  for (;;) {
    const health = await gateway.health('default', 'mailer');
    if (health.behindMs === 0 && health.inFlight === 0 && health.parked === 0 && health.held === 0) return;
    await new Promise(setImmediate);
  }
}
