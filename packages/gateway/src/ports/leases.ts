/**
 * Leases: which node of a cluster works which slots. A node has one lease for all it owns and renews it; a slot is taken where
 * nobody's lease covers it, and gets another epoch then. Every commit to the ledger names the epochs of the slots it is about
 * and is refused where one is another by now: whatever a node that was frozen still believes, it can't write it down.
 *
 * Time is the driver's: of one clock for all nodes. A node counts its own lease from before it asked, on its monotonic clock.
 */
import type { Commit } from './ledger.ts';

/** A slot as its owner has it. Numbers may repeat after a failover to a standby that lagged; the token does not. */
export interface Fence {
  readonly slot: number;
  readonly epoch: number;
  readonly token: string;
}

export interface NodeRow {
  readonly node: string;
  /** Where other nodes reach it, e.g. `http://10.0.0.7:4400`. */
  readonly address: string;
  /** As it said when it renewed: how much it has to do. */
  readonly load: number;
  /** Of its lease, by the driver's clock; not above 0 when it is over. */
  readonly leftMs: number;
}

export interface SlotOwner {
  readonly slot: number;
  readonly epoch: number;
  /** Also where its lease is over; absent where it was released, or never owned. */
  readonly owner?: string;
  /** Whether the owner's lease runs: else anybody may take it. */
  readonly covered: boolean;
}

export interface Leases {
  /**
   * From now on for another lease. Resolves with the slots that are still this node's: a lease that ended and that nobody made
   * use of goes on as if it had not. Rejects with `conflict` where another process has the node's name and its lease runs.
   */
  renew(load: number): Promise<readonly Fence[]>;
  /** Takes those that no lease covers. Resolves with those of `slots` that are this node's now; without a lease, none. */
  take(slots: readonly number[]): Promise<readonly Fence[]>;
  /** Gives back. Those that are not this node's (any more) are left as they are. */
  release(slots: readonly number[]): Promise<void>;
  /** Gives all back and takes the node out: others need not wait for the end of its lease. */
  leave(): Promise<void>;
  nodes(): Promise<readonly NodeRow[]>;
  /** Slots that were ever owned. */
  slots(): Promise<readonly SlotOwner[]>;
  /** As Ledger.commit, in one transaction with the check. Rejects with `stale_epoch` where a slot is at another epoch: nothing is changed then. */
  commit(commit: Commit, fences: readonly Fence[]): Promise<void>;
  /** Does not leave: what ends without a word looks the same. Closing twice is safe. */
  close(): Promise<void>;
}
