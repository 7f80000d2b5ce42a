/** Idempotency keys on a log that forgets them: nodes on one memory log and one store of claims, some of which die in the middle. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeEvent } from '@millrace/core/event-bytes';
import { Problem } from '@millrace/core/problem';
import { createMemoryClaims } from '@millrace/memory/claims';
import { createMemoryLog, type MemoryLogOptions } from '@millrace/memory/log';
import { createHandClock, settle } from '../../test/clock.ts';
import { LIMITS } from '../limits.ts';
import { createPace } from '../pace.ts';
import type { Claims } from '../ports/claims.ts';
import type { Appended, Entry, Log } from '../ports/log.ts';
import { createAppend } from './append.ts';
import { type Claiming, createClaiming } from './claim.ts';

const DAY_MS = 86_400_000;
const { claimMs } = LIMITS;

interface Node {
  readonly publish: Claiming;
  /** What becomes of its appends before the log hears of them, and of their answers. Default: nothing. */
  before: () => Promise<void>;
  after: () => Promise<void>;
  /** Of its calls to the store of claims. */
  store: { claim?: () => Promise<void>; settle?: () => Promise<void> };
  /** How many keys each of its calls was about. */
  readonly calls: { claim: number[]; settle: number[] };
}

function made({ log: options = {}, supports = {} }: { log?: MemoryLogOptions; supports?: Partial<Log['supports']> } = {}) {
  const clock = createHandClock();
  const log = createMemoryLog({ now: clock.now, dedupe: false, ...options });
  const claims = createMemoryClaims({ now: clock.now });
  return { clock, log, claims, node: (): Node => nodeOn({ clock, log, claims, supports }) };
}

function nodeOn({
  clock,
  log,
  claims,
  supports,
}: Omit<ReturnType<typeof made>, 'node'> & { supports: Partial<Log['supports']> }) {
  const store: Claims = {
    async claim(asked) {
      node.calls.claim.push(asked.length);
      await node.store.claim?.();
      return claims.claim(asked);
    },
    async settle(outcomes) {
      node.calls.settle.push(outcomes.length);
      await node.store.settle?.();
      return claims.settle(outcomes);
    },
    prune: claims.prune,
  };
  const ours: Log = {
    ...log,
    supports: { ...log.supports, ...supports },
    async append(entries) {
      await node.before();
      const appended = await log.append(entries);
      await node.after();
      return appended;
    },
  };
  const append = createAppend({ log: ours, limits: LIMITS, pace: createPace({ clock, limits: LIMITS }), isUrgent: () => false });
  const publish = createClaiming({ append, log: ours, claims: store, clock, limits: LIMITS });
  const nothing = async () => undefined;
  const node: Node = { publish, before: nothing, after: nothing, store: {}, calls: { claim: [], settle: [] } };
  return node;
}

function entry(id: string, { key = 'k', digest = 'a', topic = 'orders.created', app = 'shop' } = {}): Entry {
  const event = { id, source: '/shop', type: topic, extensions: {} };
  const dedupe = { key, digest, windowMs: DAY_MS };
  return { environment: 'default', app, event, bytes: encodeEvent(event), ...(key === '' ? {} : { dedupe }) };
}

async function one(node: Node, given: Entry): Promise<Appended | Problem> {
  return (await node.publish([given]))[0]!;
}

async function idsIn(log: Log): Promise<readonly string[]> {
  const pages = log.shards().map((shard) => log.read({ shard, after: '', limit: 10_000, maxBytes: 2 ** 30 }));
  return (await Promise.all(pages)).flatMap(({ records }) => records.map(({ event }) => event.id));
}

function statusOf(one: Appended | Problem): string {
  return one instanceof Problem ? one.code : one.status;
}

function repeatOf(first: Appended | Problem, id: string): Appended {
  assert.ok(!(first instanceof Problem) && first.status === 'appended');
  return { ...first, status: 'duplicate', id };
}

