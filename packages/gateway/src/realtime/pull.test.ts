/** `POST /v1/pull`: one call at a time, and what stays with a client between two of them. */
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { describe, test, type TestContext } from 'node:test';
import { Problem } from '@millrace/core/problem';
import { turnsUntil } from '../http/test/door.ts';
import type { Handed } from '../lanes/group.ts';
import { type Frame, realtime, type RealtimeDoor } from './test/client.ts';

describe('a pull of a group', { timeout: 30_000 }, () => {
  test('answers with as many as there are and there is credit for, and with the rest when they are acked', async (t) => {
    const door = await realtime(t);
    await group(door);
    for (let n = 0; n < 3; n++) await door.publish('orders.created', { n });
    const [subed, ...first] = await pull(door, [sub({ credit: 2 })]);
    assert.deepEqual(subed, { op: 'subed', sub: 1, group: 'mailer', recovered: true, ackWaitMs: 30_000 });
    assert.deepEqual(numbers(first), [0, 1]);
    const [msg] = first;
    assert.deepEqual([msg.op, msg.sub, msg.attempt], ['msg', 1, 1]);
    assert.match(msg.idempotencyKey, /^msg_/);
    const ids = first.map(({ id }) => id);
    const [acked, , ...rest] = await pull(door, [{ op: 'ack', group: 'mailer', ids, ref: 'a' }, sub({ sub: 7 })]);
    assert.deepEqual(acked, { op: 'acked', group: 'mailer', ref: 'a', ids });
    assert.deepEqual(
      rest.map(({ sub: number, event }) => [number, event.data.n]),
      [[7, 2]],
    );
    const { json } = await door.ask(`GET /v1/deliveries/${ids[0]}`);
    assert.equal(json.outcome, 'delivered');
    assert.deepEqual(door.errors, []);
  });

  test('says which topics the group has where others are asked for', async (t) => {
    const door = await realtime(t);
    await group(door);
    const [other] = await pull(door, [sub({ topics: ['orders.paid'] })]);
    assert.deepEqual([other.op, other.topics], ['subed', ['orders.created']]);
    const [same] = await pull(door, [sub({ topics: ['orders.created'] })]);
    assert.deepEqual([same.op, 'topics' in same], ['subed', false]);
  });

  test('waits for the first message, and no longer than it was asked to', async (t) => {
    const door = await realtime(t);
    await group(door);
    const seen = watch(t, door);
    const waiting = ask(door, [sub({ waitMs: 60_000 })]);
    await turnsUntil(() => seen.joins === 1);
    await door.publish('orders.created', { n: 1 });
    assert.deepEqual(numbers(await waiting), [1]);
    const inVain = ask(door, [sub({ waitMs: 5_000 })]);
    await turnsUntil(() => seen.joins === 2);
    await door.hand.advance(5_000);
    assert.deepEqual(
      (await inVain).map(({ op }) => op),
      ['subed'],
    );
  });

  test('leaves what it handed over with its client, after its end, until the time to ack is over', async (t) => {
    const door = await realtime(t);
    await group(door);
    await door.publish('orders.created', { n: 1 });
    const [, msg] = await pull(door, [sub()]);
    assert.deepEqual(numbers(await pull(door, [sub()])), []);
    const extended = [{ op: 'extended', group: 'mailer', ids: [msg.id] }];
    assert.deepEqual(await pull(door, [{ op: 'extend', group: 'mailer', ids: [msg.id], ms: 60_000 }]), extended);
    // real time: the group's own clock, which has next to nothing left
    assert.deepEqual(await pull(door, [{ op: 'extend', group: 'mailer', ids: [msg.id], ms: 1 }]), extended);
    const [, again] = await ask(door, [sub({ waitMs: 60_000 })]);
    assert.deepEqual([again.id, again.attempt, again.idempotencyKey], [msg.id, 2, msg.idempotencyKey]);
  });

  test('nacks: again when it was asked for, or a dead letter', async (t) => {
    const door = await realtime(t);
    await group(door);
    await door.publish('orders.created', { n: 1 });
    const [, msg] = await pull(door, [sub()]);
    const [nacked, , again] = await pull(door, [{ op: 'nack', group: 'mailer', ids: [msg.id], delayMs: 0 }, sub()]);
    assert.deepEqual([nacked.op, nacked.ids, again.attempt], ['nacked', [msg.id], 2]);
    await pull(door, [{ op: 'nack', group: 'mailer', ids: [msg.id], dead: true, reason: 'no such order' }]);
    const { json } = await door.ask('GET /v1/dead-letters?subscription=mailer');
    assert.deepEqual(
      json.data.map(({ cause, detail }: Frame) => [cause, detail]),
      [['nack_dead', 'no such order']],
    );
  });

  test('shares it with the consumers of other transports: an ack counts whoever has it', async (t) => {
    const door = await realtime(t);
    await group(door);
    const client = await door.client();
    await client.hello();
    client.say({ op: 'sub', sub: 1, group: 'mailer', credit: 1 });
    await client.next('subed');
    await door.publish('orders.created', { n: 1 });
    const { id } = await client.next('msg');
    assert.deepEqual(await pull(door, [{ op: 'ack', group: 'mailer', ids: [id] }]), [
      { op: 'acked', group: 'mailer', ids: [id] },
    ]);
    client.say({ op: 'ack', sub: 1, ids: [id] });
    assert.deepEqual((await client.next('acked')).ids, [id]);
    const [acked, error] = await pull(door, [{ op: 'ack', group: 'mailer', ids: [id, 'other~made~up'] }]);
    assert.deepEqual([acked.ids, error.code, error.group, error.ids], [[id], 'unknown_delivery', 'mailer', ['other~made~up']]);
  });

  test('is given back where the door closed before its ack: it comes again as it was', async (t) => {
    const door = await realtime(t);
    await group(door);
    await door.publish('orders.created', { n: 1 });
    const [, msg] = await pull(door, [sub()]);
    const inFlight = (): unknown => [...door.gateway.states()].map((state) => state.inFlight);
    assert.deepEqual(inFlight(), [1]);
    await door.app.close();
    door.gateway.groups.giveBack();
    await new Promise(setImmediate);
    assert.deepEqual(inFlight(), [0]);
    const again = Promise.withResolvers<Handed>();
    door.gateway.groups.join('default', 'mailer', { take: again.resolve, left: () => undefined }).addCredit(1);
    const { attempt, webhookId } = await again.promise;
    assert.deepEqual([attempt, webhookId], [1, msg.idempotencyKey]);
  });

  test('keeps the order of a key over calls: the next of it comes when the one before is acked', async (t) => {
    const door = await realtime(t);
    await group(door);
    for (let n = 0; n < 3; n++) await door.publish('orders.created', { n }, { partitionkey: 'k' });
    const seen = [];
    let acks: Frame[] = [];
    for (let n = 0; n < 3; n++) {
      const messages = (await pull(door, [...acks, sub({ waitMs: 60_000 })])).filter(({ op }) => op === 'msg');
      seen.push(...numbers(messages));
      acks = [{ op: 'ack', group: 'mailer', ids: messages.map(({ id }) => id) }];
    }
    assert.deepEqual(seen, [0, 1, 2]);
  });

  test('whose client is gone before it is answered has taken nothing: it goes to the next at once, and no attempt counts', async (t) => {
    const door = await realtime(t);
    await group(door);
    const seen = watch(t, door);
    const gone = await door.connect();
    gone.write(request(door, [sub({ waitMs: 60_000 })]));
    await turnsUntil(() => seen.joins === 1);
    gone.socket.destroy();
    await gone.closed;
    await door.publish('orders.created', { n: 1 });
    const [, msg] = await pull(door, [sub()]);
    assert.deepEqual([msg.attempt, msg.event.data.n], [1, 1]);
    assert.deepEqual(door.errors, []);
  });

  test('that was handed something in the very moment in which its client goes gives it back', async (t) => {
    const door = await realtime(t);
    await group(door);
    await door.publish('orders.created', { n: 1 });
    const [, { id }] = await pull(door, [sub()]);
    const seen = watch(t, door);
    const { settled } = door.gateway.groups;
    const goOn = Promise.withResolvers<void>();
    t.mock.method(door.gateway.groups, 'settled', () => goOn.promise.then(settled));
    const late = await door.connect();
    late.write(request(door, [{ op: 'ack', group: 'mailer', ids: [id] }, sub({ waitMs: 60_000 })]));
    await turnsUntil(() => seen.joins === 1);
    // It has its message, and waits for its ack to be written down.
    await door.publish('orders.created', { n: 2 });
    await turnsUntil(() => seen.taken === 1);
    late.socket.destroy();
    await late.closed;
    goOn.resolve();
    const [, next] = await pull(door, [sub()]);
    assert.deepEqual([next.event.data.n, next.attempt], [2, 1]);
    assert.equal((await door.ask(`GET /v1/deliveries/${id}`)).json.outcome, 'delivered');
    assert.deepEqual(door.errors, []);
  });

  test('that is not read to its end is left behind, and comes again at once', async (t) => {
    const door = await realtime(t);
    await group(door, { concurrency: 64 });
    const data = 'x'.repeat(400_000);
    const slow = await door.connect();
    slow.socket.pause();
    for (let n = 0; n < 40; n++) await door.publish('orders.created', { n, data });
    // As one answer is too little to fill what the system holds, it is asked for many.
    slow.write(request(door, [sub({ waitMs: 60_000 })]).repeat(12));
    await turnsUntil(isStuck(slow.inside));
    slow.socket.destroy();
    await slow.closed;
    for (let attempt = 0; attempt !== 2;) {
      const messages = (await pull(door, [sub()])).filter(({ op }) => op === 'msg');
      assert.ok(messages.length > 0);
      attempt = Math.max(...messages.map((one) => one.attempt));
    }
    assert.deepEqual(door.errors, []);
  });

  test('answers with a megabyte at most, and one event more', async (t) => {
    const door = await realtime(t, { unsentBytes: 16_384 });
    await group(door);
    const data = 'x'.repeat(10_000);
    for (let n = 0; n < 5; n++) await door.publish('orders.created', { n, data });
    assert.deepEqual(numbers(await pull(door, [sub({ credit: 5 })])), [0, 1]);
    assert.deepEqual(numbers(await pull(door, [sub({ credit: 5 })])), [2, 3]);
  });

  test('is made by a key that may manage, and is no matter of others', async (t) => {
    const door = await realtime(t);
    const own = await door.key('shop', ['subscribe', 'manage']);
    const made = [{ op: 'sub', group: 'new', topics: ['orders.created'], credit: 1, waitMs: 0 }];
    assert.deepEqual((await pull(door, made, await door.key('shop', ['subscribe']))).map(codeOf), ['forbidden']);
    assert.deepEqual((await pull(door, made, own)).map(codeOf), ['subed']);
    const stranger = await door.key('crm', ['subscribe']);
    const answer = await pull(door, [{ op: 'ack', group: 'new', ids: ['a', 'b'] }, sub({ group: 'new' })], stranger);
    assert.deepEqual(
      answer.map(({ code, group: of, ids, sub: number, retryable }) => [code, of, ids, number, retryable]),
      [
        ['not_found', 'new', ['a', 'b'], undefined, false],
        ['not_found', undefined, undefined, 1, false],
      ],
    );
  });

  test('is told where an ack could not be written down, and has what it was handed beside it', async (t) => {
    const door = await realtime(t);
    await group(door);
    await door.publish('orders.created', { n: 1 });
    const [, { id }] = await pull(door, [sub()]);
    await door.publish('orders.created', { n: 2 });
    const failing = t.mock.method(door.gateway.groups, 'settled', () =>
      Promise.reject(new Problem('ledger_unavailable', 'it is away')),
    );
    const [error, , msg] = await pull(door, [{ op: 'ack', group: 'mailer', ids: [id], ref: 'a' }, sub()]);
    assert.deepEqual([error.code, error.retryable, error.ref, error.ids], ['ledger_unavailable', true, 'a', [id]]);
    assert.equal(msg.event.data.n, 2);
    failing.mock.restore();
    assert.deepEqual((await pull(door, [{ op: 'ack', group: 'mailer', ids: [id, msg.id] }]))[0].ids, [id, msg.id]);
  });

  test('gives back what its caller may not see by now', async (t) => {
    const door = await realtime(t);
    await group(door);
    const { json } = await door.ask('POST /v1/apps/default/keys', {
      json: { scopes: ['subscribe'], topics: ['orders.created'] },
    });
    const seen = watch(t, door);
    const waiting = ask(door, [sub({ waitMs: 60_000 })], json.key);
    await turnsUntil(() => seen.joins === 1);
    await door.ask('PATCH /v1/subscriptions/mailer', { json: { topics: ['orders.*'] } });
    await door.publish('orders.paid', { n: 1 });
    assert.deepEqual((await waiting).map(codeOf), ['forbidden']);
    const [, msg] = await pull(door, [sub()]);
    assert.deepEqual([msg.event.type, msg.attempt], ['orders.paid', 1]);
  });
});

