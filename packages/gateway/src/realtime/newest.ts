/**
 * The newest event of each key, for `from: last`. The log reads forward only and knows no keys: it is looked through in spans of time,
 * backwards from the end, that shrink where it is busy and grow where it is quiet. What has no key counts by its topic. What is
 * remembered of an event is where it stands, and of those there is a bound for each who asks, one for each app, and one for all
 * together; what was not looked through, or could not be remembered, is told as a gap.
 */
import { placeOf } from '../http/followed.ts';
import type { Place } from '../lanes/tail.ts';
import type { Limits } from '../limits.ts';
import { BEFORE_ALL, type Log, type LogRecord, type Page, type Position } from '../ports/log.ts';
import type { FeedGap, Wish } from './feeds.ts';
import { createLastsMemory, type Found, type Kept, type Lasts } from './lasts.ts';

/** Who asks, and for what. */
export interface Asked {
  readonly wish: Wish;
  /** By shard: what is newer comes anyway. */
  readonly until: ReadonlyMap<string, Place>;
  readonly isClosed: () => boolean;
  /** `no_answer`: its filter has none for this event. */
  wants(record: LogRecord): boolean | 'no_answer';
  gap(gap: FeedGap): void;
  /** Reads the log when it is its turn; undefined where it was closed meanwhile. */
  ask<T>(work: () => Promise<T>): Promise<T | undefined>;
}

interface Span {
  readonly fromMs: number;
  /** Exclusive. */
  readonly untilMs: number;
  readonly readsMax: number;
}

interface Looked {
  readonly found: Found;
  readonly reads: number;
  readonly looked: number;
  /** False where it is more than is read: nothing of it counts. */
  readonly isWhole: boolean;
}

interface Into {
  readonly found: Found;
  readonly costly: Range;
  readonly seen: { reads: number; looked: number };
}

/** The first span of time that is looked through, before it grows. */
const SPAN_MS = 60_000;
/** Pages of one span: what was read of one that does not fit is thrown away. */
const SPAN_READS = 8;

/** Resolves when it is known where they stand; gaps are told before. */
export function createNewest({ log, limits }: { readonly log: Log; readonly limits: Limits }): (asked: Asked) => Promise<Lasts> {
  const memory = createLastsMemory(limits);

  async function lookBack(asked: Asked, kept: Kept, costly: Range): Promise<void> {
    const { firstMs, lastMs } = await timesOf(asked);
    let untilMs = lastMs + 1;
    let spanMs = SPAN_MS;
    let reads = 0;
    let looked = 0;
    const mayGoOn = (): boolean =>
      !asked.isClosed() && kept.missedMs === undefined && looked < limits.lastEvents && reads < limits.lastReads;
    while (untilMs > firstMs && mayGoOn()) {
      const fromMs = Math.max(firstMs, untilMs - spanMs);
      spanMs = untilMs - fromMs;
      const readsMax = Math.min(limits.lastReads - reads, spanMs <= 1 ? Infinity : SPAN_READS);
      const span = await lookThrough(asked, costly, { fromMs, untilMs, readsMax });
      reads += Math.max(1, span.reads);
      if (!span.isWhole) {
        span.found.take();
        spanMs = Math.max(1, Math.floor(spanMs / 8));
        continue;
      }
      looked += span.looked;
      kept.add(span.found);
      untilMs = kept.missedMs === undefined ? fromMs : kept.missedMs + 1;
      if (span.reads <= 2) spanMs *= 4;
    }
    if (untilMs > firstMs && !asked.isClosed()) asked.gap({ reason: 'too_far', fromMs: firstMs, toMs: untilMs - 1 });
  }

  async function timesOf({ until, ask }: Asked) {
    let firstMs = Infinity;
    let lastMs = 0;
    for (const [shard, { timeMs }] of until) {
      const bounds = await ask(() => log.bounds(shard));
      firstMs = Math.min(firstMs, bounds?.first?.timeMs ?? Infinity);
      lastMs = Math.max(lastMs, timeMs, bounds?.last?.timeMs ?? 0);
    }
    return { firstMs, lastMs };
  }

  /** A shard after the other. */
  async function lookThrough(asked: Asked, costly: Range, span: Span): Promise<Looked> {
    const found = memory.found(placeOfApp(asked));
    const seen = { reads: 0, looked: 0 };
    try {
      for (const shard of asked.until.keys())
        if (!(await lookThroughShard(asked, shard, span, { found, costly, seen }))) return { found, ...seen, isWhole: false };
    } catch (error) {
      found.take();
      throw error;
    }
    return { found, ...seen, isWhole: true };
  }

  /** False where there is more than is read. */
  async function lookThroughShard(
    asked: Asked,
    shard: string,
    { fromMs, untilMs, readsMax }: Span,
    into: Into,
  ): Promise<boolean> {
    const { until, ask, wish } = asked;
    const spanEnd = await ask(() => log.positionAt(shard, untilMs));
    let after = await ask(() => log.positionAt(shard, fromMs));
    const position = until.get(shard)?.position ?? BEFORE_ALL;
    // Undefined: it was closed.
    while (spanEnd !== undefined && after !== undefined && after < spanEnd && after < position) {
      if (into.seen.reads === readsMax) return false;
      into.seen.reads++;
      const request = { shard, after, only: wish, limit: limits.feedRecords, maxBytes: limits.pageBytes };
      const page: Page | undefined = await ask(() => log.read(request));
      let before = after;
      for (const record of page?.records ?? []) {
        if (record.position > spanEnd || record.position > position) break;
        look(asked, record, before, into);
        before = record.position;
      }
      if (page === undefined || page.atEnd || page.through === after) break;
      after = page.through;
    }
    return true;
  }

  function look({ wants }: Asked, record: LogRecord, before: Position, { found, costly, seen }: Into): void {
    seen.looked++;
    const isWanted = wants(record);
    if (isWanted === true) found.add(record, before);
    if (isWanted === 'no_answer') costly.add(record.timeMs);
  }

  return async (asked) => {
    const kept = memory.kept(placeOfApp(asked));
    const costly = createRange();
    try {
      await lookBack(asked, kept, costly);
    } catch (error) {
      kept.drop();
      throw error;
    }
    const { span } = costly;
    if (span !== undefined && !asked.isClosed()) asked.gap({ reason: 'filter_too_costly', ...span });
    return kept.lasts();
  };
}

const placeOfApp = ({ wish: { environment, app } }: Asked): string => placeOf({ environment, id: app });

type Range = ReturnType<typeof createRange>;

function createRange() {
  let span: { fromMs: number; toMs: number } | undefined;
  return {
    get span() {
      return span;
    },
    add(timeMs: number): void {
      span = { fromMs: Math.min(span?.fromMs ?? timeMs, timeMs), toMs: Math.max(span?.toMs ?? timeMs, timeMs) };
    },
  };
}
