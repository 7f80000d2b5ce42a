/** Feeds over the memory log: what an ephemeral sub gets, what it is told is missing, and what it may cost the others. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeEvent } from '@millrace/core/event-bytes';
import { Problem } from '@millrace/core/problem';
import { createMemoryLog } from '@millrace/memory/log';
import { compileFilter } from '@millrace/core/filter';
import { createHandClock, draftOf, settle } from '../../test/clock.ts';
import { createTail, type Tail } from '../lanes/tail.ts';
import { LIMITS, type Limits } from '../limits.ts';
import type { Log } from '../ports/log.ts';
import { createFeeds, type FeedGap, type Feeds, type Sink, type Wish } from './feeds.ts';

const SHARD = 'memory-0';

/** As the durable logs do, it refuses positions that it never gave out; and it counts who reads at once. */
function strict(log: Log) {
  const counts = { reads: 0, now: 0, most: 0, fetches: 0 };
  /** While set: reads wait for `wait`, or fail with `error` where it has one for the place. */
  const fault: { wait?: Promise<void>; error?: (after: string) => Problem | undefined } = {};
  async function counted<T>(work: () => Promise<T>): Promise<T> {
    counts.most = Math.max(counts.most, ++counts.now);
    try {
      await fault.wait;
      return await work();
    } finally {
      counts.now--;
    }
  }
  const read: Log['read'] = (request) =>
    counted(async () => {
      counts.reads++;
      const error = fault.error?.(request.after);
      if (error !== undefined) throw error;
      if (!/^(\d{16})?$/.test(request.after)) throw new Problem('invalid_request', 'this is not a position');
      return log.read(request);
    });
  const fetch: Log['fetch'] = (shard, position) => counted(() => (counts.fetches++, log.fetch(shard, position)));
  return { counts, fault, strictLog: { ...log, read, fetch } };
}

function made(given: Partial<Limits> = {}) {
  const limits = { ...LIMITS, ...given };
  const clock = createHandClock();
  const log = createMemoryLog({ now: clock.now, identity: 'log' });
  const { strictLog, counts, fault } = strict(log);
  const trouble: string[] = [];
  const feeds: Feeds = createFeeds({
    log: strictLog,
    tail: () => tail,
    clock,
    limits,
    onTrouble: (code) => void trouble.push(code),
  });
  const tail: Tail = createTail({
    shard: SHARD,
    from: { position: '', timeMs: 0 },
    log,
    clock,
    limits,
    onRecord: feeds.onRecord,
    onPage: () => undefined,
    onExpired: () => undefined,
    onTrouble: () => undefined,
  });
  async function append(...ids: readonly string[]): Promise<void> {
    for (const id of ids) {
      const event = { source: '/s', extensions: {}, ...draftOf(id), id };
      await log.append([{ environment: 'default', app: 'shop', event, bytes: encodeEvent(event) }]);
    }
    await settle();
  }
  async function open(from: Wish['from'], credit = Infinity) {
    const got: string[] = [];
    const gaps: FeedGap[] = [];
    const room = { credit };
    const sink: Sink = {
      take({ event }) {
        if (room.credit === 0) return false;
        room.credit--;
        got.push(event.id);
        return true;
      },
      gap: (gap) => void gaps.push(gap),
    };
    const opened = await feeds.open({ environment: 'default', app: 'crm', topics: ['orders.*'], from }, sink);
    return { ...opened, got, gaps, room };
  }
  return { clock, log, feeds, tail, append, open, trouble, counts, fault };
}

/** What is in the ring costs no reads: an event larger than the ring's bytes pushes all others out of it. */
const outOfRing = { ringBytes: 1 };
const at = (count: number): string => String(count).padStart(16, '0');
const cursorAt = (position: string, ms: number): string => `log/${SHARD}:${position}@${ms.toString(36)}`;

function opens(): { readonly wait: Promise<void>; readonly open: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { wait: promise, open: resolve };
}