const never = () => new Promise<never>(() => undefined);

test('what is published again under its key is told where the first is, on every node', async () => {
  const { log, node } = made();
  const [a, b] = [node(), node()];
  const first = await one(a, entry('1'));
  for (const each of [a, b]) {
    assert.deepEqual(await one(each, entry('2')), repeatOf(first, '1'));
    assert.deepEqual(await one(each, entry('3', { digest: 'b' })), { status: 'conflict' });
  }
  assert.equal(statusOf(await one(b, entry('4', { app: 'crm' }))), 'appended');
  assert.deepEqual(await idsIn(log), ['1', '4']);
});

test('of many at once under one key in one process one is appended, and all others wait for it', async () => {
  const { log, node } = made();
  const a = node();
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, i) => one(a, entry(String(i), { digest: i === 7 ? 'b' : 'a' }))),
  );
  const expected = answers.map((_, i) => (i === 0 ? answers[0] : i === 7 ? { status: 'conflict' } : repeatOf(answers[0]!, '0')));
  assert.deepEqual(answers, expected);
  assert.deepEqual(await idsIn(log), ['0']);
});

test('keys are settled within one call, and what has none stands where it stood', async () => {
  const { log, node } = made();
  const call = [
    entry('1'),
    entry('2', { key: '' }),
    entry('3'),
    entry('4', { digest: 'b' }),
    entry('5', { key: 'other' }),
    entry('6', { key: '' }),
  ];
  const answers = await node().publish(call);
  assert.deepEqual(answers.map(statusOf), ['appended', 'appended', 'duplicate', 'conflict', 'appended', 'appended']);
  assert.deepEqual(answers[2], repeatOf(answers[0]!, '1'));
  assert.deepEqual(await idsIn(log), ['1', '2', '5', '6']);
});

test('two calls with the same keys in opposite order do not wait for each other', async () => {
  const { log, node } = made();
  const a = node();
  const [x, y] = [entry('x', { key: 'x' }), entry('y', { key: 'y' })];
  const answers = await Promise.all([a.publish([x, y]), a.publish([y, x]), a.publish([x]), a.publish([y, y])]);
  assert.equal(answers.flat().filter((each) => statusOf(each) === 'appended').length, 2);
  assert.deepEqual(await idsIn(log), ['x', 'y']);
});

test('a batch costs one call to claim its keys and one to settle them, and a repeat is settled by one', async () => {
  const { node } = made();
  const a = node();
  const batch = Array.from({ length: 100 }, (_, i) => entry(String(i), { key: `k${i}` }));
  await a.publish(batch);
  await a.publish.settled();
  assert.deepEqual(a.calls, { claim: [100], settle: [100] });
  assert.ok((await a.publish(batch)).every((each) => statusOf(each) === 'duplicate'));
  assert.deepEqual(a.calls, { claim: [100, 100], settle: [100] });
});

test('what one node has under way is in flight on another, which says when to come again', async () => {
  const { log, node } = made();
  const [a, b] = [node(), node()];
  const gate = Promise.withResolvers<void>();
  a.before = () => gate.promise;
  const first = one(a, entry('1'));
  await settle();
  const answer = await one(b, entry('2'));
  assert.ok(answer instanceof Problem);
  assert.deepEqual([answer.code, answer.status, answer.retryAfterMs], ['in_flight', 409, 1_000]);
  gate.resolve();
  assert.deepEqual(await one(a, entry('3')), repeatOf(await first, '1'));
  assert.deepEqual(await one(b, entry('2')), repeatOf(await first, '1'));
  assert.deepEqual(await idsIn(log), ['1']);
});

