/** A gateway as a node of a cluster: its ledger fenced, its slots given and taken by its lease. */
import type { Slots } from '../api.ts';
import type { Clock } from '../ports/clock.ts';
import type { Ledger } from '../ports/ledger.ts';
import type { Fence, Leases } from '../ports/leases.ts';
import { createFencedLedger } from './fenced-ledger.ts';
import { createNode, type Node, type NodeNotice } from './node.ts';

export interface ClusterNode extends Node {
  /** What the gateway of this node writes to. */
  readonly ledger: Ledger;
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
    slots: {
      owns: (uid) => slots().owns(uid),
      take: (taken) => slots().take(taken),
      leave: (left) => slots().leave(left),
      lose: (lost) => slots().lose(lost),
      started: (slot) => slots().started(slot),
    },
  });
  return Object.assign(node, { ledger: fenced });
}
