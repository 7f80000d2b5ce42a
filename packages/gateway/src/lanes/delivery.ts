/** One event for one lane, as long as it is in memory. */
import { idHashOf } from './cursor.ts';
import type { KeptEvent, ParkedRow } from '../ports/ledger.ts';
import type { LogRecord, Position } from '../ports/log.ts';
import type { Place } from './tail.ts';

/** What a lane is there for. */
export type LaneKind =
  /** The subscription's own. */
  | 'live'
  /** A replay: reads up to `until` and ends. */
  | { readonly until: Position }
  /** Only what is parked under a name that is no longer read for: former passes, runs that ended. */
  | 'drain';

/** The cause of what is never sent, because the filter has no answer for it. A delivery has it before its first attempt. */
export const FILTER_TOO_COSTLY = 'filter_too_costly';

/** Events that a lane will never see. */
export interface LostRange {
  readonly cause: 'expired' | 'log_changed';
  readonly after: Position;
  readonly through: Position;
  readonly timeMs: number;
  readonly throughTimeMs: number;
  readonly count?: number;
}

/**
 *   ready ──► sending ──► gone (settled, or parked in the ledger)
 *     ▲           │
 *     │           └── back to ready: a probe that failed, an attempt that does not count
 *   held (behind its key; without its record)
 */
export interface Delivery {
  readonly position: Position;
  timeMs: number;
  size: number;
  /** Digest of the event; unknown of a held row that was not looked at since the start. */
  idHash: string | undefined;
  readonly key: string | undefined;
  /** The event. Held deliveries have none: the ring or the log gives it back. */
  record: LogRecord | undefined;
  kept: KeptEvent | undefined;
  /** Made so far. */
  attempts: number;
  /** Of these, made before it was redriven. */
  attemptsBefore: number;
  cause: string;
  /** Of a parked row, wall time; 0 where it waits for nothing. */
  dueMs: number;
  /** Its row in the ledger, as far as it was handed to the recorder. */
  row: 'none' | 'parked' | 'held';
  state: 'ready' | 'sending' | 'held' | 'gone';
  /** When it was taken in, monotonic; when its last attempt began, wall time. */
  readonly takenMs: number;
  startedMs: number;
  /** The cursor may go past it: it is settled, or has a row. */
  passed: boolean;
  /** The place just before it in the log; only of what was read from there. */
  readonly before: Place | undefined;
}

interface Taken {
  /** The place just before the record. */
  readonly before: Place;
  readonly key: string | undefined;
  /** Behind the head of its key. */
  readonly isHeld: boolean;
  readonly nowMs: number;
}

/** A record that a lane takes from the log. */
export function deliveryOf(record: LogRecord, { before, key, isHeld, nowMs }: Taken): Delivery {
  return {
    position: record.position,
    timeMs: record.timeMs,
    size: record.size,
    idHash: isHeld ? idHashOf(record) : undefined,
    key,
    record: isHeld ? undefined : record,
    kept: undefined,
    attempts: 0,
    attemptsBefore: 0,
    cause: '',
    dueMs: 0,
    row: 'none',
    state: isHeld ? 'held' : 'ready',
    takenMs: nowMs,
    startedMs: 0,
    passed: false,
    before,
  };
}

/** A row of the ledger that held its place behind a head: what else it says is read when its turn comes. */
export function heldDelivery(position: Position, key: string | undefined, nowMs: number): Delivery {
  return {
    position,
    timeMs: 0,
    size: 0,
    idHash: undefined,
    key,
    record: undefined,
    kept: undefined,
    attempts: 0,
    attemptsBefore: 0,
    cause: '',
    dueMs: 0,
    row: 'held',
    state: 'held',
    takenMs: nowMs,
    startedMs: 0,
    passed: true,
    before: undefined,
  };
}

/** A parked row that comes back; its record is still to be had. */
export function parkedDelivery(row: ParkedRow, nowMs: number): Delivery {
  const { position, key, timeMs, size, idHash, kept, attempts, attemptsBefore, cause, dueMs } = row;
  const rest = { timeMs, size, idHash, kept, attempts, attemptsBefore, cause, dueMs };
  return { ...heldDelivery(position, key, nowMs), ...rest, row: 'parked', state: 'ready' };
}
