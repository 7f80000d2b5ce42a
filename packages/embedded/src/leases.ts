/** The Leases port over the store thread: for the threads of one process, which live and die with what they own. */
import { randomBytes } from 'node:crypto';
import type { Leases } from '@millrace/gateway/ports/leases';
import { packCommit } from './ledger.ts';
import type { StoreThread } from './thread.ts';

export interface LeasesOptions {
  readonly node: string;
  readonly address: string;
  readonly leaseMs: number;
  /** Never set back or forth, and the same in all threads. Default: the machine's own since it was started. */
  readonly monotonic?: (() => number) | undefined;
}

export function createLeases(
  { ask }: Pick<StoreThread, 'ask'>,
  { node, address, leaseMs, monotonic = machineMs }: LeasesOptions,
): Leases {
  const member = { node, token: randomBytes(16).toString('hex') };
  return {
    renew: (load) => ask('leaseRenew', { member, address, load, leaseMs, atMs: monotonic() }),
    take: (slots) => ask('leaseTake', { member, slots, atMs: monotonic() }),
    async release(slots) {
      await ask('leaseRelease', { member, slots });
    },
    async leave() {
      await ask('leaseLeave', member);
    },
    nodes: () => ask('leaseNodes', { atMs: monotonic() }),
    slots: () => ask('leaseSlots', { atMs: monotonic() }),
    async commit(commit, fences) {
      await ask('leaseCommit', { commit: packCommit(commit), fences });
    },
    // The port is the store's.
    close: () => Promise.resolve(),
  };
}

/** Not performance.now(): each thread counts that from its own start. */
function machineMs(): number {
  return Number(process.hrtime.bigint() / 1_000n) / 1_000;
}
