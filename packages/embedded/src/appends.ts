/**
 * Appends on their way to the store thread. What is called in one turn goes over as one message, what is called while
 * BATCHES_UNDER_WAY are being written waits and goes as the next: few and large messages under load, no wait without.
 */
import { Problem } from '@millrace/core/problem';
import type { Appended, Entry, LogRecord } from '@millrace/gateway/ports/log';
import type { AppendAnswer, AppendBatch } from './packing.ts';
import { createBatchPacker } from './packing.ts';
import { positionOf, SHARD } from './position.ts';

/** One being written and one waiting, so that the thread never waits for us. */
const BATCHES_UNDER_WAY = 2;
/** A message takes no further call past these. */
const BATCH_ENTRIES = 4_096;
const BATCH_BYTES = 16 * 1024 * 1024;
const KEY_BYTES_MAX = 512;

export interface Appends {
  /** Resolves when all is durable. */
  add(entries: readonly Entry[]): Promise<readonly Appended[]>;
  /** Calls that are not under way yet. */
  readonly waiting: number;
}

export interface AppendsOptions {
  /** `take`: called with the answer in the very turn in which it arrives, so that what others append after it comes after it. */
  send(batch: AppendBatch, take: (answer: AppendAnswer) => void): Promise<AppendAnswer>;
  /** What was appended, before the callers of add() hear of it. */
  appended(records: readonly LogRecord[]): void;
}

interface Call {
  readonly entries: readonly Entry[];
  readonly bytes: number;
  resolve(results: readonly Appended[]): void;
  reject(error: unknown): void;
}

export function createAppends({ send, appended }: AppendsOptions): Appends {
  const packer = createBatchPacker();
  let waiting: Call[] = [];
  let underWay = 0;
  let isScheduled = false;

  function flush(): void {
    isScheduled = false;
    while (waiting.length > 0 && underWay < BATCHES_UNDER_WAY) void write(take());
  }

  function take(): Call[] {
    let [entries, bytes, calls] = [0, 0, 0];
    for (const call of waiting) {
      if (calls > 0 && (entries + call.entries.length > BATCH_ENTRIES || bytes + call.bytes > BATCH_BYTES)) break;
      entries += call.entries.length;
      bytes += call.bytes;
      calls++;
    }
    const taken = waiting.slice(0, calls);
    waiting = waiting.slice(calls);
    return taken;
  }

  async function write(calls: readonly Call[]): Promise<void> {
    underWay++;
    const entries = calls.length === 1 ? calls[0]!.entries : calls.flatMap((call) => call.entries);
    let results: readonly Appended[] = [];
    try {
      await send(packer.pack(entries), (answer) => {
        results = resultsOf(entries, answer);
        appended(results.flatMap((result, i) => (result.status === 'appended' ? recordOf(entries[i]!, result) : [])));
      });
      settle(calls, results);
    } catch (error) {
      for (const call of calls) call.reject(error);
    } finally {
      underWay--;
      flush();
    }
  }

  function settle(calls: readonly Call[], results: readonly Appended[]): void {
    let from = 0;
    for (const call of calls) call.resolve(results.slice(from, (from += call.entries.length)));
  }

  return {
    get waiting() {
      return waiting.length;
    },
    add(entries) {
      if (entries.length === 0) return Promise.resolve([]);
      const tooLong = entries.find(({ dedupe }) => dedupe !== undefined && isTooLong(dedupe.key));
      if (tooLong !== undefined)
        return Promise.reject(new Problem('invalid_request', `An idempotency key has at most ${KEY_BYTES_MAX} bytes`));
      const { promise, resolve, reject } = Promise.withResolvers<readonly Appended[]>();
      waiting.push({ entries, bytes: entries.reduce((sum, { bytes }) => sum + bytes.length, 0), resolve, reject });
      if (!isScheduled) queueMicrotask(flush);
      isScheduled = true;
      return promise;
    },
  };
}

function isTooLong(key: string): boolean {
  // A code unit has at most three bytes: nearly every key is short enough without counting.
  return key.length * 3 > KEY_BYTES_MAX && Buffer.byteLength(key) > KEY_BYTES_MAX;
}

function resultsOf(entries: readonly Entry[], { first, timeMs, others }: AppendAnswer): Appended[] {
  const settled = new Map(others);
  let offset = first;
  return entries.map((_, at) => {
    const before = settled.get(at);
    if (before === null) return { status: 'conflict' };
    if (before !== undefined)
      return { status: 'duplicate', shard: SHARD, position: positionOf(before.offset), timeMs: before.timeMs, id: before.id };
    return { status: 'appended', shard: SHARD, position: positionOf(offset++), timeMs };
  });
}

function recordOf(
  { environment, app, event, bytes }: Entry,
  { shard, position, timeMs }: Extract<Appended, { status: 'appended' }>,
): LogRecord {
  return { shard, position, timeMs, environment, app, event, size: bytes.length };
}
