/**
 * Looks in the log for events that were perhaps appended: from the remembered ends on, until all is read that may hold them. A look
 * is bounded; the next one for the same place goes on where it stopped.
 */
import type { Clock } from '../ports/clock.ts';
import type { ClaimPlace } from '../ports/claims.ts';
import type { Log, LogRecord, Position } from '../ports/log.ts';

export interface Look {
  /** Rejects as the log's reads do. */
  (wanted: Wanted): Promise<Seen>;
}

export interface Wanted {
  readonly environment: string;
  readonly place: ClaimPlace;
  readonly ids: ReadonlySet<string>;
  /** What was appended after this (wall time) is none of it. */
  readonly untilMs: number;
}

export interface Seen {
  readonly found: ReadonlyMap<string, LogRecord>;
  /**
   * `whole`: what was not found was not there when the look began. `part`: there is more to read. `gone`: retention has taken some
   * of it, or it is another log: that can't be told any more.
   */
  readonly extent: 'whole' | 'part' | 'gone';
  /** Everything up to here was looked at. */
  readonly ends: ClaimPlace['ends'];
}

const PAGE_RECORDS = 4_096;
const PAGE_BYTES = 16 * 1024 * 1024;
/** Of one look and shard: some tenths of a second. A publisher that comes again goes on. */
const PAGES = 32;
/** The broker's stamps and our wall clock differ less, wherever somebody keeps time at all: more is only more to read. */
const CLOCKS_APART_MS = 600_000;
/** An event that the broker has comes to our tail in a millisecond or two. */
const LATE_MS = 1_000;
/** Looks that were not through, whose places are remembered: who is forgotten begins anew. */
const STOPPED_MAX = 1_024;

export function createLook({ log, clock }: { readonly log: Log; readonly clock: Clock }): Look {
  const stopped = new Map<string, ClaimPlace['ends']>();

  /** Resolves when something came, at the latest after LATE_MS. */
  async function more(shard: string): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = clock.after(LATE_MS, resolve);
    const stop = log.onAppend(shard, resolve);
    await promise;
    stop();
    timer.cancel();
  }

  async function lookIn(shard: string, from: Position, { environment, place, ids, untilMs }: Wanted) {
    const found = new Map<string, LogRecord>();
    const only = { environment, topics: place.topics };
    const { end } = await log.bounds(shard);
    let after = from;
    for (let pages = 0; pages < PAGES; pages++) {
      const page = await log.read({ shard, after, only, limit: PAGE_RECORDS, maxBytes: PAGE_BYTES });
      for (const record of page.records)
        if (record.keyed !== undefined && ids.has(record.keyed.key) && !found.has(record.keyed.key))
          found.set(record.keyed.key, record);
      after = page.through;
      const isPast = (page.records.at(-1)?.timeMs ?? -Infinity) > untilMs + CLOCKS_APART_MS;
      if (found.size === ids.size) return { found, extent: 'whole', after } as const;
      if (page.expired !== undefined) return { found, extent: 'gone', after } as const;
      if (after >= end || isPast) return { found, extent: 'whole', after } as const;
      if (page.atEnd) await more(shard);
    }
    return { found, extent: 'part', after } as const;
  }

  function keep(name: string, { extent, ends }: Seen): void {
    stopped.delete(name);
    if (extent !== 'part') return;
    stopped.set(name, ends);
    const [oldest] = stopped.keys();
    if (stopped.size > STOPPED_MAX && oldest !== undefined) stopped.delete(oldest);
  }

  return async (wanted) => {
    const { place, environment } = wanted;
    if (place.log !== log.identity) return { found: new Map(), extent: 'gone', ends: {} };
    const name = JSON.stringify([environment, place, [...wanted.ids].toSorted()]);
    const ends = stopped.get(name) ?? place.ends;
    const looks = await Promise.all(
      log.shards().map(async (shard) => ({ shard, ...(await lookIn(shard, ends[shard] ?? '', wanted)) })),
    );
    const seen: Seen = {
      found: new Map(looks.flatMap(({ found }) => [...found])),
      extent: (['gone', 'part'] as const).find((extent) => looks.some((one) => one.extent === extent)) ?? 'whole',
      ends: Object.fromEntries(looks.map(({ shard, after }) => [shard, after])),
    };
    keep(name, seen);
    return seen;
  };
}
