/**
 * The log read by people and tools (`millrace tail`, `listen`): events of some topics from a cursor on, in pages, waiting
 * for new ones if asked to. No lane: nothing is owed, nothing is kept of a reader but the cursor it holds itself.
 */
import { audienceOf } from '@millrace/core/event';
import { Problem } from '@millrace/core/problem';
import type { EventPage, Events, EventsQuery, Gap, ReadCursor } from './api.ts';
import type { Limits } from './limits.ts';
import type { Clock } from './ports/clock.ts';
import type { Log, LogRecord, Page, Position } from './ports/log.ts';
import { beginning } from './subscriptions.ts';

interface Needs {
  readonly log: Log;
  readonly clock: Clock;
  readonly limits: Limits;
}

export function createEvents({ log, clock, limits }: Needs): Events {
  let readers = 0;
  /** Each answer begins with another shard: a busy one must not hide the others. */
  let turn = 0;

  async function positionsAt(from: ReturnType<typeof beginning>): Promise<Record<string, Position>> {
    const places = log.shards().map(async (shard) => {
      if (from === 'end') return [shard, (await log.bounds(shard)).end] as const;
      return [shard, from === 'start' ? '' : await log.positionAt(shard, from)] as const;
    });
    return Object.fromEntries(await Promise.all(places));
  }

  /** Where to read on. Of another log than the cursor's, positions mean nothing: there it goes by time. */
  async function placesOf({ cursor, from }: EventsQuery): Promise<{ places: Record<string, Position>; gap?: Gap }> {
    if (cursor === undefined) return { places: await positionsAt(beginning(from)) };
    if (cursor.log !== log.identity) return { places: await positionsAt(cursor.timeMs), gap: { cause: 'log_changed' } };
    // A shard that appeared since is entered at the cursor's time.
    const known = new Set(Object.keys(cursor.positions));
    if (log.shards().every((shard) => known.has(shard))) return { places: { ...cursor.positions } };
    return { places: { ...(await positionsAt(cursor.timeMs)), ...cursor.positions } };
  }

  /** What can not be an event is none here either: see rejects.ts. */
  function maySee({ app }: EventsQuery, { event, rejected }: LogRecord): boolean {
    if (rejected !== undefined) return false;
    const audience = audienceOf(event);
    return app === undefined || audience === undefined || audience === app;
  }

  /** One page: a bounded number of reads, over all shards in turn. */
  async function pageOf(query: EventsQuery, places: Record<string, Position>): Promise<Omit<EventPage, 'cursor'>> {
    const { environment, topics, limit } = query;
    const records: LogRecord[] = [];
    let gap: Gap | undefined;
    let atEnd = true;
    let bytes = 0;
    const shards = log.shards();
    const first = turn++ % Math.max(1, shards.length);
    for (const shard of [...shards.slice(first), ...shards.slice(0, first)]) {
      for (let reads = 0; ; reads++) {
        const room = limit - records.length;
        if (room <= 0 || bytes >= limits.pageBytes || reads >= limits.eventsReads) {
          atEnd = false;
          break;
        }
        const after = places[shard] ?? '';
        const page = await log.read({
          shard,
          after,
          only: { environment, topics },
          limit: room,
          maxBytes: limits.pageBytes - bytes,
        });
        gap ??= gapOf(after, page);
        places[shard] = page.through;
        records.push(...page.records.filter((record) => maySee(query, record)));
        for (const { size } of page.records) bytes += size;
        if (page.atEnd || page.through === after) break;
      }
    }
    return { records, atEnd, ...(gap === undefined ? {} : { gap }) };
  }

  function cursorOf(places: Record<string, Position>, { records }: Pick<EventPage, 'records'>, timeMs: number): ReadCursor {
    return {
      log: log.identity,
      positions: places,
      timeMs: records.reduce((last, record) => Math.max(last, record.timeMs), timeMs),
    };
  }

  return {
    async read(query, signal) {
      const { limit } = query;
      if (!Number.isInteger(limit) || limit < 1 || limit > limits.eventsPage)
        throw new Problem('invalid_request', `limit is a whole number from 1 to ${limits.eventsPage}`, {
          pointer: '/query/limit',
        });
      if (readers >= limits.eventsReaders)
        throw new Problem('too_many_requests', `${limits.eventsReaders} readers of events are at it already`, {
          retryAfterMs: 5_000,
          advice: 'For a steady consumer create a subscription.',
        });
      readers++;
      const appended = createSignal(log, clock, signal);
      try {
        const { places, gap: first } = await placesOf(query);
        const untilMs = clock.monotonic() + query.waitMs;
        // Of a cursor that has seen nothing yet: what a changed log is entered at.
        const timeMs = query.cursor?.timeMs ?? clock.now();
        for (;;) {
          appended.arm();
          const page = await pageOf(query, places);
          const gap = first ?? page.gap;
          const answer = { ...page, ...(gap === undefined ? {} : { gap }), cursor: cursorOf(places, page, timeMs) };
          if (page.records.length > 0 || !page.atEnd || gap !== undefined) return answer;
          if (!(await appended.before(untilMs - clock.monotonic()))) return answer;
        }
      } finally {
        appended.stop();
        readers--;
      }
    },
  };
}

function gapOf(after: Position, { expired }: Page): Gap | undefined {
  if (expired === undefined) return undefined;
  return {
    cause: 'expired',
    after,
    through: expired.last.position,
    ...(expired.count === undefined ? {} : { count: expired.count }),
  };
}

interface Signal {
  /** From now on it notices. */
  arm(): void;
  /** True when something was appended since it was armed, or is within this time; false when not, or when nobody waits any more. */
  before(delayMs: number): Promise<boolean>;
  stop(): void;
}

function createSignal(log: Log, clock: Clock, signal: AbortSignal | undefined): Signal {
  let rung = false;
  let wake: ((rung: boolean) => void) | undefined;
  const ring = (): void => {
    rung = true;
    wake?.(true);
  };
  const leave = (): void => wake?.(false);
  const stops = log.shards().map((shard) => log.onAppend(shard, ring));
  signal?.addEventListener('abort', leave);
  return {
    arm: () => void (rung = false),
    before(delayMs) {
      if (rung) return Promise.resolve(true);
      if (delayMs <= 0 || signal?.aborted === true) return Promise.resolve(false);
      return new Promise((resolve) => {
        const timer = clock.after(delayMs, leave);
        wake = (value) => {
          timer.cancel();
          wake = undefined;
          resolve(value);
        };
      });
    },
    stop() {
      for (const stop of stops) stop();
      signal?.removeEventListener('abort', leave);
    },
  };
}
