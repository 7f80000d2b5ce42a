/** The leases as one life of a node sees them. Whatever changes something may have done so although the node is told that it failed. */
import type { Commit } from '@millrace/gateway/ports/ledger';
import type { Fence, Leases } from '@millrace/gateway/ports/leases';
import type { Wire } from '../wire.ts';

export interface LeasesOptions {
  readonly wire: Wire;
  /** As the store has them. */
  readonly leases: Leases;
  /** This node has these by now, whether or not it hears of it. */
  readonly onOwned: (fences: readonly Fence[]) => void;
  readonly onCommitted: (commit: Commit) => void;
  /** A commit was refused, as it is about slots that are another's by now. */
  readonly onRefused: () => void;
}

export function createSimulatedLeases({ wire, leases, onOwned, onCommitted, onRefused }: LeasesOptions): Leases {
  const unknown = { mayFail: 'unknown' } as const;
  return {
    renew: (load) => wire.write('renew', () => leases.renew(load), unknown),
    take(slots) {
      const apply = async (): Promise<readonly Fence[]> => {
        const fences = await leases.take(slots);
        onOwned(fences);
        return fences;
      };
      return wire.write(`take ${slots.length}`, apply, unknown);
    },
    release: (slots) => wire.write(`release ${slots.length}`, () => leases.release(slots), unknown),
    leave: () => wire.write('leave', () => leases.leave(), unknown),
    nodes: () => wire.read('nodes', () => leases.nodes()),
    slots: () => wire.read('owners', () => leases.slots()),
    commit(commit, fences) {
      const apply = async (): Promise<void> => {
        try {
          await leases.commit(commit, fences);
        } catch (error) {
          onRefused();
          throw error;
        }
        onCommitted(commit);
      };
      return wire.write('commit', apply, unknown);
    },
    close: async () => undefined,
  };
}
