/** One event for one lane, as long as it is in memory. */
import type { KeptEvent } from '../ports/ledger.ts';
import type { LogRecord, Position } from '../ports/log.ts';
import type { Place } from './tail.ts';

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
