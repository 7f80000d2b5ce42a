/**
 * The newest records, in the memory of the thread that reads them: of what was appended there the very objects. Who reads near the end
 * costs the store thread nothing.
 */
import type { LogRecord, Page } from '@millrace/gateway/ports/log';
import { positionOf } from './position.ts';

/** Bounds what tiny events cost beside their bytes. */
export const TAIL_RECORDS_MAX = 65_536;

export interface TailQuery {
  readonly after: number;
  readonly wanted: (record: LogRecord) => boolean;
  readonly hidden: (record: LogRecord) => boolean;
  readonly limit: number;
  readonly maxBytes: number;
}

export interface Tail {
  /** Everything after this offset is here. */
  readonly after: number;
  readonly end: number;
  /** In the order of offsets, without gaps. */
  add(record: LogRecord): void;
  at(offset: number): LogRecord | undefined;
  /** Undefined where the tail does not reach back to `after`. */
  read(query: TailQuery): Page | undefined;
  /** What lies up to here is gone from the log. */
  forget(through: number): void;
  /** What was appended up to here is not here: whoever wants it reads it from the log. */
  skip(end: number): void;
}

export function createTail(end: number, bytesMax: number): Tail {
  let records: LogRecord[] = [];
  /** Index of the first record still in use: removing from the front of an array would move all others. */
  let head = 0;
  let bytes = 0;
  let after = end;

  function dropFirst(): void {
    bytes -= records[head]!.size;
    head++;
    after++;
    if (head < 1_024 || head < records.length / 2) return;
    records = records.slice(head);
    head = 0;
  }

  function endNow(): number {
    return after + records.length - head;
  }

  return {
    get after() {
      return after;
    },
    get end() {
      return endNow();
    },
    add(record) {
      records.push(record);
      bytes += record.size;
      while (bytes > bytesMax || records.length - head > TAIL_RECORDS_MAX) dropFirst();
    },
    at: (offset) => (offset > after ? records[head + offset - after - 1] : undefined),
    read({ after: from, wanted, hidden, limit, maxBytes }) {
      if (from < after) return undefined;
      const taken: LogRecord[] = [];
      let expired: Page['expired'];
      let size = 0;
      for (let i = head + from - after; i < records.length; i++) {
        const record = records[i]!;
        if (!wanted(record)) continue;
        if (hidden(record)) expired = withLost(expired, record);
        else if (taken.length >= limit || (taken.length > 0 && size + record.size > maxBytes))
          return page(after + i - head, false);
        else {
          taken.push(record);
          size += record.size;
        }
      }
      return page(Math.max(from, endNow()), true);

      function page(through: number, atEnd: boolean): Page {
        return { records: taken, through: positionOf(through), atEnd, ...(expired === undefined ? {} : { expired }) };
      }
    },
    forget(through) {
      while (head < records.length && after < through) dropFirst();
    },
    skip(to) {
      [records, head, bytes, after] = [[], 0, 0, to];
    },
  };
}

function withLost(before: Page['expired'], { position, timeMs }: LogRecord): Page['expired'] {
  return { last: { position, timeMs }, firstTimeMs: before?.firstTimeMs ?? timeMs, count: (before?.count ?? 0) + 1 };
}
