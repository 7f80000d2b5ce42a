/**
 * Append, the second step: entries of all publishers share one commit of the log. Adaptive group commit: while
 * limits.appendsUnderWay appends are under way the next one fills up; nothing waits for a timer.
 */
import { Problem } from '@millrace/core/problem';
import type { Limits } from '../limits.ts';
import type { Pace } from '../pace.ts';
import type { Appended, Entry, Log } from '../ports/log.ts';

export interface Append {
  /**
   * Resolves when all are durable, one result per entry. Rejects with the log's Problem, or `overloaded` at once when the queue is
   * full, or when `isLate` says in the end that they may not be appended any more: the log has not heard of them then.
   */
  (entries: readonly Entry[], isLate?: () => boolean): Promise<readonly Appended[]>;
}

interface Waiting {
  readonly entries: readonly Entry[];
  readonly bytes: number;
  readonly isLate: (() => boolean) | undefined;
  readonly resolve: (results: readonly Appended[]) => void;
  readonly reject: (reason: unknown) => void;
}

/** Calls of one turn that make a group before the turn is over: the log works on it while the others are still coming. */
const CALLS_AT_ONCE = 64;
/** Everybody has at least a tenth, as in lanes/turns.ts. */
const PASSED_OVER_MAX = 9;

interface Needs {
  readonly log: Log;
  readonly limits: Limits;
  readonly pace: Pace;
  /** Whether the event's topic is interactive. */
  readonly isUrgent: (entry: Entry) => boolean;
}

export function createAppend({ log, limits, pace, isUrgent }: Needs): Append {
  const urgent: Waiting[] = [];
  const queue: Waiting[] = [];
  let queuedBytes = 0;
  let underWay = 0;
  let passedOver = 0;
  let isScheduled = false;

  /** Whole calls, as many as fit one append: a call is never split, so that its events stand together. */
  function nextGroup(from: Waiting[], eventsMax: number): Waiting[] {
    let events = 0;
    let bytes = 0;
    let count = 0;
    for (const waiting of from) {
      events += waiting.entries.length;
      bytes += waiting.bytes;
      if (count > 0 && (events > eventsMax || bytes > limits.appendBytes)) break;
      count++;
    }
    const group = from.splice(0, count);
    for (const waiting of group) queuedBytes -= waiting.bytes;
    return group;
  }

  /** In a hurry the last place is kept for what is urgent, and the others are short; but passed over nine times they go first. */
  function flush(): void {
    isScheduled = false;
    const { isHurried } = pace;
    const places = isHurried ? Math.max(1, limits.appendsUnderWay - 1) : limits.appendsUnderWay;
    while (underWay < limits.appendsUnderWay) {
      const isTheirTurn = passedOver >= PASSED_OVER_MAX && queue.length > 0;
      if (urgent.length > 0 && !isTheirTurn) {
        if (queue.length > 0) passedOver++;
        void append(nextGroup(urgent, limits.appendEvents));
      } else if (queue.length > 0 && (isTheirTurn || underWay < places)) {
        passedOver = 0;
        void append(nextGroup(queue, isHurried ? limits.hurriedEvents : limits.appendEvents));
      } else return;
    }
  }

  async function append(taken: readonly Waiting[]): Promise<void> {
    const group = taken.filter((waiting) => !isRefused(waiting));
    if (group.length === 0) return;
    underWay++;
    try {
      const results = await log.append(
        group.length === 1 && group[0] !== undefined ? group[0].entries : group.flatMap((waiting) => waiting.entries),
      );
      let at = 0;
      for (const waiting of group) waiting.resolve(results.slice(at, (at += waiting.entries.length)));
    } catch (error) {
      for (const waiting of group) waiting.reject(error);
    }
    underWay--;
    flush();
  }

  return (entries, isLate) => {
    let bytes = 0;
    for (const entry of entries) bytes += entry.bytes.length;
    if (queuedBytes > 0 && queuedBytes + bytes > limits.appendQueueBytes) {
      return Promise.reject(
        new Problem('overloaded', 'more events are waiting to be stored than memory allows', { retryAfterMs: 1_000 }),
      );
    }
    queuedBytes += bytes;
    return new Promise((resolve, reject) => {
      const isAllUrgent = entries.every(isUrgent);
      if (isAllUrgent) pace.hurry();
      (isAllUrgent ? urgent : queue).push({ entries, bytes, isLate, resolve, reject });
      // What is called in one turn of the event loop goes together.
      if (queue.length >= CALLS_AT_ONCE) return flush();
      if (!isScheduled) queueMicrotask(flush);
      isScheduled = true;
    });
  };
}

/** It stood in the queue for too long, behind a log that is slow. */
function isRefused({ isLate, reject }: Waiting): boolean {
  if (isLate?.() !== true) return false;
  reject(new Problem('overloaded', 'the log could not take the event in time', { retryAfterMs: 1_000 }));
  return true;
}