// ── from: last ───────────────────────────────────────────────────────────────────────────────────────────────────

test('the newest of each key comes first, in the order of the log, then what was published meanwhile, each once', async () => {
  const { append, tail, open, fault } = made(outOfRing);
  await append('a/1', 'b/1', 'a/2', 'c/1');
  await tail.start();
  const held = opens();
  fault.wait = held.wait;
  const feed = await open('last');
  feed.begin();
  await append('a/3', 'd/1');
  delete fault.wait;
  held.open();
  await settle();
  await append('a/4');
  await settle();
  assert.deepEqual(feed.got, ['b/1', 'a/2', 'c/1', 'a/3', 'd/1', 'a/4']);
  assert.deepEqual(feed.gaps, []);
});

test('of more events than are looked through, those are that are newest, and the rest is told', async () => {
  const { clock, append, tail, open } = made({ ...outOfRing, lastEvents: 4, feedRecords: 2 });
  const startMs = clock.now();
  for (let n = 0; n < 40; n++) {
    await append(n === 3 ? 'old/3' : `a${n % 2}/${n}`);
    clock.jump(60_000);
  }
  await tail.start();
  const feed = await open('last');
  feed.begin();
  await settle();
  assert.deepEqual(feed.got, ['a0/38', 'a1/39']);
  const [gap, ...others] = feed.gaps;
  assert.deepEqual([gap?.reason, gap?.fromMs, others], ['too_far', startMs, []]);
  assert.ok((gap?.toMs ?? 0) < startMs + 36 * 60_000 && (gap?.toMs ?? 0) >= startMs + 20 * 60_000);
});

test('a busy minute is looked through in shorter spans, and nothing of it is missing', async () => {
  const { clock, append, tail, open } = made({ ...outOfRing, feedRecords: 1 });
  for (let n = 0; n < 60; n++) {
    await append(`k${n % 20}/${n}`);
    clock.jump(500);
  }
  await tail.start();
  const feed = await open('last');
  feed.begin();
  await settle();
  assert.deepEqual(
    feed.got,
    Array.from({ length: 20 }, (_, n) => `k${n}/${n + 40}`),
  );
  assert.deepEqual(feed.gaps, []);
});

test('more pages than may be read of it end it, and that is told', async () => {
  const { clock, append, tail, open } = made({ ...outOfRing, feedRecords: 1, lastReads: 20 });
  for (let n = 0; n < 60; n++) {
    await append(`k${n}/1`);
    clock.jump(60_000);
  }
  await tail.start();
  const feed = await open('last');
  feed.begin();
  await settle();
  assert.equal(feed.got.at(-1), 'k59/1');
  assert.ok(feed.got.length < 21);
  assert.deepEqual(
    feed.gaps.map(({ reason }) => reason),
    ['too_far'],
  );
});

test('of more keys than are remembered, the newest are', async () => {
  const { clock, append, tail, open } = made({ lastKeys: 3 });
  for (const id of ['a/1', 'b/1', 'c/1', 'd/1', 'a/2']) {
    await append(id);
    clock.jump(1_000);
  }
  await tail.start();
  const feed = await open('last');
  feed.begin();
  await settle();
  assert.deepEqual(feed.got, ['c/1', 'd/1', 'a/2']);
  assert.deepEqual(
    feed.gaps.map(({ reason }) => reason),
    ['too_far'],
  );
});

test('without credit no event of it is fetched more than once, and with credit each is', async () => {
  const { append, tail, open, counts } = made(outOfRing);
  await append('a/1', 'b/1', 'c/1', 'd/1');
  await tail.start();
  const feed = await open('last', 0);
  feed.begin();
  await settle();
  assert.deepEqual([feed.got, counts.fetches], [[], 1]);
  for (let n = 1; n <= 5; n++) {
    feed.room.credit = 1;
    feed.feed.pump();
    await settle();
  }
  assert.deepEqual(feed.got, ['a/1', 'b/1', 'c/1', 'd/1']);
  await append('e/1');
  assert.equal(feed.got.at(-1), 'e/1');
});