test('of a claimant that died before its append the key is free when it is surely dead, and not before', async () => {
  const { clock, log, node } = made();
  const [a, b] = [node(), node()];
  a.before = never;
  void one(a, entry('1'));
  await settle();
  await clock.advance(claimMs - 1);
  assert.equal(statusOf(await one(b, entry('2'))), 'in_flight');
  await clock.advance(1);
  const second = await one(b, entry('3', { digest: 'b' }));
  assert.equal(statusOf(second), 'appended');
  assert.deepEqual(await one(node(), entry('4', { digest: 'b' })), repeatOf(second, '3'));
  assert.deepEqual(await one(b, entry('5')), { status: 'conflict' });
  assert.deepEqual(await idsIn(log), ['3']);
});

test('of a claimant that died after its append the event is found in the log, at once and for good', async () => {
  const { clock, log, node } = made();
  const [a, b, c] = [node(), node(), node()];
  a.after = never;
  a.store.settle = never;
  void one(a, entry('1'));
  await settle();
  const shard = log.shards()[0]!;
  const { end } = await log.bounds(shard);
  const found = { status: 'duplicate', shard, position: end, timeMs: clock.now(), id: '1' };
  assert.deepEqual(await one(b, entry('2', { digest: 'b' })), { status: 'conflict' });
  assert.deepEqual(await one(b, entry('3')), found);
  await b.publish.settled();
  await clock.advance(DAY_MS / 2);
  assert.deepEqual(await one(c, entry('4')), found);
  assert.deepEqual(await idsIn(log), ['1']);
});

test('an event is found on whatever shard it is', async () => {
  const { log, node } = made({ log: { shards: 3 } });
  for (const id of ['1', '2', '3']) {
    const [a, b] = [node(), node()];
    [a.after, a.store.settle] = [never, never];
    void one(a, entry(id, { key: id }));
    await settle();
    assert.equal(statusOf(await one(b, entry('again', { key: id }))), 'duplicate');
  }
  assert.deepEqual((await idsIn(log)).toSorted(), ['1', '2', '3']);
});

test('an event behind very many others is found by who comes again: a look is bounded, and the next one goes on', async () => {
  const { log, node } = made();
  const [a, b] = [node(), node()];
  [a.after, a.store.settle] = [never, never];
  const gate = Promise.withResolvers<void>();
  a.before = () => gate.promise;
  void one(a, entry('1'));
  await settle();
  const others = Array<Entry>(4_096).fill(entry('other', { key: '', app: 'crm' }));
  for (let page = 0; page <= 32; page++) await log.append(others);
  gate.resolve();
  await settle();
  assert.equal(statusOf(await one(b, entry('2'))), 'in_flight');
  assert.equal(statusOf(await one(b, entry('2'))), 'duplicate');
});

test('of two who take a dead claim over one appends, and the other is told that it is in flight', async () => {
  const { clock, log, node } = made();
  const [a, b, c] = [node(), node(), node()];
  a.before = never;
  void one(a, entry('1'));
  await settle();
  await clock.advance(claimMs);
  const answers = await Promise.all([one(b, entry('2')), one(c, entry('3'))]);
  assert.deepEqual(answers.map(statusOf).toSorted(), ['appended', 'in_flight']);
  assert.equal((await idsIn(log)).length, 1);
  assert.deepEqual((await Promise.all([one(b, entry('4')), one(c, entry('5'))])).map(statusOf), ['duplicate', 'duplicate']);
});

test('a whole batch that a dead claimant left half done is worked off in one call', async () => {
  const { clock, log, node } = made();
  const [a, b] = [node(), node()];
  const batch = Array.from({ length: 100 }, (_, i) => entry(String(i), { key: `k${i}` }));
  a.store.settle = never;
  await a.publish(batch.slice(0, 40));
  a.before = never;
  void a.publish(batch.slice(40));
  await settle();
  await clock.advance(claimMs);
  const answers = (await b.publish(batch)).map(statusOf);
  assert.deepEqual(answers, [...Array<string>(40).fill('duplicate'), ...Array<string>(60).fill('appended')]);
  assert.equal((await idsIn(log)).length, 100);
});

