/**
 * The Ledger: what happened. Cursors, parked deliveries, dead letters, attempts. Passes storeConformance().
 *
 * Everything is keyed by lane, shard and position. `lane` is the name of a lane: the subscription's uid, a dot, and the
 * pass or run it belongs to; drivers only compare it and take the uid (what is before the first dot) from it.
 */
import type { Finding } from './finding.ts';
import type { Position } from './log.ts';

export interface Ledger {
  /**
   * Applies all or nothing, durable when resolved. Applying the same commit again gives the same ledger, so a caller
   * that does not know whether it succeeded repeats it. Order inside: drops, removals, then the rest.
   * Rejects with `ledger_full` or `ledger_unavailable`. The caller bounds a commit to 8,192 rows and 32 MB.
   */
  commit(commit: Commit): Promise<void>;

  /** All lane rows, in no order. A lane that is caught up with nothing open on a shard has none there. */
  lanes(): Promise<readonly LaneRow[]>;
  slots(): Promise<readonly SlotRow[]>;
  /** Positions after `after` that need not be read again: settled by an attempt (delivered or dead), parked, held, or a dead letter. In order, without duplicates. */
  handledAfter(lane: string, shard: string, after: Position): Promise<readonly Position[]>;
  /** Every lane and shard with parked or held rows, with their counts and the earliest due time: read once at start. */
  openLanes(): Promise<readonly OpenLane[]>;
  /** Rows in state `parked` due at or before `dueMs`, earliest first, at most `limit`; and the earliest due time of what is left after these. */
  due(
    lane: string,
    shard: string,
    dueMs: number,
    limit: number,
  ): Promise<{ readonly rows: readonly ParkedRow[]; readonly nextDueMs?: number }>;
  /** All rows that block or wait for a key: `parked` and `held` rows with a key, and dead letters that hold theirs. By position. */
  keyed(lane: string, shard: string): Promise<readonly KeyedRow[]>;
  parked(lane: string, shard: string, position: Position): Promise<ParkedRow | undefined>;

  /** Newest attempt first, of one subscription (all its lanes), from before `before`, at most `limit`. */
  attempts(query: {
    readonly subscription: string;
    readonly before?: AttemptKey;
    readonly limit: number;
  }): Promise<readonly AttemptRow[]>;
  /** Attempts of one delivery, first one first. */
  attemptsOf(lane: string, shard: string, position: Position): Promise<readonly AttemptRow[]>;
  /** Of one subscription (uid), by id after `after`, at most `limit`. */
  deadLetters(query: {
    readonly subscription: string;
    readonly after?: string;
    readonly limit: number;
  }): Promise<readonly DeadLetter[]>;
  deadLetter(id: string): Promise<DeadLetter | undefined>;
  /** Dead letters by subscription (uid), where there are any: read once at start. */
  deadLetterCounts(): Promise<readonly { readonly subscription: string; readonly count: number }[]>;
  /** Drops attempts that started before `beforeMs` (whole partitions where the driver has them: some may stay a little longer). */
  pruneAttempts(beforeMs: number): Promise<void>;
  /** What an operator should know of the store, the directory included. Absent where it has nothing to say. Rejects with `ledger_unavailable`. */
  findings?(): Promise<readonly Finding[]>;
}

/** The last event passed: where it stood, and enough to see later whether that event is still there. */
export interface Cursor {
  /** `identity` of the log it was read from. */
  readonly log: string;
  readonly position: Position;
  /** Append time of that event; of a cursor before any event, the time it was made. */
  readonly timeMs: number;
  /** Short digest of that event's publisher, source and id; empty for a cursor before any event. */
  readonly idHash: string;
}

export interface LaneRow {
  readonly lane: string;
  /** Empty in the row that says that the ledger knows the lane at all. */
  readonly shard: string;
  readonly cursor: Cursor;
}

/** Stands for all lanes of a slot that are caught up and have nothing open. */
export interface SlotRow {
  readonly slot: number;
  readonly shard: string;
  readonly cursor: Cursor;
}

export interface LanePosition {
  readonly lane: string;
  readonly shard: string;
  readonly position: Position;
}

