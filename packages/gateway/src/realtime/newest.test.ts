/** The newest of each key over a log of several shards: whatever the bounds, what is not among them lies in a gap that is told. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeEvent } from '@millrace/core/event-bytes';
import { createMemoryLog } from '@millrace/memory/log';
import { chance, createHandClock, draftOf } from '../../test/clock.ts';
import type { Place } from '../lanes/tail.ts';
import { LIMITS, type Limits } from '../limits.ts';
import type { LogRecord } from '../ports/log.ts';
import type { FeedGap, Wish } from './feeds.ts';
import type { Lasts } from './lasts.ts';
import { createNewest } from './newest.ts';

const WISH = { environment: 'default', app: 'crm', topics: ['orders.*'], from: 'last' } as const;

async function made(given: Partial<Limits> = {}, seed = 1) {
  const clock = createHandClock();
  const log = createMemoryLog({ now: clock.now, identity: 'log', shards: 3 });
  const newestOf = createNewest({ log, limits: { ...LIMITS, ...given } });
  const random = chance(seed);
  /** By key, when its newest event was. */
  const times = new Map<string, number>();

  async function append(id: string): Promise<void> {
    clock.jump(Math.floor(random() * 3_000));
    const event = { source: '/s', extensions: {}, ...draftOf(id), id };
    await log.append([{ environment: 'default', app: 'shop', event, bytes: encodeEvent(event) }]);
    times.set(id.split('/')[0] ?? '', clock.now());
  }

  async function look(
    isClosed = () => false,
    wants: (record: LogRecord) => boolean | 'no_answer' = () => true,
    by: Partial<Wish> = {},
  ) {
    const gaps: FeedGap[] = [];
    const until = new Map<string, Place>();
    for (const shard of log.shards()) {
      const { end, last } = await log.bounds(shard);
      until.set(shard, { position: end, timeMs: last?.timeMs ?? 0 });
    }
    const ask = async <T>(work: () => Promise<T>): Promise<T | undefined> => (isClosed() ? undefined : work());
    const lasts = await newestOf({ wish: { ...WISH, ...by }, until, isClosed, wants, gap: (gap) => void gaps.push(gap), ask });
    return { lasts, gaps };
  }

  async function keysOf(lasts: Lasts): Promise<string[]> {
    const keys: string[] = [];
    for (let { next } = lasts; next !== undefined; next = lasts.next) {
      keys.push((await log.fetch(next.shard, next.position))?.event.id.split('/')[0] ?? '');
      lasts.done();
    }
    return keys;
  }

  return { append, look, keysOf, times, random };
}

test('what its bounds leave out lies in the gap, and nothing else is in doubt', async () => {
  const cuts = new Set<boolean>();
  for (let seed = 1; seed <= 60; seed++) {
    const random = chance(seed);
    const pick = (most: number): number => 1 + Math.floor(random() * most);
    const bounds = {
      lastKeys: pick(30),
      lastKeysHeld: pick(60),
      feedRecords: pick(5),
      lastEvents: pick(300),
      lastReads: pick(300),
    };
    const { append, look, keysOf, times } = await made(bounds, seed);
    const keys = pick(20);
    for (let n = 0; n < 80; n++) await append(`k${pick(keys)}/${n}`);
    const { lasts, gaps } = await look();
    const got = await keysOf(lasts);
    assert.ok(got.length <= Math.min(bounds.lastKeys, Math.max(1, bounds.lastKeysHeld / 4)), `seed ${seed}`);
    const [gap, ...others] = gaps;
    assert.deepEqual(others, []);
    cuts.add(gap !== undefined);
    for (const [key, timeMs] of times) {
      if (got.includes(key)) continue;
      assert.equal(gap?.reason, 'too_far', `seed ${seed}: ${key} is missing`);
      assert.ok(timeMs >= (gap.fromMs ?? Infinity) && timeMs <= (gap.toMs ?? 0), `seed ${seed}: ${key} is missing`);
    }
    // The oldest first.
    const order = got.map((key) => times.get(key) ?? 0);
    assert.deepEqual(
      order,
      order.toSorted((one, other) => one - other),
      `seed ${seed}`,
    );
  }
  assert.deepEqual(cuts, new Set([true, false]));
});

