/** The newest records, in memory: who reads near the end asks the broker nothing. */
import type { LogRecord, Page } from '@millrace/gateway/ports/log';
import { positionOf } from './position.ts';

export interface TailQuery {
  readonly after: number;
  readonly wanted: (record: LogRecord) => boolean;
  readonly hidden: (record: LogRecord) => boolean;
  readonly limit: number;
  readonly maxBytes: number;
}

export interface Tail {
  /** Everything that is newer than this is here. */
  readonly after: number;
  readonly end: number;
  /** In the order of the log. What is left out between two was removed from the stream before we saw it. */
  add(record: LogRecord): void;
  at(sequence: number): LogRecord | undefined;
  /** Undefined where the tail does not reach back to `after`. */
  read(query: TailQuery): Page | undefined;
  /** Resolves when the tail has come to this sequence. Rejects when it is told to give up. */
  reached(sequence: number): Promise<void>;
  giveUp(reason: unknown): void;
  /** What lies up to here is gone from the log. */
  forget(through: number): void;
}

/** Bounds what tiny events cost beside their bytes. */
const RECORDS_MAX = 65_536;

interface Waiter {
  readonly sequence: number;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

export function createTail(from: number, bytesMax: number): Tail {
  let records: LogRecord[] = [];
  /** Index of the first record still in use: removing from the front of an array would move all others. */
  let head = 0;
  let bytes = 0;
  let after = from;
  let end = from;
  let waiters: Waiter[] = [];

  function dropFirst(): void {
    const first = records[head++]!;
    bytes -= first.size;
    after = placeOf(first);
    if (head < 1_024 || head < records.length / 2) return;
    records = records.slice(head);
    head = 0;
  }

  /** Index of the first record after `sequence`. */
  function indexAfter(sequence: number): number {
    const position = positionOf(sequence);
    let [low, high] = [head, records.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (records[middle]!.position > position) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  function wake(): void {
    if (waiters.length === 0) return;
    const here = waiters.filter(({ sequence }) => sequence <= end);
    if (here.length === 0) return;
    waiters = waiters.filter(({ sequence }) => sequence > end);
    for (const { resolve } of here) resolve();
  }

  return {
    get after() {
      return after;
    },
    get end() {
      return end;
    },
    add(record) {
      const sequence = placeOf(record);
      if (sequence <= end) return;
      records.push(record);
      bytes += record.size;
      end = sequence;
      while (records.length > head && (bytes > bytesMax || records.length - head > RECORDS_MAX)) dropFirst();
      wake();
    },
    at(sequence) {
      const record = records[indexAfter(sequence - 1)];
      return record?.position === positionOf(sequence) ? record : undefined;
    },
    read(query) {
      return query.after < after ? undefined : pageOf(records, indexAfter(query.after), end, query);
    },
    reached(sequence) {
      if (sequence <= end) return Promise.resolve();
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      waiters.push({ sequence, resolve, reject });
      return promise;
    },
    giveUp(reason) {
      const all = waiters;
      waiters = [];
      for (const { reject } of all) reject(reason);
    },
    forget(through) {
      while (head < records.length && placeOf(records[head]!) <= through) dropFirst();
      after = Math.max(after, Math.min(through, end));
    },
  };
}

/** Ours, so it need not be looked at whether it is a position at all. */
function placeOf({ position }: LogRecord): number {
  return Number(position);
}

function pageOf(records: readonly LogRecord[], from: number, end: number, query: TailQuery): Page {
  const { after, wanted, hidden, limit, maxBytes } = query;
  const taken: LogRecord[] = [];
  let expired: Page['expired'];
  let size = 0;
  let last = after;
  for (let i = from; i < records.length; i++) {
    const record = records[i]!;
    const sequence = placeOf(record);
    const isWanted = wanted(record);
    const isHidden = isWanted && hidden(record);
    const isTaken = isWanted && !isHidden;
    if (isTaken && (taken.length >= limit || (taken.length > 0 && size + record.size > maxBytes))) return page(last, false);
    if (sequence > last + 1) expired = gapUpTo(sequence - 1, record.timeMs);
    if (isHidden) expired = withLost(expired, record);
    if (isTaken) {
      taken.push(record);
      size += record.size;
    }
    last = sequence;
  }
  return page(Math.max(after, end), true);

  function page(through: number, atEnd: boolean): Page {
    return { records: taken, through: positionOf(through), atEnd, ...(expired === undefined ? {} : { expired }) };
  }
}

/** One more record that retention hides. */
export function withLost(before: Page['expired'], { position, timeMs }: LogRecord): Page['expired'] {
  const last = { position, timeMs };
  if (before === undefined) return { last, firstTimeMs: timeMs, count: 1 };
  return before.count === undefined ? { last } : { ...before, last, count: before.count + 1 };
}

/** What the stream does not hold any more up to `sequence`. Its time is not known: that of what came next is the latest it can be. */
export function gapUpTo(sequence: number, timeMs: number): Page['expired'] {
  return { last: { position: positionOf(sequence), timeMs } };
}