describe('a pull of topics', { timeout: 30_000 }, () => {
  test('gets what comes, and with its cursors what came since, once', async (t) => {
    const door = await realtime(t);
    const first = pull(door, [{ op: 'sub', topics: ['orders.*'], credit: 10, waitMs: 60_000 }]);
    await turnsUntil(() => door.gateway.feeds.size === 1);
    await door.publish('orders.created', { n: 1 });
    const [subed, msg] = await first;
    assert.deepEqual([subed.op, subed.recovered, subed.cursors, numbers([msg])], ['subed', true, [msg.cursor], [1]]);
    for (let n = 2; n < 5; n++) await door.publish('orders.created', { n });
    const again = (cursors: string[], credit: number) => [
      { op: 'sub', topics: ['orders.*'], credit, waitMs: 0, from: { cursors } },
    ];
    const second = await pull(door, again(subed.cursors, 2));
    assert.deepEqual(numbers(second), [2, 3]);
    const third = await pull(door, again(second[0].cursors, 10));
    assert.deepEqual(numbers(third), [4]);
    const nothing = await pull(door, again(third[0].cursors, 10));
    assert.deepEqual(nothing, [{ op: 'subed', sub: 1, cursors: third[0].cursors, recovered: true }]);
    assert.deepEqual(door.gateway.feeds.size, 0);
  });

  test('goes on past what its filter does not want, and says a gap at once', async (t) => {
    const door = await realtime(t);
    const wish = { op: 'sub', topics: ['orders.*'], credit: 1, filter: { data: { n: [7] } } };
    const [{ cursors }] = await pull(door, [{ ...wish, waitMs: 0 }]);
    await door.publish('orders.created', { n: 6 });
    const [later] = await pull(door, [{ ...wish, waitMs: 0, from: { cursors } }]);
    assert.notDeepEqual(later.cursors, cursors);
    const [lost] = await pull(door, [{ ...wish, from: { cursors: ['nonsense'] } }]);
    assert.deepEqual([lost.recovered, lost.gap], [false, { reason: 'unknown_cursor' }]);
  });

  test('gets the newest of each key over as many calls as its credit takes', async (t) => {
    const door = await realtime(t);
    for (const [n, key] of ['a', 'b', 'a', 'c', 'd'].entries())
      await door.publish('orders.created', { n }, { partitionkey: key });
    const wish = { op: 'sub', topics: ['orders.created'], waitMs: 0 };
    const [subed, ...first] = await pull(door, [{ ...wish, credit: 2, from: 'last' }]);
    assert.deepEqual(numbers(first), [1, 2]);
    assert.deepEqual(numbers(await pull(door, [{ ...wish, credit: 9, from: { cursors: subed.cursors } }])), [3, 4]);
  });

  test('sees no event for another audience, and no topic that its token is not for', async (t) => {
    const door = await realtime(t);
    const key = await door.key('shop', ['subscribe']);
    const wish = { op: 'sub', topics: ['orders.created'], credit: 9, waitMs: 0 };
    const [{ cursors }] = await pull(door, [wish], key);
    await door.publish('orders.created', { n: 1 }, { audience: 'crm' });
    await door.publish('orders.created', { n: 2 }, { audience: 'shop' });
    assert.deepEqual(numbers(await pull(door, [{ ...wish, from: { cursors } }], key)), [2]);
    const grant = { scopes: ['subscribe'], topics: ['orders.paid'] };
    const { json } = await door.ask('POST /v1/tokens', { key, json: grant });
    assert.deepEqual((await pull(door, [wish], json.token)).map(codeOf), ['forbidden']);
    assert.deepEqual((await pull(door, [{ ...wish, topics: ['orders.paid'] }], json.token)).map(codeOf), ['subed']);
  });
});