test('without the store what has a key is refused, with when to come again, and what has none goes on', async () => {
  const { log, node } = made();
  const a = node();
  a.store.claim = () => Promise.reject(new Problem('ledger_unavailable', 'Postgres can not be used now'));
  await assert.rejects(one(a, entry('1')), { code: 'ledger_unavailable', status: 503, retryAfterMs: 1_000 });
  assert.equal(statusOf(await one(a, entry('2', { key: '' }))), 'appended');
  a.store = {};
  assert.equal(statusOf(await one(a, entry('3'))), 'appended');
  assert.deepEqual(await idsIn(log), ['2', '3']);
});

test('a store that does not answer is given up in time, and what it noted all the same is given back', async () => {
  const { clock, log, node } = made();
  const [a, b] = [node(), node()];
  const gate = Promise.withResolvers<void>();
  a.store.claim = () => gate.promise;
  const refused = assert.rejects(one(a, entry('1')), { code: 'ledger_unavailable' });
  await settle();
  await clock.advance(claimMs / 6);
  await refused;
  a.store = {};
  gate.resolve();
  await settle();
  await clock.advance(claimMs);
  assert.equal(statusOf(await one(b, entry('2'))), 'appended');
  assert.deepEqual(await idsIn(log), ['2']);
});

test('what can not be settled is tried again, and told by the node itself and by the log meanwhile', async () => {
  const { clock, node } = made();
  const [a, b, c] = [node(), node(), node()];
  a.store.settle = () => Promise.reject(new Problem('ledger_unavailable', 'away'));
  b.store.settle = a.store.settle;
  const first = await one(a, entry('1'));
  await settle();
  for (const each of [a, b]) assert.deepEqual(await one(each, entry('2')), repeatOf(first, '1'));
  a.store = {};
  const before = a.calls.settle.length;
  await clock.advance(500);
  assert.ok(a.calls.settle.length > before);
  assert.deepEqual(await one(c, entry('3')), repeatOf(first, '1'));
  await c.publish.settled();
  assert.deepEqual(c.calls.settle, []);
});

test('who has stopped settles nothing any more, and arms no timer for it', async () => {
  const { clock, node } = made();
  const a = node();
  a.store.settle = () => Promise.reject(new Problem('ledger_unavailable', 'away'));
  await one(a, entry('1'));
  await settle();
  a.publish.stop();
  const { armed } = clock;
  await clock.advance(500);
  assert.deepEqual([a.calls.settle, armed], [[1], 0]);
});

test('a store that hangs does not keep who wants to end', async () => {
  const { clock, node } = made();
  const a = node();
  a.store.settle = never;
  await one(a, entry('1'));
  const settled = a.publish.settled();
  await clock.advance(5_000);
  await settled;
});

test('when the window is over the key may be used for something else', async () => {
  const { clock, log, node } = made();
  const a = node();
  await one(a, entry('1'));
  await clock.advance(DAY_MS - 1);
  assert.equal(statusOf(await one(a, entry('2'))), 'duplicate');
  await clock.advance(1);
  assert.equal(statusOf(await one(node(), entry('3', { digest: 'b' }))), 'appended');
  assert.deepEqual(await idsIn(log), ['1', '3']);
});

for (const [what, landed] of [
  ['that came all the same is found', true],
  ['that never came is free when that is sure', false],
] as const) {
  test(`an event of which the log does not say whether it has it, and ${what}`, async () => {
    const { clock, log, node } = made();
    const a = node();
    const away = () => Promise.reject(new Problem('log_unavailable', 'away'));
    if (landed) a.after = away;
    else a.before = away;
    await assert.rejects(one(a, entry('1')), { code: 'log_unavailable' });
    [a.before, a.after] = [async () => undefined, async () => undefined];
    assert.equal(statusOf(await one(a, entry('1'))), landed ? 'duplicate' : 'in_flight');
    await clock.advance(claimMs);
    assert.equal(statusOf(await one(a, entry('1'))), landed ? 'duplicate' : 'appended');
    assert.deepEqual(await idsIn(log), ['1']);
  });
}