test('what retention takes before it is handed over is told', async () => {
  const { clock, log, append, tail, open } = made(outOfRing);
  await log.declareTopic({ environment: 'default', topic: 'orders.created', retentionMs: 10_000 });
  const startMs = clock.now();
  await append('a/1', 'b/1');
  clock.jump(8_000);
  await append('c/1');
  await tail.start();
  const feed = await open('last', 0);
  feed.begin();
  await settle();
  clock.jump(5_000);
  feed.room.credit = 10;
  feed.feed.pump();
  await settle();
  assert.deepEqual(feed.got, ['c/1']);
  assert.deepEqual(feed.gaps, [{ reason: 'expired', fromMs: startMs, toMs: startMs }]);
});

test('many that ask for the last read a few at once', async () => {
  const { append, tail, open, counts } = made({ ...outOfRing, feedReads: 2, feedRecords: 1 });
  await append('a/1', 'b/1', 'c/1');
  await tail.start();
  const all = await Promise.all(Array.from({ length: 10 }, () => open('last')));
  for (const { begin } of all) begin();
  await settle();
  for (const { got } of all) assert.deepEqual(got, ['a/1', 'b/1', 'c/1']);
  assert.equal(counts.most, 2);
});

test('closed while it looks, it reads no more', async () => {
  const { append, tail, open, counts, fault, feeds } = made({ ...outOfRing, feedRecords: 1 });
  await append('a/1', 'b/1', 'c/1');
  await tail.start();
  const held = opens();
  fault.wait = held.wait;
  const feed = await open('last');
  feed.begin();
  await settle();
  feed.feed.close();
  delete fault.wait;
  held.open();
  const other = await open('last');
  other.begin();
  await settle();
  assert.deepEqual([feed.got, feed.gaps, other.got.length], [[], [], 3]);
  // The one that was under way, and those of the other.
  assert.deepEqual([counts.reads, feeds.size], [1 + 3, 1]);
});

// ── from: cursors ────────────────────────────────────────────────────────────────────────────────────────────────

test('a cursor that looks like one and that the log refuses is unknown, and it goes on from the end', async () => {
  const { append, tail, open, trouble } = made();
  await append('a/1');
  await tail.start();
  const feed = await open({ cursors: [`log/${SHARD}:0%3A00@0`, `log/${SHARD}:0@0`] });
  feed.begin();
  await append('b/1');
  assert.deepEqual([feed.recovered, feed.gap], [false, { reason: 'unknown_cursor' }]);
  assert.deepEqual([feed.got, trouble], [['b/1'], []]);
});

test('a place that is refused later ends in a gap, not in reading it for ever, and holds up nobody', async () => {
  const { clock, append, tail, open, trouble, counts, fault } = made({ ...outOfRing, feedReads: 1 });
  await append('a/1', 'b/1', 'c/1');
  await tail.start();
  const fromMs = clock.now();
  const feed = await open({ cursors: [cursorAt(at(1), fromMs)] });
  const other = await open({ cursors: [cursorAt('', fromMs)] });
  fault.error = (after) => (after === at(1) ? new Problem('invalid_request', 'not a position') : undefined);
  feed.begin();
  other.begin();
  await settle();
  const { reads } = counts;
  await clock.advance(10_000);
  await append('d/1');
  assert.deepEqual(feed.gaps, [{ reason: 'unknown_cursor', fromMs, toMs: fromMs }]);
  assert.deepEqual([feed.got, other.got], [['d/1'], ['a/1', 'b/1', 'c/1', 'd/1']]);
  assert.deepEqual([trouble, counts.reads], [['invalid_request'], reads]);
});

