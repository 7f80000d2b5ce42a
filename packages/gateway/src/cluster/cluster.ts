/** A gateway as a node of a cluster: its ledger fenced, its slots given and taken by its lease, and nothing sent beyond that. */
import type { Slots } from '../api.ts';
import type { Clock } from '../ports/clock.ts';
import type { Ledger } from '../ports/ledger.ts';
import type { Fence, Leases } from '../ports/leases.ts';
import type { Sender, SendResult } from '../ports/sender.ts';
import { createFencedLedger } from './fenced-ledger.ts';
import { createNode, type Node, type NodeNotice } from './node.ts';

export interface ClusterNode extends Node {
  /** What the gateway of this node writes to. */
  readonly ledger: Ledger;
  /** The same, but it begins no request once the lease is over. */
  guard(sender: Sender): Sender;
}

interface Needs {
  readonly node: string;
  readonly ledger: Ledger;
  readonly leases: Leases;
  /** Of the gateway that is made over `ledger`. */
  readonly slots: () => Slots;
  readonly clock: Clock;
  readonly leaseMs: number;
  readonly onNotice: (notice: NodeNotice) => void;
}

export function createClusterNode({ ledger, slots, ...needs }: Needs): ClusterNode {
  const held = new Map<number, Fence>();
  const fenced = createFencedLedger({ ledger, leases: needs.leases, held, renew: () => node.renew() });
  const node = createNode({
    ...needs,
    held,
    onTaken: fenced.forget,
    onBegun: fenced.begin,
    slots: {
      owns: (uid) => slots().owns(uid),
      take: (taken, onBegun) => slots().take(taken, onBegun),
      leave: (left) => slots().leave(left),
      lose: (lost) => slots().lose(lost),
      started: (slot) => slots().started(slot),
    },
  });
  return Object.assign(node, {
    ledger: fenced,
    guard: (sender: Sender): Sender => ({
      close: () => sender.close(),
      send: (request) => (node.hasLease() ? sender.send(request) : unsent(node)),
    }),
  });
}

/**
 * A process that was stopped for a while goes on with what had come for it, answers for instance, before its timers say that the
 * lease is over. In a turn of its own, as whoever sends is in the middle of a lane, and the lanes end here; first, as a lane that
 * has not ended would try again at once.
 */
async function unsent(node: Pick<Node, 'expire'>): Promise<SendResult> {
  await Promise.resolve();
  node.expire();
  return { error: 'aborted', detail: 'the lease of this node is over', durationMs: 0 };
}