test('an event that the log has refused may be published again under its key, as soon as there is room', async () => {
  const { log, node } = made();
  const a = node();
  a.before = () => Promise.reject(new Problem('log_full', 'full'));
  for (let i = 0; i < 2; i++) {
    await assert.rejects(one(a, entry('1')), { code: 'log_full' });
    await a.publish.settled();
  }
  a.before = async () => undefined;
  assert.equal(statusOf(await one(a, entry('2', { digest: 'b' }))), 'appended');
  assert.deepEqual(await idsIn(log), ['2']);
});

test('an event that is in the log, though the log has refused its call, is found before anybody uses its key again', async () => {
  const { log, node } = made();
  const a = node();
  await one(a, entry('0', { key: '' }));
  const gate = Promise.withResolvers<void>();
  a.after = () => gate.promise.then(() => Promise.reject(new Problem('log_full', 'full')));
  const refused = assert.rejects(one(a, entry('1')), { code: 'log_full' });
  await settle();
  a.after = async () => undefined;
  // It is behind the present end by then, and was before the end when its key was claimed.
  await one(a, entry('2', { key: '' }));
  gate.resolve();
  await refused;
  assert.equal(statusOf(await one(a, entry('3'))), 'duplicate');
  assert.deepEqual(await idsIn(log), ['0', '1', '2']);
});

test('an error that nobody expected says nothing of an event: its key stays claimed', async () => {
  const { log, node } = made();
  const a = node();
  a.before = () => Promise.reject(new Error('a bug'));
  await assert.rejects(one(a, entry('1')), { message: 'a bug' });
  a.before = async () => undefined;
  assert.equal(statusOf(await one(a, entry('2'))), 'in_flight');
  assert.deepEqual(await idsIn(log), []);
});

test('all who wait for one that is told of a publish elsewhere are told with it: the store is asked once', async () => {
  const { node } = made();
  const [a, b] = [node(), node()];
  a.before = never;
  void one(a, entry('1'));
  await settle();
  const answers = await Promise.all(Array.from({ length: 10 }, (_, i) => one(b, entry(String(i)))));
  assert.deepEqual(new Set(answers.map(statusOf)), new Set(['in_flight']));
  assert.deepEqual(b.calls.claim, [1]);
});

test('keys that were claimed one after the other are looked for together, from the first one on', async () => {
  const { clock, log, node } = made();
  const [a, b] = [node(), node()];
  a.store.settle = never;
  const keys = ['x', 'y', 'z'];
  for (const key of keys) await one(a, entry(key, { key }));
  a.before = never;
  void one(a, entry('dead', { key: 'dead' }));
  await settle();
  await clock.advance(claimMs);
  const answers = await b.publish([...keys, 'dead'].map((key) => entry(key, { key })));
  assert.deepEqual(answers.map(statusOf), ['duplicate', 'duplicate', 'duplicate', 'appended']);
  assert.deepEqual(await idsIn(log), ['x', 'y', 'z', 'dead']);
});

test('what retention took before a key was claimed leaves no doubt about it, whatever is asked with it', async () => {
  const { clock, log, node } = made();
  const [a, b] = [node(), node()];
  await log.declareTopic({ environment: 'default', topic: 'orders.created', retentionMs: 60_000 });
  a.store.settle = never;
  await one(a, entry('old', { key: 'old' }));
  await clock.advance(61_000);
  a.before = never;
  void one(a, entry('new', { key: 'new' }));
  await settle();
  await clock.advance(claimMs);
  const answers = await b.publish([entry('old', { key: 'old' }), entry('new', { key: 'new' })]);
  assert.deepEqual(answers.map(statusOf), ['conflict', 'appended']);
});

