/**
 * Feeds: ephemeral subs, fed from the tails that the lanes read anyway. Nothing is kept of one but where it stands. A feed that is *live* is
 * handed each record as it comes; one whose consumer can take no more *lags*, and goes on from the ring when there is room; further
 * back it is *behind* and reads the log, a few of all at once.
 */
import type { CompiledFilter } from '@millrace/core/filter';
import { Problem } from '@millrace/core/problem';
import { compileTopics } from '@millrace/core/topic';
import { createDeque } from '../deque.ts';
import { createMatch, type Wanted } from '../flow/match.ts';
import type { Place, Tail } from '../lanes/tail.ts';
import type { Limits } from '../limits.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log, LogRecord, Page } from '../ports/log.ts';
import { cursorText, partOf, type PartCursor, readCursor } from './cursors.ts';
import { createFilterRoom } from './filter-room.ts';
import type { Lasts } from './lasts.ts';
import { createNewest } from './newest.ts';
import { createSlices } from './slices.ts';

export interface Wish {
  readonly environment: string;
  /** Whose it is: events for another audience are not shown to it. */
  readonly app: string;
  readonly topics: readonly string[];
  readonly filter?: CompiledFilter;
  readonly from: 'latest' | 'last' | { readonly cursors: readonly string[] };
}

/** What is missing, and never goes unsaid. */
export interface FeedGap {
  /** `expired`: retention took it. `log_changed`: the log is another one, or has lost its end. `too_far`: more than is looked through. `filter_too_costly`: the filter has no answer for an event. */
  readonly reason: 'expired' | 'log_changed' | 'too_far' | 'filter_too_costly' | 'unknown_cursor';
  readonly fromMs?: number;
  readonly toMs?: number;
}

export interface Sink {
  /** False where it can't take it now: the feed comes back with it when it is pumped. */
  take(record: LogRecord): boolean;
  gap(gap: FeedGap): void;
  /** All that is there now was offered. Told each time it has become so. */
  caughtUp?(): void;
}

export interface Feed {
  /** Where it stands, for a client that comes back: one per shard. While the newest of each key are handed over: before those that are left. */
  cursors(): readonly string[];
  /** The newest of each key are not known yet: what its cursors say does not include them. */
  isLooking(): boolean;
  /** There may be room again. */
  pump(): void;
  close(): void;
}

export interface Feeds {
  /** Resolves when it is known from where it goes on, and before the first record is handed over; `begin` lets them come. */
  open(wish: Wish, sink: Sink): Promise<Opened>;
  /** A record that a tail gives out; `before` is the place just before it. */
  onRecord(record: LogRecord, before: Place): void;
  /** Identity of the log. */
  readonly log: string;
  readonly size: number;
  close(): void;
}

export interface Opened {
  readonly feed: Feed;
  readonly recovered: boolean;
  readonly gap?: FeedGap;
  begin(): void;
}

interface Needs {
  readonly log: Log;
  readonly tail: (shard: string) => Tail | undefined;
  readonly clock: Clock;
  readonly limits: Limits;
  /** Reading failed with this code. */
  readonly onTrouble: (code: string) => void;
}

interface Own extends Wanted {
  readonly wish: Wish;
  readonly sink: Sink;
  /** By shard: everything up to here was offered to it, or looked at. A live shard has the end of its tail. */
  readonly places: Map<string, Place>;
  readonly live: Set<string>;
  readonly reading: Set<string>;
  /** Shards whose reading ended because the consumer was full. */
  readonly full: Set<string>;
  /** The newest of each key go before everything else: `wanted` until they are looked for. */
  lasts: 'wanted' | Lasts | undefined;
  /** Events for which its filter had no answer, and that nobody was told of yet. */
  unanswered?: FeedGap;
  /** They are being looked for or handed over. */
  handing: boolean;
  /** It was pumped meanwhile. */
  again: boolean;
  closed: boolean;
}

const AGAIN_MS = 1_000;
/** Of filters that come with subs. One is some 1 ms at most, and all of an app 5 ms of each event; past it the event is a gap. */
const FILTER_STEPS = { each: 50_000, app: 250_000 };

