/**
 * Feeds: ephemeral subs, fed from the tails that the lanes read anyway. Nothing is kept of one but where it stands. A feed that is *live* is
 * handed each record as it comes; one whose consumer can take no more *lags*, and goes on from the ring when there is room; further
 * back it is *behind* and reads the log, a few of all at once.
 */
import type { CompiledFilter } from '@millrace/core/filter';
import { keyOf } from '@millrace/core/event';
import { compileTopics } from '@millrace/core/topic';
import { createMatch, type Wanted } from '../flow/match.ts';
import type { Place, Tail } from '../lanes/tail.ts';
import type { Limits } from '../limits.ts';
import type { Clock } from '../ports/clock.ts';
import { BEFORE_ALL, type Log, type LogRecord, type Page, type Position } from '../ports/log.ts';
import { cursorText, partOf, type PartCursor, readCursor } from './cursors.ts';

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
}

export interface Feed {
  /** Where it stands, for a client that comes back: one per shard. */
  readonly cursors: readonly string[];
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
  closed: boolean;
}

const AGAIN_MS = 1_000;

export function createFeeds({ log, tail, clock, limits, onTrouble }: Needs): Feeds {
  const match = createMatch<Own>();
  const all = new Set<Own>();
  const parts = new Map<string, string>();
  const turns: (() => void)[] = [];
  let reads = 0;
  let count = 0;

  const part = (shard: string): string => parts.getOrInsertComputed(shard, () => partOf(log.identity, shard));

  /** Offers it; false where the consumer is full. */
  function offer(own: Own, record: LogRecord): boolean {
    if (!match.isTooCostly(own, record)) return own.sink.take(record);
    own.sink.gap({ reason: 'filter_too_costly', fromMs: record.timeMs, toMs: record.timeMs });
    return true;
  }

  function onRecord(record: LogRecord, before: Place): void {
    if (all.size === 0) return;
    for (const own of match(record)) {
      const { shard } = record;
      // A shard that appeared after it was opened is entered at its first record.
      if (!own.places.has(shard)) own.live.add(shard);
      if (!own.live.has(shard) || record.position <= (own.places.get(shard)?.position ?? BEFORE_ALL)) continue;
      if (offer(own, record)) continue;
      own.live.delete(shard);
      own.places.set(shard, before);
    }
  }

  // ── catching up ────────────────────────────────────────────────────────────────────────────────────────────────

  function pump(own: Own): void {
    for (const shard of own.places.keys()) if (!own.closed && !own.live.has(shard)) pumpShard(own, shard);
  }

  function pumpShard(own: Own, shard: string): void {
    const tailOf = tail(shard);
    const place = own.places.get(shard);
    if (tailOf === undefined || place === undefined || own.reading.has(shard)) return;
    if (!tailOf.covers(place.position)) return void readBehind(own, shard);
    for (const record of tailOf.after(place.position)) {
      if (match.one(own, record) && !offer(own, record)) return;
      own.places.set(shard, record);
      if (own.closed) return;
    }
    // Also what is no record: positions that were looked at and hold none.
    own.places.set(shard, tailOf.end);
    own.live.add(shard);
  }

  async function readBehind(own: Own, shard: string): Promise<void> {
    own.reading.add(shard);
    await turn();
    try {
      for (let goesOn = true; goesOn && !own.closed;) goesOn = await readPage(own, shard);
    } catch (error) {
      onTrouble((error as { code?: string }).code ?? String(error));
      await new Promise<void>((resolve) => clock.after(AGAIN_MS, resolve));
    }
    reads--;
    turns.shift()?.();
    own.reading.delete(shard);
    // Where the consumer is full, it says when it is not.
    if (!own.closed && !own.full.has(shard)) pumpShard(own, shard);
  }

  /** True where there is more to read from the log before the ring goes on. */
  async function readPage(own: Own, shard: string): Promise<boolean> {
    const after = (own.places.get(shard) as Place).position;
    const page = await log.read({ shard, after, only: own.wish, limit: limits.feedRecords, maxBytes: limits.pageBytes });
    if (own.closed) return false;
    if (page.expired !== undefined) own.sink.gap(gapOf(page.expired));
    for (const record of page.records) {
      if (match.one(own, record) && !offer(own, record)) {
        own.full.add(shard);
        return false;
      }
      own.places.set(shard, record);
    }
    if (page.through > (own.places.get(shard) as Place).position)
      own.places.set(shard, {
        position: page.through,
        timeMs: page.expired?.last.timeMs ?? (own.places.get(shard) as Place).timeMs,
      });
    return !page.atEnd && tail(shard)?.covers((own.places.get(shard) as Place).position) !== true;
  }

  /** A few read at once, the others in the order in which they came. */
  function turn(): Promise<void> {
    reads++;
    if (reads <= limits.feedReads) return Promise.resolve();
    return new Promise((resolve) => turns.push(resolve));
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
    const known = cursors.filter((one): one is PartCursor => one?.log === log.identity);
    const earliestMs = Math.min(...cursors.map((one) => one?.timeMs ?? Infinity));
    let gap: FeedGap | undefined = cursors.includes(undefined) || texts.length === 0 ? { reason: 'unknown_cursor' } : undefined;
    for (const shard of log.shards()) {
      const cursor = known.find((one) => one.shard === shard);
      const end = await endOf(shard);
      if (cursor !== undefined && cursor.position <= end.position) own.places.set(shard, cursor);
      else if (!Number.isFinite(earliestMs)) own.places.set(shard, end);
      else {
        const timeMs = cursor?.timeMs ?? earliestMs;
        own.places.set(shard, { position: await log.positionAt(shard, timeMs), timeMs });
        // A shard that appeared since is entered at the cursor's time: nothing is missing there.
        if (known.length === 0 || cursor !== undefined) gap = { reason: 'log_changed', fromMs: timeMs, toMs: clock.now() };
      }
    }
    return gap === undefined ? { recovered: true } : { recovered: false, gap };
  }

  /**
   * The newest event of each key, in log order: read from the oldest on, as the log knows no keys. What has no key counts by its
   * topic. Only as many as limits.lastEvents are looked through, from the end of which the newest are known.
   */
  async function newest(own: Own): Promise<{ readonly records: readonly LogRecord[]; readonly gap?: FeedGap }> {
    const byKey = new Map<string, LogRecord>();
    let looked = 0;
    let gap: FeedGap | undefined;
    for (const [shard, { position: until }] of own.places) {
      let after: Position = BEFORE_ALL;
      while (after < until && !own.closed) {
        const page: Page = await log.read({
          shard,
          after,
          only: own.wish,
          limit: limits.feedRecords,
          maxBytes: limits.pageBytes,
        });
        for (const record of page.records) {
          if (record.position > until || !match.one(own, record) || match.isTooCostly(own, record)) continue;
          const key = `${record.event.type}\n${keyOf(record.event) ?? ''}`;
          byKey.delete(key);
          byKey.set(key, record);
          if (byKey.size > limits.lastKeys) {
            const [oldest] = byKey as unknown as Iterable<[string, LogRecord]>;
            gap = { reason: 'too_far', toMs: oldest?.[1].timeMs ?? 0 };
            if (oldest !== undefined) byKey.delete(oldest[0]);
          }
        }
        looked += page.records.length;
        if (looked > limits.lastEvents) gap = { reason: 'too_far', fromMs: page.records.at(-1)?.timeMs ?? 0 };
        if (page.atEnd || page.through === after || looked > limits.lastEvents) break;
        after = page.through;
      }
    }
    return { records: [...byKey.values()], ...(gap === undefined ? {} : { gap }) };
  }

  async function open(wish: Wish, sink: Sink): Promise<Opened> {
    const own: Own = {
      uid: `feed-${++count}`,
      environment: wish.environment,
      app: wish.app,
      topics: compileTopics(wish.topics),
      ...(wish.filter === undefined ? {} : { filter: wish.filter }),
      wish,
      sink,
      places: new Map(),
      live: new Set(),
      reading: new Set(),
      full: new Set(),
      closed: false,
    };
    const { recovered, gap } = await beginAt(own);
    const first = wish.from === 'last' ? await newest(own) : { records: [] };
    let waiting: readonly LogRecord[] = first.records;
    const said = gap ?? first.gap;

    /** The newest of each key go before everything else. */
    function flush(): boolean {
      while (waiting[0] !== undefined) {
        if (!sink.take(waiting[0])) return false;
        waiting = waiting.slice(1);
      }
      return true;
    }
    return {
      recovered: recovered && first.gap === undefined,
      ...(said === undefined ? {} : { gap: said }),
      begin() {
        if (own.closed) return;
        all.add(own);
        match.add(own);
        if (flush()) pump(own);
      },
      feed: {
        get cursors() {
          return [...own.places].map(([shard, place]) =>
            cursorText(part(shard), own.live.has(shard) ? (tail(shard)?.end ?? place) : place),
          );
        },
        pump() {
          own.full.clear();
          if (flush()) pump(own);
        },
        close() {
          own.closed = true;
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
      for (const own of all) own.closed = true;
      all.clear();
    },
  };
}

function gapOf({ last, firstTimeMs }: NonNullable<Page['expired']>): FeedGap {
  return { reason: 'expired', ...(firstTimeMs === undefined ? {} : { fromMs: firstTimeMs }), toMs: last.timeMs };
}
