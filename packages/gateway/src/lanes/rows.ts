/** What one lane has in the ledger: its rows as they are written, and how many it has. */
import { hash } from 'node:crypto';
import { base32 } from '@millrace/core/base32';
import { encodeEvent } from '@millrace/core/event-bytes';
import type { Outcome } from '../flow/deliver.ts';
import type { Change } from '../flow/record.ts';
import type { AttemptRow, DeadLetter, KeptEvent, LanePosition, ParkedRow } from '../ports/ledger.ts';
import type { LogRecord, Position } from '../ports/log.ts';
import type { Counts } from './bounds.ts';
import { idHashOf } from './cursor.ts';
import type { Delivery, LostRange } from './delivery.ts';

export interface Rows {
  readonly parked: number;
  readonly held: number;
  /** Takes over what the ledger has of the lane; the subscription's counts have it already. */
  recover(had: { readonly parked: number; readonly parkedBytes: number; readonly held: number }): void;
  /** The delivery has such a row from now on; what it had before goes from the counts. */
  count(delivery: Delivery, row: Delivery['row']): void;
  countHeld(rows: number): void;
  countParked(rows: number, bytes: number): void;
  /** The change that takes a delivery's row away, if it has one; and the counts follow. */
  remove(delivery: Delivery): Change;
  place(position: Position): LanePosition;
  attempt(delivery: Delivery, outcome: Outcome, result: AttemptRow['outcome']): AttemptRow;
  /** As parked until `dueMs` (wall time), or held (0). */
  row(delivery: Delivery, state: ParkedRow['state'], dueMs: number): ParkedRow;
  /** Of a delivery whose last attempt ended it. */
  letter(delivery: Delivery, outcome: Outcome, holdsKey: string | undefined): DeadLetter;
  /** Of a delivery whose event is gone. */
  lostLetter(delivery: Delivery, cause: LostRange['cause']): DeadLetter;
  /** Nothing of it counts for the subscription any more: the lane has ended. */
  leave(): void;
}

interface Needs {
  readonly lane: string;
  readonly shard: string;
  /** Of the subscription. */
  readonly counts: Counts;
  readonly now: () => number;
  readonly onCount: () => void;
}

const LOST = {
  expired: 'retention took these events before they were delivered',
  log_changed: 'the log no longer holds the event at which this subscription stood: what came after it there can not be known',
} as const;

/**
 * A range begins where an event may be dead by itself, and may be found again, longer, after a restart: each is a letter
 * of its own, so that discarding the one a person has seen never takes another with it.
 */
export const deadLetterId = ({ lane, shard, position }: LanePosition, through = ''): string =>
  `dl_${base32(hash('sha256', `${lane}\n${shard}\n${position}\n${through}`, 'buffer'), 26)}`;

function emptyLetter(at: LanePosition, timeMs: number, diedMs: number, through?: Position): DeadLetter {
  const id = deadLetterId(at, through);
  return { ...at, id, cause: '', detail: '', attempts: 0, eventId: '', topic: '', timeMs, diedMs };
}

/** Of many events at once. */
export function rangeLetter(
  of: Pick<LanePosition, 'lane' | 'shard'>,
  { cause, after, through, timeMs, throughTimeMs, count }: LostRange,
  diedMs: number,
): DeadLetter {
  const range = { through, throughTimeMs, ...(count === undefined ? {} : { count }) };
  return { ...emptyLetter({ ...of, position: after }, timeMs, diedMs, through), cause, detail: LOST[cause], range };
}

export function createRows({ lane, shard, counts, now, onCount }: Needs): Rows {
  let parked = 0;
  let parkedBytes = 0;
  let held = 0;

  const place = (position: Position): LanePosition => ({ lane, shard, position });

  function countParked(rows: number, bytes: number): void {
    parked += rows;
    parkedBytes += bytes;
    counts.parked += rows;
    counts.parkedBytes += bytes;
    onCount();
  }

  function countHeld(rows: number): void {
    held += rows;
    counts.held += rows;
    onCount();
  }

  function count(delivery: Delivery, row: Delivery['row']): void {
    if (delivery.row === 'parked') countParked(-1, -delivery.size);
    if (delivery.row === 'held') countHeld(-1);
    if (row === 'parked') countParked(1, delivery.size);
    if (row === 'held') countHeld(1);
    delivery.row = row;
  }

  return {
    get parked() {
      return parked;
    },
    get held() {
      return held;
    },
    recover(had) {
      // Added: a redrive may have come while the ledger was asked.
      parked += had.parked;
      parkedBytes += had.parkedBytes;
      held += had.held;
    },
    count,
    countHeld,
    countParked,
    remove(delivery) {
      if (delivery.row === 'none') return {};
      count(delivery, 'none');
      return { unpark: place(delivery.position) };
    },
    place,
    attempt({ position, attempts, record }, { startedMs, durationMs, cause, status, snippet }, outcome) {
      const { id, type } = (record as LogRecord).event;
      const n = attempts + 1;
      return { lane, shard, position, n, startedMs, durationMs, outcome, cause, status, snippet, eventId: id, topic: type };
    },
    row(delivery, state, dueMs) {
      const { position, attempts, attemptsBefore, key, cause, size, timeMs, kept } = delivery;
      const idHash = (delivery.idHash ??= idHashOf(delivery.record as LogRecord));
      const row = { ...place(position), state, dueMs, attempts, attemptsBefore, cause, size, timeMs, idHash };
      return { ...row, ...(key === undefined ? {} : { key }), ...(kept === undefined ? {} : { kept }) };
    },
    letter(delivery, { cause, snippet }, holdsKey) {
      const { id, type } = (delivery.record as LogRecord).event;
      return {
        ...emptyLetter(place(delivery.position), delivery.timeMs, now()),
        cause,
        detail: snippet,
        attempts: delivery.attempts + 1,
        eventId: id,
        topic: type,
        kept: keptOf(delivery),
        ...(holdsKey === undefined ? {} : { holdsKey }),
      };
    },
    lostLetter({ position, timeMs, attempts }, cause) {
      const detail = 'the event of this delivery is no longer in the log';
      return { ...emptyLetter(place(position), timeMs, now()), cause, detail, attempts };
    },
    leave() {
      counts.parked -= parked;
      counts.parkedBytes -= parkedBytes;
      counts.held -= held;
    },
  };
}

/** The event itself, for a row that may outlive it. */
export function keptOf({ kept, record }: Delivery): KeptEvent {
  if (kept !== undefined) return kept;
  const { environment, app, event } = record as LogRecord;
  return { environment, app, bytes: encodeEvent(event) };
}