test('those of all who ask for an app are bounded together, and whoever is done leaves room for others', async () => {
  // A quarter of it is for one app.
  const { append, look, keysOf } = await made({ lastKeysHeld: 24 });
  for (const key of ['a', 'b', 'c', 'd']) await append(`${key}/1`);
  const one = await look();
  const other = await look();
  assert.deepEqual(
    other.gaps.map(({ reason }) => reason),
    ['too_far'],
  );
  const got = await keysOf(other.lasts);
  assert.deepEqual([got.length < 4, got.at(-1)], [true, 'd']);
  one.lasts.drop();
  one.lasts.drop();
  const closed = await look(
    (
      (left) => () =>
        left-- < 0
    )(12),
  );
  closed.lasts.drop();
  for (let n = 0; n < 3; n++) {
    const again = await look();
    assert.deepEqual([await keysOf(again.lasts), again.gaps], [['a', 'b', 'c', 'd'], []]);
  }
});

test('one app takes no more than its share of them: the subs of others get theirs', async () => {
  const { append, look, keysOf } = await made({ lastKeysHeld: 16 });
  for (const key of ['a', 'b', 'c', 'd']) await append(`${key}/1`);
  const lookBy = (app: string) => look(undefined, undefined, { app });
  const held: Lasts[] = [];
  for (let n = 0; n < 8; n++) held.push((await lookBy('noisy')).lasts);
  const more = await lookBy('noisy');
  assert.deepEqual([await keysOf(more.lasts), more.gaps.map(({ reason }) => reason)], [[], ['too_far']]);
  for (const one of [await lookBy('quiet'), await look()]) {
    assert.deepEqual(one.gaps, []);
    assert.deepEqual(await keysOf(one.lasts), ['a', 'b', 'c', 'd']);
  }
  held[0]?.drop();
  const again = await lookBy('noisy');
  assert.deepEqual([await keysOf(again.lasts), again.gaps], [['a', 'b', 'c', 'd'], []]);
});

test('those of all apps are bounded together, too', async () => {
  const { append, look, keysOf } = await made({ lastKeysHeld: 16 });
  for (const key of ['a', 'b', 'c', 'd']) await append(`${key}/1`);
  const lookBy = (app: string) => look(undefined, undefined, { app });
  const held: Lasts[] = [];
  for (const app of ['one', 'two', 'three', 'four']) held.push((await lookBy(app)).lasts);
  const { lasts, gaps } = await lookBy('five');
  assert.deepEqual([await keysOf(lasts), gaps.map(({ reason }) => reason)], [[], ['too_far']]);
  for (const one of held) assert.deepEqual(await keysOf(one), ['a', 'b', 'c', 'd']);
  assert.deepEqual(await keysOf((await lookBy('five')).lasts), ['a', 'b', 'c', 'd']);
});

test('where there is room for none, the gap goes up to the newest', async () => {
  const { append, look, keysOf, times } = await made({ lastKeysHeld: 1 });
  await append('a/1');
  const held = await look();
  const { lasts, gaps } = await look();
  assert.deepEqual(await keysOf(lasts), []);
  assert.deepEqual(gaps, [{ reason: 'too_far', fromMs: times.get('a'), toMs: times.get('a') }]);
  held.lasts.drop();
});

test('what fails while it is looked for leaves its room', async () => {
  const { append, look, keysOf } = await made({ lastKeysHeld: 16 });
  for (const key of ['a', 'b', 'c', 'd']) await append(`${key}/1`);
  for (let n = 0; n < 3; n++) {
    let left = n + 1;
    const failing = (): boolean => {
      if (left-- === 0) throw new Error('no filter');
      return true;
    };
    await assert.rejects(look(undefined, failing), { message: 'no filter' });
  }
  assert.deepEqual(await keysOf((await look()).lasts), ['a', 'b', 'c', 'd']);
});

test('of which the filter has no answer is told, from the oldest to the newest', async () => {
  const { append, look, keysOf, times } = await made();
  for (const key of ['a', 'b', 'c', 'd']) await append(`${key}/1`);
  const { lasts, gaps } = await look(undefined, ({ event }) => (/^[bc]/.test(event.id) ? 'no_answer' : true));
  assert.deepEqual(await keysOf(lasts), ['a', 'd']);
  assert.deepEqual(gaps, [{ reason: 'filter_too_costly', fromMs: times.get('b'), toMs: times.get('c') }]);
});
