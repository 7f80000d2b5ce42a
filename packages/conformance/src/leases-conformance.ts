/**
 * The suite for Leases: every sentence of ports/leases.ts as behaviour. The test file of a driver that has them is one call:
 *
 *   leasesConformance({ name: 'leases of the embedded store', open: async () => { … } });
 *
 * No lease ends by time: `expire` says when.
 */
import { runSuite } from './behaviours.ts';
import { fencing, holding, type LeasesWorld } from './store/leases.ts';

export type { LeasesWorld } from './store/leases.ts';

export interface LeasesConformance {
  /** What is tested, as a person would say it. */
  readonly name: string;
  /** A ledger and nodes of a cluster that nobody has joined, others at each call. */
  readonly open: () => Promise<LeasesWorld>;
}

/** Registers the tests with node:test. */
export function leasesConformance({ name, open }: LeasesConformance): void {
  runSuite({ name, areas: { 'leases: who has what': holding, 'leases: commits': fencing }, skip: {}, open });
}