describe('a pull', { timeout: 30_000 }, () => {
  test('of which a frame is none does nothing at all', async (t) => {
    const door = await realtime(t);
    await group(door);
    await door.publish('orders.created', { n: 1 });
    const [, { id }] = await pull(door, [sub()]);
    const ack = { op: 'ack', group: 'mailer', ids: [id] };
    const bad = [
      [ack, sub(), sub()],
      [ack, { op: 'ack', group: 'mailer' }],
      [ack, { op: 'ack', sub: 1, ids: [id] }],
      [ack, { op: 'ack', group: 'mailer', through: id }],
      [ack, sub({ waitMs: 60_001 })],
      [ack, sub({ credit: 10_001 })],
      [ack, 1],
      [ack, {}],
      Array.from({ length: 65 }, () => ack),
    ];
    for (const json of bad) {
      const answer = await door.ask('POST /v1/pull', { body: JSON.stringify(json), headers: JSON_TYPE });
      assert.deepEqual([answer.status, answer.json.code], [400, 'bad_frame'], JSON.stringify(json));
    }
    for (const body of ['', '{', Buffer.from([0x5b, 0x22, 0xff, 0x22, 0x5d])])
      assert.equal((await door.ask('POST /v1/pull', { body, headers: JSON_TYPE })).json.code, 'bad_frame');
    const { json } = await door.ask(`GET /v1/deliveries/${id}`);
    assert.notEqual(json.outcome, 'delivered');
  });

  test('is told of ops that are none of it, and does the others', async (t) => {
    const door = await realtime(t);
    const answer = await pull(door, [
      { op: 'dance' },
      { op: 'hello', v: 1 },
      { op: 'x-dance' },
      { op: 'sub', topics: ['a'], credit: 1, waitMs: 0 },
    ]);
    assert.deepEqual(answer.map(codeOf), ['unsupported_op', 'unsupported_op', 'subed']);
    assert.deepEqual(await pull(door, []), []);
  });

  test('needs a key or token that may subscribe, and from a page a token of its app', async (t) => {
    const door = await realtime(t);
    const origin = 'https://shop.example';
    await door.ask('PATCH /v1/apps/shop', { json: { origins: [origin] } });
    const key = await door.key('shop', ['subscribe']);
    const { json } = await door.ask('POST /v1/tokens', { key, json: { scopes: ['subscribe'], topics: ['orders.*'] } });
    const codeOfCall = async (by: string, headers: Record<string, string> = {}): Promise<unknown> => {
      const answer = await door.ask('POST /v1/pull', { key: by, json: [], headers });
      return answer.status === 200 ? answer.json : answer.json.code;
    };
    assert.equal(await codeOfCall(''), 'unauthorized');
    assert.equal(await codeOfCall(await door.key('shop', ['publish'])), 'forbidden');
    assert.equal(await codeOfCall(key, { origin }), 'forbidden');
    assert.equal(await codeOfCall(json.token, { origin: 'https://elsewhere.example' }), 'origin_not_allowed');
    assert.deepEqual(await codeOfCall(json.token, { origin }), []);
  });

  test('counts as a connection while it waits, and each app has a bounded number of them', async (t) => {
    const door = await realtime(t, { appPulls: 1, sessions: 2 });
    await door.ask('PATCH /v1/apps/shop', { json: { quotas: { connections: 1, subscriptions: 1 } } });
    const [shop, crm] = [await door.key('shop', ['subscribe']), await door.key('crm', ['subscribe'])];
    const wish = [{ op: 'sub', topics: ['orders.created'], credit: 1, waitMs: 60_000 }];
    const client = await door.client();
    await client.hello(shop);
    assert.equal((await door.ask('POST /v1/pull', { key: shop, json: wish })).json.code, 'quota_exceeded');
    const waiting = pull(door, wish, crm);
    await turnsUntil(() => door.gateway.feeds.size === 1);
    const refused = await door.ask('POST /v1/pull', { key: crm, json: wish });
    assert.deepEqual([refused.status, refused.json.code, refused.headers['retry-after']], [429, 'too_many_requests', '1']);
    assert.equal((await door.ask('POST /v1/pull', { json: wish })).json.code, 'overloaded');
    await door.publish('orders.created', { n: 1 });
    assert.deepEqual(numbers(await waiting), [1]);
    client.socket.close();
    await client.closed;
    for (let n = 0; n < 3; n++) assert.deepEqual(await pull(door, [], shop), []);
  });

  test('ends with a word when its token is revoked, with its token, and with the gateway', async (t) => {
    const door = await realtime(t, { tokenGraceMs: 20_000 });
    const key = await door.key('shop', ['subscribe']);
    const tokenOf = async (ttl: string) =>
      (await door.ask('POST /v1/tokens', { key, json: { scopes: ['subscribe'], topics: ['orders.*'], ttl } })).json;
    const wish = [{ op: 'sub', topics: ['orders.created'], credit: 1, waitMs: 60_000 }];
    const [revoked, expired] = [await tokenOf('10m'), await tokenOf('30s')];
    const first = pull(door, wish, revoked.token);
    await turnsUntil(() => door.gateway.feeds.size === 1);
    await door.ask('POST /v1/tokens/revoke', { json: { app: 'shop', jti: revoked.jti } });
    assert.deepEqual((await first).at(-1), { op: 'bye', code: 4_401, reason: 'token_revoked' });
    const second = pull(door, wish, expired.token);
    await turnsUntil(() => door.gateway.feeds.size === 1);
    await door.hand.advance(50_000);
    assert.deepEqual((await second).map(codeOf), ['subed']);
    const third = await door.connect();
    third.write(request(door, wish));
    await turnsUntil(() => door.gateway.feeds.size === 1);
    const closed = door.app.close();
    assert.match(await third.all(), /\{"op":"bye","code":4100,"reason":"overloaded"\}\]$/);
    await closed;
  });
});

