/**
 * Claims: which idempotency keys are used, for logs that do not remember them as long as is promised. Kept beside the ledger,
 * by the same stores; passes storeConformance(). A log that settles keys in its own transaction needs none.
 *
 * A key is claimed before its event is appended, and settled when the log has answered. A claim that is open was made by
 * somebody who is at it, or who has died: it says from where on the log tells which. Time is the driver's: of one clock for all.
 */
import type { Position } from './log.ts';

export interface Claims {
  /**
   * One answer per claim, in order, durable when resolved. The caller bounds a call to 4,096 claims of different ids. A claim
   * that is made again with its token is still claimed. Rejects with `ledger_full` or `ledger_unavailable`: then the claims
   * may stand or not.
   */
  claim(claims: readonly Claim[]): Promise<readonly Claimed[]>;
  /**
   * What became of claims; of those whose token is another by now, nothing is changed. The caller bounds a call to 4,096. It need
   * not survive a power loss: the log says the same.
   */
  settle(outcomes: readonly Outcome[]): Promise<void>;
  /** Gives back the room of claims whose window is over, a bounded number of them at a time. Called about once a minute. */
  prune(): Promise<void>;
}

export interface Claim {
  /** Stands for environment, app and key, as LogRecord.keyed has it: at most 64 characters of printable ASCII. */
  readonly id: string;
  /** Of what is published: the same key with another digest is a conflict. */
  readonly digest: string;
  /** From now on; then the key is free. */
  readonly windowMs: number;
  /** Names this very claim among all: at most 64 characters of printable ASCII. */
  readonly token: string;
  readonly place: ClaimPlace;
  /**
   * Takes an open claim over, if it still has this token: of several who try, one succeeds. `ageMs`: how long ago the first event
   * under this key may have been appended after the ends of `place`.
   */
  readonly over?: { readonly token: string; readonly ageMs: number };
}

/** Where the event is, if it was appended: behind these ends. */
export interface ClaimPlace {
  /** `identity` of the log. */
  readonly log: string;
  /** Of these, in the environment of the key. */
  readonly topics: readonly string[];
  /** Of each shard there was, a position not after its end before the append. */
  readonly ends: Readonly<Record<string, Position>>;
}

export type Claimed =
  | { readonly status: 'claimed' }
  /** The key was used before: what for, and what came of it. */
  | { readonly status: 'settled'; readonly digest: string; readonly use: Use }
  /** It is somebody's, and nothing more is known. */
  | {
      readonly status: 'open';
      readonly digest: string;
      readonly token: string;
      readonly place: ClaimPlace;
      /** Since the first claim under this place. */
      readonly ageMs: number;
      /** Since it was claimed, or taken over, by its present owner. */
      readonly heldMs: number;
    };

/** The first append under a key. */
export interface Use {
  readonly shard: string;
  readonly position: Position;
  readonly timeMs: number;
  /** Of the event. */
  readonly eventId: string;
}

export interface Outcome {
  readonly id: string;
  readonly token: string;
  /** Absent where it is known that nothing was appended: the key is free again. */
  readonly use?: Use;
}