test('while the log can not be read, who waits has no turn, and it goes on when it can', async () => {
  const { clock, append, tail, open, trouble, fault } = made({ ...outOfRing, feedReads: 1 });
  await append('a/1', 'b/1', 'c/1');
  await tail.start();
  const feed = await open({ cursors: [cursorAt(at(1), clock.now())] });
  const other = await open({ cursors: [cursorAt('', clock.now())] });
  fault.error = (after) => (after === at(1) ? new Problem('log_unavailable', 'gone') : undefined);
  feed.begin();
  other.begin();
  await settle();
  assert.deepEqual([feed.got, other.got, trouble], [[], ['a/1', 'b/1', 'c/1'], ['log_unavailable']]);
  delete fault.error;
  await clock.advance(1_000);
  assert.deepEqual([feed.got, feed.gaps], [['b/1', 'c/1'], []]);
});

test('of many cursors of one shard the newest is looked at, once', async () => {
  const { clock, append, tail, open, counts } = made();
  await append('a/1', 'b/1', 'c/1');
  await tail.start();
  const nowMs = clock.now();
  const feed = await open({ cursors: Array.from({ length: 500 }, (_, n) => cursorAt(at(n === 7 ? 2 : 1), n === 7 ? nowMs : 1)) });
  assert.equal(counts.reads, 1);
  feed.begin();
  await settle();
  assert.deepEqual([feed.recovered, feed.got], [true, ['c/1']]);
});

test('what is no position or no time is no cursor', async () => {
  const { append, tail, open, counts } = made();
  await append('a/1');
  await tail.start();
  for (const cursor of [`log/${SHARD}:%00@0`, `log/${SHARD}:%C3%A4@0`, `log/${SHARD}:${at(1)}@zzzzzzzzzzz`]) {
    const { gap, feed } = await open({ cursors: [cursor] });
    assert.equal(gap?.reason, 'unknown_cursor', cursor);
    feed.close();
  }
  assert.equal(counts.reads, 0);
});

test('a cursor of another log goes on by its time, and says so', async () => {
  const { clock, append, tail, open } = made();
  await append('a/1');
  clock.jump(1_000);
  const fromMs = clock.now();
  await append('b/1');
  await tail.start();
  const feed = await open({ cursors: [`other/x:5@${fromMs.toString(36)}`] });
  feed.begin();
  await settle();
  assert.deepEqual(feed.gap, { reason: 'log_changed', fromMs, toMs: clock.now() });
  assert.deepEqual(feed.got, ['b/1']);
});

test('what retention took after a cursor is told', async () => {
  const { clock, log, append, tail, open } = made();
  await log.declareTopic({ environment: 'default', topic: 'orders.created', retentionMs: 1_000 });
  const startMs = clock.now();
  await append('a/1', 'b/1');
  clock.jump(2_000);
  await append('c/1');
  await tail.start();
  const feed = await open({ cursors: [cursorAt(at(1), startMs)] });
  feed.begin();
  await settle();
  assert.deepEqual(feed.got, ['c/1']);
  assert.deepEqual(feed.gaps, [{ reason: 'expired', fromMs: startMs, toMs: startMs }]);
});

test('read to the end of the log before the tail is there, it gets nothing twice', async () => {
  const { clock, append, tail, open } = made();
  await append('a/1', 'b/1');
  const feed = await open({ cursors: [cursorAt(at(1), clock.now())] });
  feed.begin();
  await tail.start();
  await append('c/1');
  assert.deepEqual(feed.got, ['b/1', 'c/1']);
});

// ── open and close ───────────────────────────────────────────────────────────────────────────────────────────────

test('closed while it is opened, nothing of it is left', async () => {
  const { clock, append, tail, open, feeds, fault } = made();
  await append('a/1', 'b/1');
  await tail.start();
  const held = opens();
  fault.wait = held.wait;
  const opening = open({ cursors: [cursorAt(at(1), clock.now())] });
  await settle();
  feeds.close();
  held.open();
  const feed = await opening;
  feed.begin();
  await append('c/1');
  assert.deepEqual([feeds.size, feed.got, clock.armed], [0, [], 0]);
});

