/**
 * Append, the second step: entries of all publishers share one commit of the log. Adaptive group commit: while one
 * append is under way the next one fills up; nothing waits for a timer.
 */
import { Problem } from '@millrace/core/problem';
import type { Limits } from '../limits.ts';
import type { Appended, Entry, Log } from '../ports/log.ts';

export interface Append {
  /** Resolves when all are durable, one result per entry. Rejects with the log's Problem, or `overloaded` at once when the queue is full. */
  (entries: readonly Entry[]): Promise<readonly Appended[]>;
}

interface Waiting {
  readonly entries: readonly Entry[];
  readonly bytes: number;
  readonly resolve: (results: readonly Appended[]) => void;
  readonly reject: (reason: unknown) => void;
}

export function createAppend({ log, limits }: { log: Log; limits: Limits }): Append {
  let queue: Waiting[] = [];
  let queuedBytes = 0;
  let busy = false;

  /** Whole calls, as many as fit one append: a call is never split, so that its events stand together. */
  function nextGroup(): Waiting[] {
    let events = 0;
    let bytes = 0;
    let count = 0;
    for (const waiting of queue) {
      events += waiting.entries.length;
      bytes += waiting.bytes;
      if (count > 0 && (events > limits.appendEvents || bytes > limits.appendBytes)) break;
      count++;
    }
    const group = queue.slice(0, count);
    queue = count === queue.length ? [] : queue.slice(count);
    for (const waiting of group) queuedBytes -= waiting.bytes;
    return group;
  }

  async function drain(): Promise<void> {
    busy = true;
    while (queue.length > 0) {
      const group = nextGroup();
      try {
        const results = await log.append(
          group.length === 1 && group[0] !== undefined ? group[0].entries : group.flatMap((waiting) => waiting.entries),
        );
        let at = 0;
        for (const waiting of group) waiting.resolve(results.slice(at, (at += waiting.entries.length)));
      } catch (error) {
        for (const waiting of group) waiting.reject(error);
      }
    }
    busy = false;
  }

  return (entries) => {
    let bytes = 0;
    for (const entry of entries) bytes += entry.bytes.length;
    if (queuedBytes > 0 && queuedBytes + bytes > limits.appendQueueBytes) {
      return Promise.reject(
        new Problem('overloaded', 'more events are waiting to be stored than memory allows', { retryAfterMs: 1_000 }),
      );
    }
    queuedBytes += bytes;
    return new Promise((resolve, reject) => {
      queue.push({ entries, bytes, resolve, reject });
      if (!busy) void drain();
    });
  };
}