test('an event that waited too long behind a slow log is not appended any more, and its key is free', async () => {
  const { clock, log, node } = made();
  const a = node();
  const gate = Promise.withResolvers<void>();
  a.before = () => gate.promise;
  const ahead: Promise<unknown>[] = [];
  for (let i = 0; i < LIMITS.appendsUnderWay; i++) {
    ahead.push(one(a, entry(`ahead${i}`, { key: '' })));
    await settle();
  }
  const late = assert.rejects(one(a, entry('late')), { code: 'overloaded', retryAfterMs: 1_000 });
  await clock.advance(claimMs);
  gate.resolve();
  await Promise.all([late, ...ahead]);
  await a.publish.settled();
  assert.equal(statusOf(await one(node(), entry('again'))), 'appended');
  assert.deepEqual(await idsIn(log), ['ahead0', 'ahead1', 'again']);
});

test('of what retention took before anybody looked it is said that nobody can tell', async () => {
  const { clock, log, node } = made();
  const [a, b] = [node(), node()];
  await log.declareTopic({ environment: 'default', topic: 'orders.created', retentionMs: 60_000 });
  a.after = never;
  a.store.settle = never;
  void one(a, entry('1'));
  await settle();
  await clock.advance(3_600_000);
  const answer = await one(b, entry('2'));
  assert.ok(answer instanceof Problem && answer.code === 'conflict');
  assert.match(answer.advice ?? '', /a new key/);
});

test('what retention took of other topics leaves no doubt', async () => {
  const { clock, log, node } = made();
  const [a, b] = [node(), node()];
  await log.declareTopic({ environment: 'default', topic: 'ticks', retentionMs: 60_000 });
  a.before = never;
  void one(a, entry('1'));
  await settle();
  await log.append([entry('tick', { key: '', topic: 'ticks' })]);
  await clock.advance(3_600_000);
  assert.equal(statusOf(await one(b, entry('2'))), 'appended');
});

test('of a claim on a log that is not there any more nobody can tell, and what was settled there stays', async () => {
  const { clock, claims, node } = made();
  const a = node();
  const first = await one(a, entry('1', { key: 'settled' }));
  await a.publish.settled();
  a.before = never;
  void one(a, entry('2'));
  await settle();
  await clock.advance(claimMs);
  const other = nodeOn({ clock, claims, log: createMemoryLog({ now: clock.now, dedupe: false }), supports: {} });
  assert.deepEqual(await one(other, entry('3', { key: 'settled' })), repeatOf(first, '1'));
  assert.equal(statusOf(await one(other, entry('4'))), 'conflict');
  assert.equal(statusOf(await one(other, entry('5', { key: 'new' }))), 'appended');
});

test('as long as the log is sure to know the key itself, it is asked by an append: nobody waits for a claimant that died', async () => {
  for (const died of ['before', 'after'] as const) {
    const { log, node } = made({ log: { dedupe: true }, supports: { dedupeWindowMs: 120_000 } });
    const [a, b, c] = [node(), node(), node()];
    a[died] = never;
    void one(a, entry('1'));
    await settle();
    assert.equal(statusOf(await one(b, entry('2'))), died === 'before' ? 'appended' : 'duplicate');
    assert.equal(statusOf(await one(c, entry('3', { digest: 'b' }))), 'conflict');
    assert.equal((await idsIn(log)).length, 1);
  }
});

test('how long the log knows the key is counted from the first claim, whoever has taken it over since', async () => {
  const { clock, log, node } = made({ log: { dedupe: true }, supports: { dedupeWindowMs: 120_000 } });
  const [a, b, c] = [node(), node(), node()];
  a.before = never;
  void one(a, entry('1'));
  await clock.advance(80_000);
  // It takes the claim over and dies as well.
  b.before = never;
  void one(b, entry('2'));
  await clock.advance(20_000);
  assert.equal(statusOf(await one(c, entry('3'))), 'in_flight');
  assert.deepEqual(await idsIn(log), []);
});
