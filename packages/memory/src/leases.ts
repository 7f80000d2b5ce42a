/** Leases in memory: nodes within one process, such as the workers of one machine, and the cluster of a test. */
import { Problem } from '@millrace/core/problem';
import type { Ledger } from '@millrace/gateway/ports/ledger';
import type { Fence, Leases } from '@millrace/gateway/ports/leases';

export interface MemoryCluster {
  /** A process of that name. A name whose lease still runs belongs to its process. */
  join(node: string, address: string): Leases;
}

interface Needs {
  /** What commits of all nodes go to. */
  readonly ledger: Ledger;
  /** Of the leases, ms. */
  readonly now: () => number;
  readonly leaseMs: number;
}

interface Member {
  readonly address: string;
  readonly process: object;
  load: number;
  endMs: number;
}

interface Owned extends Fence {
  readonly owner: string | undefined;
}

export function createMemoryCluster({ ledger, now, leaseMs }: Needs): MemoryCluster {
  const members = new Map<string, Member>();
  const slots = new Map<number, Owned>();
  let tokens = 0;

  const isCovered = ({ owner = '' }: Owned): boolean => (members.get(owner)?.endMs ?? 0) > now();
  const fenceOf = ({ slot, epoch, token }: Owned): Fence => ({ slot, epoch, token });

  return {
    join(node, address) {
      const process = {};
      const isMine = (one: Owned | undefined): one is Owned => one?.owner === node && members.get(node)?.process === process;
      const free = (slot: number): void => {
        const one = slots.get(slot);
        if (isMine(one)) slots.set(slot, { ...one, owner: undefined });
      };

      return {
        async renew(load) {
          const present = members.get(node);
          if (present !== undefined && present.process !== process && present.endMs > now())
            throw new Problem('conflict', `Another process is the node ${node}, and its lease runs`);
          if (present !== undefined && present.process !== process)
            for (const one of slots.values()) if (one.owner === node) slots.set(one.slot, { ...one, owner: undefined });
          members.set(node, { address, process, load, endMs: now() + leaseMs });
          return [...slots.values()].filter(isMine).map(fenceOf);
        },
        async take(wanted) {
          const hasLease = (members.get(node)?.process === process && members.get(node)?.endMs) || 0;
          if (hasLease <= now()) return [];
          for (const slot of wanted) {
            const one = slots.get(slot);
            if (one !== undefined && isCovered(one)) continue;
            slots.set(slot, { slot, owner: node, epoch: (one?.epoch ?? 0) + 1, token: `t${++tokens}` });
          }
          return wanted.flatMap((slot) => {
            const one = slots.get(slot);
            return isMine(one) ? [fenceOf(one)] : [];
          });
        },
        async release(released) {
          for (const slot of released) free(slot);
        },
        async leave() {
          for (const slot of slots.keys()) free(slot);
          if (members.get(node)?.process === process) members.delete(node);
        },
        nodes: async () =>
          [...members].map(([name, member]) => ({
            node: name,
            address: member.address,
            load: member.load,
            leftMs: member.endMs - now(),
          })),
        slots: async () =>
          [...slots.values()].map((one) => ({
            slot: one.slot,
            epoch: one.epoch,
            ...(one.owner === undefined ? {} : { owner: one.owner }),
            covered: isCovered(one),
          })),
        async commit(commit, fences) {
          const stale = fences.find(({ slot, token }) => slots.get(slot)?.token !== token);
          if (stale !== undefined) throw new Problem('stale_epoch', `the slot ${stale.slot} is at another epoch by now`);
          await ledger.commit(commit);
        },
        close: async () => undefined,
      };
    },
  };
}
