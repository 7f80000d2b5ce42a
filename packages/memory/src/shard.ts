/** One shard of the memory log: an array in order, holes where retention took something. */
import type { Entry, Log, LogRecord, Mark, Page, Position, ReadRequest } from '@millrace/gateway/ports/log';
import { createLost, join } from './lost.ts';
import type { Expired, Wanted } from './lost.ts';

type Hidden = (record: LogRecord) => boolean;
type Listener = { readonly call: () => void };

export interface Shard {
  readonly name: string;
  append(entry: Entry, timeMs: number, keyed?: LogRecord['keyed']): LogRecord;
  read(request: ReadRequest, wanted: Wanted, hidden: Hidden): Page;
  at(position: Position): LogRecord | undefined;
  positionAt(timeMs: number): Position;
  bounds(hidden: Hidden): Awaited<ReturnType<Log['bounds']>>;
  /** Frees what is hidden; returns how many bytes that gave back. */
  trim(hidden: Hidden): number;
  onAppend(listener: () => void): () => void;
  /** Calls the listeners, in a microtask so that nobody runs inside the appender's stack. */
  signal(): void;
}

export function createShard(name: string): Shard {
  let records: LogRecord[] = [];
  let count = 0;
  const lost = createLost();
  const listeners = new Set<Listener>();

  return {
    name,
    append({ environment, app, event, bytes }, timeMs, keyed) {
      const place = { shard: name, position: positionOf(++count), timeMs };
      const record = { ...place, environment, app, event, size: bytes.length, ...(keyed && { keyed }) };
      records.push(record);
      return record;
    },
    read(request, wanted, hidden) {
      const end = endOf(count);
      const page = takePage(records, request, wanted, hidden);
      const through = page.stoppedAt ?? (request.after > end ? request.after : end);
      const expired = join(page.expired, lost.within(request.after, through, wanted));
      return { records: page.taken, through, atEnd: through >= end, ...(expired === undefined ? {} : { expired }) };
    },
    at(position) {
      const record = records[firstIndex(records, (candidate) => candidate.position >= position)];
      return record?.position === position ? record : undefined;
    },
    positionAt(timeMs) {
      // The place of the last event before that time, taken or not: what retention took since then is still reported.
      const kept = records[firstIndex(records, (record) => record.timeMs >= timeMs) - 1]?.position ?? '';
      const gone = lost.lastBefore(timeMs);
      return kept > gone ? kept : gone;
    },
    bounds(hidden) {
      const first = records.find((record) => !hidden(record));
      const last = records.findLast((record) => !hidden(record));
      return { ...(first && last ? { first: markOf(first), last: markOf(last) } : {}), end: endOf(count) };
    },
    trim(hidden) {
      let freed = 0;
      const survivors: LogRecord[] = [];
      for (const record of records) {
        if (!hidden(record)) survivors.push(record);
        else {
          lost.add(record);
          freed += record.size;
        }
      }
      if (freed > 0) records = survivors;
      return freed;
    },
    onAppend(call) {
      const listener = { call };
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    signal() {
      for (const listener of listeners) queueMicrotask(() => listeners.has(listener) && listener.call());
    },
  };
}

/** Looks at records in order until the page is full; `stoppedAt` is the last one looked at before the one that had no room. */
function takePage(records: readonly LogRecord[], { after, limit, maxBytes }: ReadRequest, wanted: Wanted, hidden: Hidden) {
  const taken: LogRecord[] = [];
  let expired: Expired | undefined;
  let size = 0;
  let last = after;
  for (let i = firstIndex(records, (record) => record.position > after); i < records.length; i++) {
    const record = records[i]!;
    if (wanted(record.environment, record.event.type)) {
      if (hidden(record)) expired = join(expired, { last: markOf(record), firstTimeMs: record.timeMs, count: 1 });
      else if (taken.length === limit || (taken.length > 0 && size + record.size > maxBytes))
        return { taken, expired, stoppedAt: last };
      else {
        taken.push(record);
        size += record.size;
      }
    }
    last = record.position;
  }
  return { taken, expired };
}

function endOf(count: number): Position {
  return count === 0 ? '' : positionOf(count);
}

function positionOf(count: number): Position {
  return String(count).padStart(16, '0');
}

function markOf({ position, timeMs }: LogRecord): Mark {
  return { position, timeMs };
}

/** Index of the first record that is `past`, where all after it are too; the length where none is. */
function firstIndex(records: readonly LogRecord[], past: (record: LogRecord) => boolean): number {
  let from = 0;
  let to = records.length;
  while (from < to) {
    const middle = (from + to) >>> 1;
    if (past(records[middle]!)) to = middle;
    else from = middle + 1;
  }
  return from;
}