const JSON_TYPE = { 'content-type': 'application/json' } as const;

const sub = (more: object = {}): Frame => ({ op: 'sub', group: 'mailer', credit: 10, waitMs: 0, ...more });
const numbers = (frames: readonly Frame[]): number[] => frames.filter(({ op }) => op === 'msg').map(({ event }) => event.data.n);
const codeOf = ({ op, code }: Frame): string => code ?? op;

async function group(door: RealtimeDoor, more: object = {}): Promise<void> {
  const json = { topics: ['orders.created'], deliver: { stream: {} }, ordering: 'key', ...more };
  assert.equal((await door.ask('PUT /v1/subscriptions/mailer', { json })).status, 201);
}

async function ask(door: RealtimeDoor, json: readonly object[], key?: string): Promise<Frame[]> {
  const answer = await door.ask('POST /v1/pull', { json, key });
  assert.equal(answer.status, 200, answer.text);
  return answer.json;
}

/** A call that waits for nothing is answered when it is known what is there: the hand of the clock is moved for it. */
async function pull(door: RealtimeDoor, json: readonly object[], key?: string): Promise<Frame[]> {
  let isOver = false;
  const answer = ask(door, json, key).finally(() => (isOver = true));
  for (let turn = 0; turn < 20 && !isOver; turn++) await new Promise(setImmediate);
  if (!isOver) await door.hand.advance(100);
  return answer;
}

interface Watched {
  joins: number;
  /** Deliveries that were given to a consumer. */
  taken: number;
}

/** Who has come to the group, by whatever way, and what was given to them. */
function watch(t: TestContext, { gateway: { groups } }: RealtimeDoor): Watched {
  const seen = { joins: 0, taken: 0 };
  const really = groups.join;
  t.mock.method(groups, 'join', (...[environment, id, consumer]: Parameters<typeof really>) => {
    seen.joins++;
    const take: typeof consumer.take = (handed) => {
      seen.taken++;
      consumer.take(handed);
    };
    return really(environment, id, { ...consumer, take });
  });
  return seen;
}

/** Something is to be sent, and nothing of it moves for some turns. */
function isStuck(socket: Socket): () => boolean {
  let [sent, turns] = [0, 0];
  return () => {
    const now = socket.bytesWritten - socket.writableLength;
    turns = socket.writableLength > 0 && now === sent ? turns + 1 : 0;
    sent = now;
    return turns > 200;
  };
}

function request(door: RealtimeDoor, frames: readonly object[]): string {
  const body = JSON.stringify(frames);
  return door.head('POST /v1/pull', { ...JSON_TYPE, 'content-length': body.length }) + body;
}