test('closed before it begins, it never does', async () => {
  const { append, tail, open, feeds } = made();
  await tail.start();
  const feed = await open('last');
  feed.feed.close();
  feed.begin();
  const other = await open('latest');
  other.begin();
  await append('a/1');
  assert.deepEqual([feeds.size, feed.got, other.got], [1, [], ['a/1']]);
});

// ── slices ───────────────────────────────────────────────────────────────────────────────────────────────────────

test('what has much to look through lets the event loop turn, and apps take turns', async () => {
  const { clock, log, tail, feeds } = made();
  const data = Buffer.from(JSON.stringify({ n: 1, text: 'x'.repeat(100_000) }));
  for (let n = 0; n < 12; n++) {
    const event = { ...draftOf('a'), source: '/s', extensions: {}, id: String(n), data, datacontenttype: 'application/json' };
    await log.append([{ environment: 'default', app: 'shop', event, bytes: encodeEvent(event) }]);
  }
  await tail.start();
  const got: string[] = [];
  const cursors = [cursorAt('', 0)];
  for (const app of ['noisy', 'noisy', 'noisy', 'quiet']) {
    const filter = compileFilter({ data: { n: [1] } });
    const wish: Wish = { environment: 'default', app, topics: ['orders.*'], filter, from: { cursors } };
    const { begin } = await feeds.open(wish, { take: ({ event }) => got.push(`${app} ${event.id}`) > 0, gap: () => undefined });
    begin();
  }
  const first = got.length;
  assert.ok(first > 0 && first < 12, `${first} at once`);
  while (got.length < 48) await clock.advance(0);
  const last = (app: string): number => got.findLastIndex((one) => one.startsWith(app));
  assert.ok(last('quiet') < last('noisy') - 5, 'the quiet one did not wait for all of the other’s');
  assert.deepEqual(
    got.filter((one) => one.startsWith('quiet')),
    Array.from({ length: 12 }, (_, n) => `quiet ${n}`),
  );
});

test('events one after the other for which a filter has no answer are one gap, told before what comes next', async () => {
  const { clock, log, tail, feeds } = made();
  const startMs = clock.now();
  const costly = Array.from({ length: 60_000 }, () => 'a');
  for (const t of [costly, costly, costly, 'zz', costly]) {
    const data = Buffer.from(JSON.stringify({ t }));
    const event = {
      ...draftOf('a'),
      source: '/s',
      extensions: {},
      id: String(t.length),
      data,
      datacontenttype: 'application/json',
    };
    await log.append([{ environment: 'default', app: 'shop', event, bytes: encodeEvent(event) }]);
    clock.jump(1_000);
  }
  await tail.start();
  const told: unknown[] = [];
  const filter = compileFilter({ data: { t: [{ prefix: 'z' }] } });
  const wish: Wish = { environment: 'default', app: 'crm', topics: ['orders.*'], filter, from: { cursors: [cursorAt('', 0)] } };
  const sink: Sink = {
    take: ({ event }) => told.push(event.id) > 0,
    gap: ({ reason, fromMs = 0, toMs = 0 }) => void told.push([reason, fromMs - startMs, toMs - startMs]),
    caughtUp: () => void told.push('caught up'),
  };
  (await feeds.open(wish, sink)).begin();
  while (told.at(-1) !== 'caught up') await clock.advance(0);
  const ends = told.filter((one) => Array.isArray(one)).map(([, , toMs]: unknown[]) => toMs);
  assert.deepEqual([told.indexOf('2') > 0, told.at(-2)], [true, ['filter_too_costly', 4_000, 4_000]]);
  assert.deepEqual([ends.at(-2), ends.length < 4], [2_000, true]);
});
