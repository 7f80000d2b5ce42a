/**
 * What retention took from one shard, remembered so that a read can still say what it would have returned. An event
 * leaves two marks' worth of memory; past LOST_KEPT of a topic, the older half becomes one run with its ends and count.
 */
import type { LogRecord, Mark, Page, Position } from '@millrace/gateway/ports/log';

export type Expired = NonNullable<Page['expired']>;
export type Wanted = (environment: string, topic: string) => boolean;

export interface Lost {
  /** Oldest first: of one topic, retention always takes a prefix. */
  add(record: LogRecord): void;
  /** What is gone of the wanted topics in (after, through]. */
  within(after: Position, through: Position, wanted: Wanted): Expired | undefined;
  /** The last lost position with an append time before `timeMs`. */
  lastBefore(timeMs: number): Position;
}

interface Run {
  readonly first: Mark;
  readonly last: Mark;
  readonly count: number;
}

interface Topic {
  readonly environment: string;
  readonly topic: string;
  readonly runs: Run[];
}

const LOST_KEPT = 65_536;

export function createLost(): Lost {
  const topics = new Map<string, Topic>();

  return {
    add({ environment, event, position, timeMs }) {
      const key = topicKey(environment, event.type);
      const lost = topics.get(key) ?? { environment, topic: event.type, runs: [] };
      topics.set(key, lost);
      const mark = { position, timeMs };
      lost.runs.push({ first: mark, last: mark, count: 1 });
      if (lost.runs.length > LOST_KEPT) foldOlderHalf(lost.runs);
    },
    within(after, through, wanted) {
      let all: Expired | undefined;
      for (const { environment, topic, runs } of topics.values()) {
        if (runs.at(-1)!.last.position <= after || !wanted(environment, topic)) continue;
        for (const run of runs) all = join(all, cut(run, after, through));
      }
      return all;
    },
    lastBefore(timeMs) {
      const before = [...topics.values()].map(
        ({ runs }) => runs.findLast((run) => run.last.timeMs < timeMs)?.last.position ?? '',
      );
      return before.reduce((a, b) => (a > b ? a : b), '');
    },
  };
}

export function topicKey(environment: string, topic: string): string {
  return `${environment}\0${topic}`;
}

/** Two reports of one page as one. */
export function join(a: Expired | undefined, b: Expired | undefined): Expired | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  const known = a.count !== undefined && b.count !== undefined && a.firstTimeMs !== undefined && b.firstTimeMs !== undefined;
  return {
    last: a.last.position > b.last.position ? a.last : b.last,
    ...(known ? { firstTimeMs: Math.min(a.firstTimeMs, b.firstTimeMs), count: a.count + b.count } : {}),
  };
}

function cut({ first, last, count }: Run, after: Position, through: Position): Expired | undefined {
  if (last.position <= after || first.position > through) return undefined;
  if (first.position > after && last.position <= through) return { last, firstTimeMs: first.timeMs, count };
  // Only a folded run can be cut. How much of it lies inside is not known any more; reporting too much is the safe side.
  return { last: last.position <= through ? last : { position: through, timeMs: first.timeMs } };
}

function foldOlderHalf(runs: Run[]): void {
  const older = runs.splice(0, LOST_KEPT / 2);
  runs.unshift({ first: older[0]!.first, last: older.at(-1)!.last, count: older.reduce((sum, run) => sum + run.count, 0) });
}