/** Deliveries by what they wait for. `parked`: its next attempt, at dueMs. `held`: the head of its key. */
export interface ParkedRow extends LanePosition {
  readonly state: 'parked' | 'held';
  /** Wall time; 0 for `held`. */
  readonly dueMs: number;
  /** Attempts made so far. */
  readonly attempts: number;
  /** Of these, how many were made before its present schedule began: 0 unless it was redriven. */
  readonly attemptsBefore: number;
  /** Present where the event is ordered: its key. A redriven delivery has none, it is an order of its own. */
  readonly key?: string;
  /** Cause code of the last attempt, empty before the first. */
  readonly cause: string;
  readonly size: number;
  /** Append time and digest of the event as in Cursor, to see later whether the position still means it. */
  readonly timeMs: number;
  readonly idHash: string;
  /** The event itself (`encodeEvent`) with whose it is, where retention could take it before it is needed. */
  readonly kept?: KeptEvent;
}

export interface KeptEvent {
  readonly environment: string;
  readonly app: string;
  readonly bytes: Uint8Array;
}

export interface AttemptRow extends LanePosition {
  /**
   * 1 for the first attempt of this delivery; goes on counting after a redrive. A second row of the same number, that began
   * later, is what its receiver reported of it after it had acknowledged.
   */
  readonly n: number;
  readonly startedMs: number;
  readonly durationMs: number;
  readonly outcome: 'delivered' | 'retry' | 'dead';
  /** Stable cause code, empty when delivered. */
  readonly cause: string;
  /** HTTP status, 0 without an answer. */
  readonly status: number;
  readonly snippet: string;
  readonly eventId: string;
  readonly topic: string;
}
export type AttemptKey = LanePosition & { readonly n: number; readonly startedMs: number };

export interface DeadLetter extends LanePosition {
  /** `dl_` and a digest of lane, shard, position and the range's end: the same delivery can't be dead twice. */
  readonly id: string;
  /** Why, as a stable code: an attempt's cause, `exhausted`'s last one, `expired`, `log_changed`, … */
  readonly cause: string;
  readonly detail: string;
  readonly attempts: number;
  /** Of the event; empty for a range. */
  readonly eventId: string;
  readonly topic: string;
  readonly timeMs: number;
  readonly diedMs: number;
  /** Present where the subscription holds the key of a dead letter. */
  readonly holdsKey?: string;
  /** A dead letter for one event carries it, except where retention (or a changed log) took it before. */
  readonly kept?: KeptEvent;
  /** A dead letter for a range: everything after `position` up to here; `count` where known. */
  readonly range?: { readonly through: Position; readonly throughTimeMs: number; readonly count?: number };
}

export interface KeyedRow {
  readonly position: Position;
  readonly key: string;
  readonly state: 'parked' | 'held' | 'dead';
}

export interface OpenLane {
  readonly lane: string;
  readonly shard: string;
  readonly parked: number;
  readonly parkedBytes: number;
  readonly held: number;
  /** Earliest due time of a row in state `parked`. */
  readonly nextDueMs?: number;
}

/** All members optional; see Ledger.commit. */
export interface Commit {
  readonly attempts?: readonly AttemptRow[];
  /** Insert or replace. */
  readonly park?: readonly ParkedRow[];
  /** Parked or held rows to remove. */
  readonly unpark?: readonly LanePosition[];
  /** Insert or replace. */
  readonly bury?: readonly DeadLetter[];
  /** Dead letters to remove, by id. */
  readonly unbury?: readonly string[];
  /** Insert or replace. */
  readonly lanes?: readonly LaneRow[];
  /** Lane rows to remove: caught up with nothing open. */
  readonly idle?: readonly { readonly lane: string; readonly shard: string }[];
  readonly slots?: readonly SlotRow[];
  /** Lanes to forget: their rows and parked deliveries (attempts and dead letters stay). */
  readonly dropLanes?: readonly string[];
  /** Subscriptions (uid) to forget: all their lanes, attempts, dead letters. */
  readonly dropSubscriptions?: readonly string[];
}
