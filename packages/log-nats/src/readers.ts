/** The readers that are open: who reads on where a page ended gets the reader of that page again. */
import type { JetStreamManager } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/transport-node';
import type { LogRecord, Page } from '@millrace/gateway/ports/log';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Delivered } from './delivery.ts';
import type { LookUps } from './look-ups.ts';
import { BEHIND_MS, BEHIND_TRIED } from './look-ups.ts';
import { positionOf } from './position.ts';
import type { Reader } from './reader.ts';
import { openReader, ReaderGone } from './reader.ts';
import { gapUpTo, withLost } from './tail.ts';

export interface Query {
  readonly after: number;
  /** What the broker is asked for; undefined for all. */
  readonly filters: readonly string[] | undefined;
  readonly wantedSubject: (subject: string) => boolean;
  readonly hidden: (record: LogRecord) => boolean;
  readonly limit: number;
  readonly maxBytes: number;
  /** The end of the log, as it is known before this read begins. */
  readonly end: number;
  readonly nowMs: number;
}

export interface Readers {
  read(query: Query): Promise<Page>;
  close(): void;
}

interface Needs {
  readonly nc: NatsConnection;
  readonly jsm: JetStreamManager;
  readonly stream: string;
  readonly recordOf: (message: Delivered) => LogRecord;
  /** The first sequence that is still there now. */
  readonly firstSequence: () => Promise<number>;
  /** Undefined where the stream has one replica: who reads it then sees all there is. */
  readonly nextFrom: () => LookUps['nextFrom'] | undefined;
}

/** Idle ones that are kept: four catch-up reads of the gateway, replays, and people who page through events. */
const KEPT = 16;
/** Messages looked at for one page where few are wanted: a page must not hold up who waits for it. */
const LOOKED_AT_MAX = 16_384;

export function createReaders({ nc, jsm, stream, recordOf, firstSequence, nextFrom }: Needs): Readers {
  const idle = new Set<Reader>();
  const all = new Set<Reader>();

  async function readerFor({ after, filters }: Query): Promise<Reader> {
    const key = filters === undefined ? '' : filters.join('\n');
    for (const reader of idle)
      if (reader.position === after && reader.key === key) {
        idle.delete(reader);
        return reader;
      }
    const start = { deliver_policy: 'by_start_sequence', opt_start_seq: after + 1 } as const;
    const reader = await openReader({ nc, jsm, stream, key, start, filters });
    all.add(reader);
    return reader;
  }

  /** A set keeps the order in which they came back: the first was used longest ago. */
  function keep(reader: Reader, position: number): void {
    reader.position = position;
    idle.add(reader);
    for (const oldest of idle) if (idle.size > KEPT) drop(oldest);
  }

  function drop(reader: Reader): void {
    idle.delete(reader);
    all.delete(reader);
    reader.close();
  }

  async function readWith(reader: Reader, query: Query): Promise<Page> {
    reader.begin();
    const page = createPage(query, recordOf);
    let message: Delivered | undefined;
    for (let looked = 0, waited = 0; looked < LOOKED_AT_MAX; looked++) {
      message = await reader.next();
      if (message !== undefined) {
        if (page.take(message)) continue;
        break;
      }
      if (!(await isBehind(query, page.last))) break;
      if (++waited > BEHIND_TRIED) throw new ReaderGone('the replica that was asked is too far behind');
      await sleep(BEHIND_MS);
      reader.begin();
    }
    if (message !== undefined && !page.has(message)) {
      reader.putBack(message);
      reader.readAhead();
    }
    if (message === undefined) page.finish();
    if (query.filters !== undefined) page.lostBefore(await firstSequence());
    return page.result();
  }

  /** The end that a reader found may only be that of its replica: the stream's leader knows whether there is more. */
  async function isBehind({ filters = ['>'], end }: Query, last: number): Promise<boolean> {
    const next = nextFrom();
    if (next === undefined || last >= end) return false;
    for (const filter of filters) {
      const message = await next(last + 1, filter);
      if (message !== undefined && message.sequence <= end) return true;
    }
    return false;
  }

  return {
    async read(query) {
      // A reader that was kept may have been forgotten by the server: a new one is made, once.
      for (let tried = 1; ; tried++) {
        const reader = await readerFor(query);
        try {
          const page = await readWith(reader, query);
          keep(reader, page.through === '' ? 0 : Number(page.through));
          return page;
        } catch (error) {
          drop(reader);
          if (!(error instanceof ReaderGone) || tried === 2) throw error;
        }
      }
    },
    close() {
      for (const reader of all) drop(reader);
    },
  };
}

interface PageDraft {
  /** The last sequence that was looked at. */
  readonly last: number;
  /** False where it has no room. */
  take(message: Delivered): boolean;
  has(message: Delivered): boolean;
  /** There is nothing more: everything up to the end was looked at. */
  finish(): void;
  /** Everything before `first` is gone: what of it this page did not see may have been asked for. */
  lostBefore(first: number): void;
  result(): Page;
}

function createPage(query: Query, recordOf: (message: Delivered) => LogRecord): PageDraft {
  const { after, filters, wantedSubject, hidden, limit, maxBytes, end, nowMs } = query;
  const records: LogRecord[] = [];
  let expired: Page['expired'];
  let size = 0;
  let last = after;
  let firstSeen: Delivered | undefined;
  let atEnd = false;

  function gapBefore({ sequence, timeMs }: Delivered): void {
    // Unfiltered, every number comes: one that does not was removed.
    if (filters === undefined && sequence > last + 1) expired = gapUpTo(sequence - 1, timeMs);
  }

  return {
    get last() {
      return last;
    },
    take(message) {
      if (wantedSubject(message.subject)) {
        const record = recordOf(message);
        const isHidden = hidden(record);
        if (!isHidden && (records.length >= limit || (records.length > 0 && size + record.size > maxBytes))) return false;
        gapBefore(message);
        if (isHidden) expired = withLost(expired, record);
        else {
          records.push(record);
          size += record.size;
        }
      } else gapBefore(message);
      firstSeen ??= message;
      last = message.sequence;
      return true;
    },
    has: ({ sequence }) => sequence <= last,
    finish() {
      atEnd = true;
      if (filters === undefined && end > last) expired = gapUpTo(end, nowMs);
      last = Math.max(last, end);
    },
    lostBefore(first) {
      const through = Math.min(first, firstSeen?.sequence ?? last + 1) - 1;
      if (through <= after) return;
      // What is hidden came later; how many are gone with it nobody knows.
      expired = expired === undefined ? gapUpTo(through, firstSeen?.timeMs ?? nowMs) : { last: expired.last };
    },
    result: () => ({ records, through: positionOf(last), atEnd, ...(expired === undefined ? {} : { expired }) }),
  };
}