export function createFeeds({ log, tail, clock, limits, onTrouble }: Needs): Feeds {
  const match = createMatch<Own>(FILTER_STEPS);
  const filters = createFilterRoom(limits);
  const slices = createSlices(clock);
  const all = new Set<Own>();
  const parts = new Map<string, string>();
  const opening = new Set<Own>();
  const turns = createDeque<() => void>();
  const newestOf = createNewest({ log, limits });
  let reads = 0;
  let count = 0;

  const part = (shard: string): string => parts.getOrInsertComputed(shard, () => partOf(log.identity, shard));

  /** Offers it; false where the consumer is full. */
  function offer(own: Own, record: LogRecord): boolean {
    if (own.filter === undefined || !match.isTooCostly(own, record)) {
      tellUnanswered(own);
      return own.sink.take(record);
    }
    const { fromMs = record.timeMs } = own.unanswered ?? {};
    own.unanswered = { reason: 'filter_too_costly', fromMs, toMs: record.timeMs };
    return true;
  }

  /** One after the other they are one gap. Told before anything else happens, as its place is behind them already. */
  function tellUnanswered(own: Own): void {
    const gap = own.unanswered;
    if (gap === undefined) return;
    delete own.unanswered;
    if (!own.closed) own.sink.gap(gap);
  }

  function onRecord(record: LogRecord, before: Place): void {
    if (all.size === 0) return;
    const { shard, position } = record;
    for (const own of match(record)) {
      let place = own.places.get(shard);
      // A shard that appeared after it was opened is entered at its first record.
      if (place === undefined) {
        place = before;
        own.places.set(shard, place);
        if (own.lasts === undefined) own.live.add(shard);
      }
      if (!own.live.has(shard) || position <= place.position) continue;
      const isTaken = offer(own, record);
      tellUnanswered(own);
      if (isTaken) continue;
      own.live.delete(shard);
      own.places.set(shard, before);
    }
  }

  // ── catching up ────────────────────────────────────────────────────────────────────────────────────────────────

  function pump(own: Own): void {
    if (own.closed) return;
    if (own.lasts !== undefined) return void handOver(own);
    for (const shard of own.places.keys()) if (!own.closed && !own.live.has(shard)) pumpShard(own, shard);
    if (own.places.size === 0) own.sink.caughtUp?.();
  }

  function pumpShard(own: Own, shard: string): void {
    pumpNow(own, shard);
    tellUnanswered(own);
  }

  function pumpNow(own: Own, shard: string): void {
    const tailOf = tail(shard);
    const place = own.places.get(shard);
    if (tailOf === undefined || place === undefined || own.reading.has(shard)) return;
    if (!tailOf.covers(place.position)) {
      readBehind(own, shard).catch((error: unknown) => onTrouble(codeOf(error)));
      return;
    }
    for (const record of tailOf.after(place.position)) {
      if (slices.now().left <= 0) return goOnInTurn(own, shard);
      if (match.one(own, record, slices.now()) && !offer(own, record)) return;
      own.places.set(shard, record);
      if (own.closed) return;
    }
    // Also what is no record: positions that were looked at and hold none. Who read the log may be ahead of the tail: set back, it
    // would get the same again.
    own.places.set(shard, later(own.places.get(shard) as Place, tailOf.end));
    own.live.add(shard);
    tellUnanswered(own);
    if (own.live.size === own.places.size) own.sink.caughtUp?.();
  }

  function goOnInTurn(own: Own, shard: string): void {
    own.reading.add(shard);
    void slices.next(whoseOf(own)).then(() => {
      own.reading.delete(shard);
      if (!own.closed) pumpShard(own, shard);
    });
  }

  /** A page at a time, and others in between. */
  async function readBehind(own: Own, shard: string): Promise<void> {
    own.reading.add(shard);
    try {
      while ((await ask(own, () => readPage(own, shard))) === true);
    } catch (error) {
      onTrouble(codeOf(error));
      // Read again, it would be refused again: it stays with this, and the other shards go on.
      if (!(await goOnAtEnd(own, shard))) return;
    }
    own.reading.delete(shard);
    // Where the consumer is full, it says when it is not.
    if (!own.closed && !own.full.has(shard)) pumpShard(own, shard);
  }

  /** The log reads nothing after this place: it is none of its own, whatever it looks like. False where the end is no better. */
  async function goOnAtEnd(own: Own, shard: string): Promise<boolean> {
    const from = own.places.get(shard) as Place;
    const end = await ask(own, () => endOf(shard));
    if (end === undefined) return true;
    own.sink.gap({ reason: 'unknown_cursor', fromMs: from.timeMs, toMs: Math.max(from.timeMs, end.timeMs) });
    own.places.set(shard, end);
    return end.position !== from.position;
  }

  /** True where there is more to read from the log before the ring goes on. */
  async function readPage(own: Own, shard: string): Promise<boolean> {
    const after = (own.places.get(shard) as Place).position;
    const page = await log.read({ shard, after, only: own.wish, limit: limits.feedRecords, maxBytes: limits.pageBytes });
    if (own.closed) return false;
    if (page.expired !== undefined) own.sink.gap(gapOf(page.expired));
    for (const record of page.records) {
      if (slices.now().left <= 0) {
        tellUnanswered(own);
        await slices.next(whoseOf(own));
      }
      if (own.closed) return false;
      if (match.one(own, record, slices.now()) && !offer(own, record)) {
        own.full.add(shard);
        return false;
      }
      own.places.set(shard, record);
    }
    tellUnanswered(own);
    if (page.through > (own.places.get(shard) as Place).position)
      own.places.set(shard, {
        position: page.through,
        timeMs: page.expired?.last.timeMs ?? (own.places.get(shard) as Place).timeMs,
      });
    return !page.atEnd && tail(shard)?.covers((own.places.get(shard) as Place).position) !== true;
  }

  /**
   * Asks the log when it is its turn; undefined where the feed was closed meanwhile. While the log can't be read it waits, and others
   * have its turn. What is refused would be refused for ever: that is thrown.
   */
  async function ask<T>(own: Own, work: () => Promise<T>): Promise<T | undefined> {
    while (!own.closed) {
      try {
        const found = await inTurn(() => (own.closed ? Promise.resolve(undefined) : work()));
        return own.closed ? undefined : found;
      } catch (error) {
        if (isRefusal(error)) throw error;
        onTrouble(codeOf(error));
        await new Promise<void>((resolve) => clock.after(AGAIN_MS, resolve));
      }
    }
    return undefined;
  }

  /** A few at once, the others in the order in which they came. */
  async function inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (reads < limits.feedReads) reads++;
    else await new Promise<void>((resolve) => turns.push(resolve));
    try {
      return await work();
    } finally {
      const next = turns.shift();
      if (next === undefined) reads--;
      else next();
    }
  }

  // ── where to begin ─────────────────────────────────────────────────────────────────────────────────────────────

  async function beginAt(own: Own): Promise<Pick<Opened, 'recovered' | 'gap'>> {
    const { from } = own.wish;
    if (from === 'latest' || from === 'last') {
      for (const shard of log.shards()) {
        const at = tail(shard);
        if (at === undefined) own.places.set(shard, await endOf(shard));
        else own.places.set(shard, at.end);
      }
      return { recovered: true };
    }
    return resume(own, from.cursors);
  }

  async function endOf(shard: string): Promise<Place> {
    const { last, end } = await log.bounds(shard);
    return { position: end, timeMs: last?.timeMs ?? 0 };
  }

  /** Of a log that is another one by now, positions mean nothing: there it goes by time, and says so. */
  async function resume(own: Own, texts: readonly string[]): Promise<Pick<Opened, 'recovered' | 'gap'>> {
    const cursors = texts.map(readCursor);
    const known = newestOfShards(cursors.filter((one): one is PartCursor => one?.log === log.identity));
    const earliestMs = Math.min(...cursors.map((one) => one?.timeMs ?? Infinity));
    let gap: FeedGap | undefined = cursors.includes(undefined) || texts.length === 0 ? { reason: 'unknown_cursor' } : undefined;
    for (const shard of log.shards()) {
      const cursor = known.get(shard);
      const end = await endOf(shard);
      if (cursor !== undefined && cursor.position <= end.position) {
        const isOurs = await isPlace(cursor);
        own.places.set(shard, isOurs ? cursor : end);
        if (!isOurs) gap = { reason: 'unknown_cursor' };
      } else if (!Number.isFinite(earliestMs)) own.places.set(shard, end);
      else {
        // A client may name any time; after the end of the log there is nothing, and not every broker knows the year 10,000.
        const timeMs = Math.min(cursor?.timeMs ?? earliestMs, Math.max(clock.now(), end.timeMs) + 1);
        own.places.set(shard, { position: await log.positionAt(shard, timeMs), timeMs });
        // A shard that appeared since is entered at the cursor's time: nothing is missing there.
        if (known.size === 0 || cursor !== undefined) gap = { reason: 'log_changed', fromMs: timeMs, toMs: clock.now() };
      }
    }
    return gap === undefined ? { recovered: true } : { recovered: false, gap };
  }

  /** Only the driver knows its positions: what it reads after is one. */
  async function isPlace({ shard, position }: PartCursor): Promise<boolean> {
    try {
      await inTurn(() => log.read({ shard, after: position, limit: 1, maxBytes: 1 }));
      return true;
    } catch (error) {
      if (isRefusal(error)) return false;
      throw error;
    }
  }

  // ── the newest of each key ─────────────────────────────────────────────────────────────────────────────────────

  async function handOver(own: Own): Promise<void> {
    own.again = true;
    if (own.handing) return;
    own.handing = true;
    try {
      const lasts = typeof own.lasts === 'object' ? own.lasts : await newest(own);
      if (own.closed) return lasts.drop();
      own.lasts = lasts;
      let isDone = false;
      while (!isDone && own.again) {
        own.again = false;
        isDone = await handLasts(own, lasts);
      }
      if (!isDone) return;
    } catch (error) {
      onTrouble(codeOf(error));
      if (!own.closed) own.sink.gap({ reason: 'too_far', toMs: clock.now() });
    } finally {
      own.handing = false;
    }
    forgetLasts(own);
    pump(own);
  }

  function newest(own: Own): Promise<Lasts> {
    return newestOf({
      wish: own.wish,
      until: new Map(own.places),
      isClosed: () => own.closed,
      wants: (record) => match.one(own, record) && (match.isTooCostly(own, record) ? 'no_answer' : true),
      gap: own.sink.gap,
      ask: (work) => ask(own, work),
    });
  }

  function forgetLasts(own: Own): void {
    if (typeof own.lasts === 'object') own.lasts.drop();
    own.lasts = undefined;
  }

  /** False where the consumer is full, or gone. What it does not take is read again when it does. */
  async function handLasts(own: Own, lasts: Lasts): Promise<boolean> {
    let gone: FeedGap | undefined;
    let isFull = false;
    for (let { next: last } = lasts; last !== undefined && !isFull; last = lasts.next) {
      const { shard, position, timeMs } = last;
      const record = tail(shard)?.find(position) ?? (await ask(own, () => log.fetch(shard, position)));
      if (own.closed) return false;
      // Retention came between. As they come by time, all such are told as one.
      if (record === undefined) gone = { reason: 'expired', fromMs: gone?.fromMs ?? timeMs, toMs: timeMs };
      else isFull = !own.sink.take(record);
      if (!isFull) lasts.done();
    }
    if (gone !== undefined && !own.closed) own.sink.gap(gone);
    return !isFull && !own.closed;
  }

  function standsAt({ live, lasts }: Own, shard: string, place: Place): Place {
    if (live.has(shard)) return later(place, tail(shard)?.end ?? place);
    const next = typeof lasts === 'object' ? lasts.nextOf(shard) : undefined;
    return next === undefined ? place : { position: next.before, timeMs: next.timeMs };
  }

  async function open(wish: Wish, sink: Sink): Promise<Opened> {
    const shared = wish.filter === undefined ? undefined : filters.enter(whoseOf(wish), wish.filter);
    const own: Own = {
      uid: `feed-${++count}`,
      environment: wish.environment,
      app: wish.app,
      topics: compileTopics(wish.topics),
      ...(shared === undefined ? {} : { filter: shared.filter }),
      wish,
      sink,
      places: new Map(),
      live: new Set(),
      reading: new Set(),
      full: new Set(),
      lasts: wish.from === 'last' ? 'wanted' : undefined,
      handing: false,
      again: false,
      closed: false,
    };
    opening.add(own);
    const { recovered, gap } = await beginAt(own)
      .catch((error: unknown) => {
        shared?.leave();
        throw error;
      })
      .finally(() => opening.delete(own));
    return {
      recovered,
      ...(gap === undefined ? {} : { gap }),
      begin() {
        if (own.closed) return;
        all.add(own);
        match.add(own);
        pump(own);
      },
      feed: {
        cursors: () => [...own.places].map(([shard, place]) => cursorText(part(shard), standsAt(own, shard, place))),
        isLooking: () => own.lasts === 'wanted',
        pump() {
          own.full.clear();
          pump(own);
        },
        close() {
          own.closed = true;
          shared?.leave();
          forgetLasts(own);
          all.delete(own);
          match.remove(own);
        },
      },
    };
  }

  return {
    open,
    onRecord,
    log: log.identity,
    get size() {
      return all.size;
    },
    close() {
      for (const own of [...all, ...opening]) own.closed = true;
      all.clear();
    },
  };
}

const whoseOf = ({ environment, app }: Pick<Wish, 'environment' | 'app'>): string => `${environment}\n${app}`;

function gapOf({ last, firstTimeMs }: NonNullable<Page['expired']>): FeedGap {
  return { reason: 'expired', ...(firstTimeMs === undefined ? {} : { fromMs: firstTimeMs }), toMs: last.timeMs };
}

function later(one: Place, other: Place): Place {
  return other.position > one.position ? other : one;
}

/** A client may send many of one shard: each costs a read of the log. */
function newestOfShards(cursors: readonly PartCursor[]): ReadonlyMap<string, PartCursor> {
  const newest = new Map<string, PartCursor>();
  for (const one of cursors) if (one.timeMs >= (newest.get(one.shard)?.timeMs ?? 0)) newest.set(one.shard, one);
  return newest;
}

/** Of what was asked, not of the log's state: it would be refused again. */
function isRefusal(error: unknown): boolean {
  return error instanceof Problem && error.status < 500;
}

function codeOf(error: unknown): string {
  return (error as { code?: string }).code ?? String(error);
}
