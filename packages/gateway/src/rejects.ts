/**
 * A topic's rejects: what clients of the broker wrote past the door and can not be an event. Nothing of them is stored: they are
 * read from the log, backwards in spans of time that shrink where the topic is busy and grow where it is quiet.
 */
import { Problem } from '@millrace/core/problem';
import type { Notice, RejectCursor, RejectPage, Rejects, RejectsQuery } from './api.ts';
import type { Clock } from './ports/clock.ts';
import type { Finding } from './ports/finding.ts';
import type { Limits } from './limits.ts';
import type { Log, LogRecord, Rejected } from './ports/log.ts';

type Reject = LogRecord & { readonly rejected: Rejected };

export interface RejectsAndCount extends Rejects {
  /** The tail came to one. */
  note(record: LogRecord): void;
  /** Of those it came to since the start. */
  findings(): readonly Finding[];
}

interface Needs {
  readonly log: Log;
  readonly clock: Clock;
  readonly limits: Pick<Limits, 'pageRecords' | 'pageBytes' | 'eventsPage'>;
  readonly onNotice: (notice: Notice) => void;
}

/** Whoever looks at them looks at the newest: the first span, before it grows. */
const WINDOW_MS = 60_000;
/** Pages of one span: what was read of one that does not fit is thrown away. */
const WINDOW_READS = 8;
/** Pages of one call: a second or so. */
const CALL_READS = 64;
/** At once: each may read as fast as the log gives. */
const READERS_MAX = 4;

export function createRejects({ log, clock, limits, onNotice }: Needs): RejectsAndCount {
  let readers = 0;
  let count = 0;
  let last: { readonly topic: string; readonly code: string } | undefined;

  /** Everything of the topic from `fromMs` to before `untilMs`; undefined where that is more than fits. */
  async function lookThrough(
    { environment, topic }: RejectsQuery,
    { fromMs, untilMs, readsMax }: { readonly fromMs: number; readonly untilMs: number; readonly readsMax: number },
  ): Promise<{ readonly found: readonly Reject[] | undefined; readonly reads: number }> {
    const found: Reject[] = [];
    let reads = 0;
    for (const shard of log.shards()) {
      const until = await log.positionAt(shard, untilMs);
      for (let after = await log.positionAt(shard, fromMs); after < until;) {
        if (reads === readsMax) return { found: undefined, reads };
        reads++;
        const only = { environment, topics: [topic] };
        const page = await log.read({ shard, after, only, limit: limits.pageRecords, maxBytes: limits.pageBytes });
        found.push(...page.records.filter((one) => one.position <= until).filter(isReject));
        if (page.atEnd || page.through === after) break;
        after = page.through;
      }
    }
    return { found, reads };
  }

  async function pageOf(query: RejectsQuery): Promise<RejectPage> {
    const { limit } = query;
    const bounds = await Promise.all(log.shards().map((shard) => log.bounds(shard)));
    const startMs = Math.min(...bounds.map(({ first }) => first?.timeMs ?? Infinity));
    const lastMs = Math.max(...bounds.map(({ last }) => last?.timeMs ?? 0));
    const records: Reject[] = [];
    // The broker's clock may be ahead of ours.
    let place = query.cursor ?? { timeMs: Math.max(clock.now(), lastMs) + 1, shard: '', position: '', windowMs: WINDOW_MS };
    for (let reads = 0; reads < CALL_READS && isAfter(place, startMs);) {
      const { windowMs } = place;
      const fromMs = Math.max(startMs, place.timeMs - windowMs);
      const untilMs = place.shard === '' ? place.timeMs : place.timeMs + 1;
      const looked = await lookThrough(query, { fromMs, untilMs, readsMax: windowMs === 1 ? Infinity : WINDOW_READS });
      reads += Math.max(1, looked.reads);
      if (looked.found === undefined) {
        place = { ...place, windowMs: Math.max(1, Math.floor(windowMs / 8)) };
        continue;
      }
      records.push(...looked.found.filter((one) => isBefore(one, place)).toSorted(newestFirst));
      if (records.length >= limit) return full(records, limit, windowMs);
      place = { timeMs: fromMs, shard: '', position: '', windowMs: looked.reads > 2 ? windowMs : windowMs * 4 };
    }
    return { records, throughMs: place.timeMs, ...(isAfter(place, startMs) ? { next: place } : {}) };
  }

  return {
    async read(query) {
      if (!Number.isInteger(query.limit) || query.limit < 1 || query.limit > limits.eventsPage)
        throw new Problem('invalid_request', `limit is a whole number from 1 to ${limits.eventsPage}`);
      if (log.supports.natives !== true) return { records: [], throughMs: 0 };
      if (readers >= READERS_MAX)
        throw new Problem('too_many_requests', `${READERS_MAX} are looking for rejects already`, { retryAfterMs: 2_000 });
      readers++;
      try {
        return await pageOf(query);
      } finally {
        readers--;
      }
    },
    note({ environment, event: { type: topic }, rejected }) {
      if (rejected === undefined) return;
      count++;
      last = { topic, code: rejected.code };
      onNotice({ kind: 'rejected', environment, topic, ...rejected });
    },
    findings() {
      if (last === undefined) return [];
      const { topic, code } = last;
      const problem = `${count} ${count === 1 ? 'message' : 'messages'} of clients of the broker could not be events since the gateway started, the last on ${topic} (${code})`;
      return [{ level: 'note', code: 'messages_rejected', problem, advice: `Why: millrace topic rejects ${topic}` }];
    },
  };
}

/** Whether something may stand between them. */
function isAfter({ timeMs, shard }: RejectCursor, startMs: number): boolean {
  return shard === '' ? timeMs > startMs : timeMs >= startMs;
}

function isReject(record: LogRecord): record is Reject {
  return record.rejected !== undefined;
}

/** By time, then by shard and position, so that a page may end between two of one millisecond. */
function isBefore(record: LogRecord, { timeMs, shard, position }: RejectCursor): boolean {
  if (record.timeMs !== timeMs) return record.timeMs < timeMs;
  return record.shard === shard ? record.position < position : record.shard < shard;
}

function newestFirst(one: LogRecord, other: LogRecord): number {
  return isBefore(one, { ...other, windowMs: 0 }) ? 1 : -1;
}

function full(found: readonly Reject[], limit: number, windowMs: number): RejectPage {
  const records = found.slice(0, limit);
  const { timeMs, shard, position } = records.at(-1) as Reject;
  return { records, throughMs: timeMs, next: { timeMs, shard, position, windowMs } };
}
