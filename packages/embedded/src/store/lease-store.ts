/**
 * Leases in the store thread, in its memory: who may use the directory is one process, and when it ends all its nodes have. What
 * is written under them stands in the same transactions as everything else, and is refused where a slot is another's by now.
 */
import { Problem } from '@millrace/core/problem';
import type { Fence } from '@millrace/gateway/ports/leases';
import type { LeaseCalls, LedgerCalls, Member } from '../messages.ts';

type Leasing = Omit<LeaseCalls, 'leaseRenew'>;

export type LeaseStore = { readonly [Name in keyof Leasing]: (value: Leasing[Name][0]) => Leasing[Name][1] } & {
  /** `client`: who asks. */
  leaseRenew(value: LeaseCalls['leaseRenew'][0], client: number): readonly Fence[];
  /** The thread that asked under this number has ended: nobody need wait for the end of its leases. */
  gone(client: number): void;
};

interface Lease {
  readonly token: string;
  readonly client: number;
  readonly address: string;
  readonly load: number;
  endMs: number;
}

interface Owned extends Fence {
  readonly owner: Member | undefined;
}

export function createLeaseStore({
  commit,
}: {
  readonly commit: (commit: LedgerCalls['commit'][0]) => LedgerCalls['commit'][1];
}): LeaseStore {
  const leases = new Map<string, Lease>();
  const slots = new Map<number, Owned>();

  const runs = ({ node, token }: Member, atMs: number): boolean => {
    const lease = leases.get(node);
    return lease?.token === token && lease.endMs > atMs;
  };
  const isCovered = ({ owner }: Owned, atMs: number): boolean => owner !== undefined && runs(owner, atMs);
  const isOf = (one: Owned | undefined, { token }: Member): one is Owned => one?.owner?.token === token;
  const fenceOf = ({ slot, epoch, token }: Owned): Fence => ({ slot, epoch, token });

  function release(member: Member, released: Iterable<number>): void {
    for (const slot of released) {
      const one = slots.get(slot);
      if (isOf(one, member)) slots.set(slot, { ...one, owner: undefined });
    }
  }

  return {
    leaseRenew({ member, address, load, leaseMs, atMs }, client) {
      const present = leases.get(member.node);
      if (present !== undefined && present.token !== member.token && present.endMs > atMs)
        throw new Problem('conflict', `Another process is the node ${member.node}, and its lease runs`);
      leases.set(member.node, { token: member.token, client, address, load, endMs: atMs + leaseMs });
      return [...slots.values()].filter((one) => isOf(one, member)).map(fenceOf);
    },
    leaseTake({ member, slots: wanted, atMs }) {
      if (!runs(member, atMs)) return [];
      for (const slot of wanted) {
        const one = slots.get(slot);
        if (one !== undefined && isCovered(one, atMs)) continue;
        slots.set(slot, { slot, owner: member, epoch: (one?.epoch ?? 0) + 1, token: crypto.randomUUID() });
      }
      return wanted.flatMap((slot) => {
        const one = slots.get(slot);
        return isOf(one, member) ? [fenceOf(one)] : [];
      });
    },
    leaseRelease({ member, slots: released }) {
      release(member, released);
      return null;
    },
    leaseLeave(member) {
      release(member, slots.keys());
      if (leases.get(member.node)?.token === member.token) leases.delete(member.node);
      return null;
    },
    leaseNodes: ({ atMs }) =>
      [...leases].map(([node, { address, load, endMs }]) => ({ node, address, load, leftMs: endMs - atMs })),
    leaseSlots: ({ atMs }) =>
      [...slots.values()].map((one) => ({
        slot: one.slot,
        epoch: one.epoch,
        ...(one.owner === undefined ? {} : { owner: one.owner.node }),
        covered: isCovered(one, atMs),
      })),
    leaseCommit({ commit: changes, fences }) {
      const stale = fences.find(({ slot, token }) => slots.get(slot)?.token !== token);
      if (stale !== undefined) throw new Problem('stale_epoch', `the slot ${stale.slot} is at another epoch by now`);
      return commit(changes);
    },
    gone(client) {
      // Its name is of no use to anybody else, so it goes as well: a process that is killed often must not fill the list.
      for (const [node, lease] of leases) {
        if (lease.client !== client) continue;
        release({ node, token: lease.token }, slots.keys());
        leases.delete(node);
      }
    },
  };
}
