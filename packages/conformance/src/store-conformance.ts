/**
 * The suite for drivers of Directory, Ledger and Claims: every sentence of these three ports as behaviour.
 * A driver's test file is one call:
 *
 *   storeConformance({ name: 'the embedded stores', open: async () => { … } });
 */
import { runSuite } from './behaviours.ts';
import { claiming, claimsHeld, claimWindows, takingOver } from './store/claims.ts';
import { commits } from './store/commit.ts';
import { due, keyed, parking } from './store/deliveries.ts';
import { lists, values, versions } from './store/directory.ts';
import { attempts, deadLetters } from './store/history.ts';
import { cursors, forgetting, handled, openLanes } from './store/lanes.ts';
import { watching } from './store/watch.ts';
import type { OpenStores } from './store/world.ts';

export type { OpenedStores, OpenStores, Stores } from './store/world.ts';

export interface StoreConformance {
  /** What is tested, as a person would say it. */
  readonly name: string;
  /** Opens an empty directory and ledger, others at each call. */
  readonly open: OpenStores;
  /** Behaviour title → why this driver can't show it. Shown as skipped; a title that does not exist is an error. */
  readonly skip?: Readonly<Record<string, string>>;
}

/** Area → its behaviours. The table in README.md is made of it. */
export const STORE_AREAS = {
  'directory: versions': versions,
  'directory: values and ids': values,
  'directory: lists': lists,
  'directory: watching': watching,
  'ledger: commits': commits,
  'ledger: cursors': cursors,
  'ledger: what is handled': handled,
  'ledger: what is open': openLanes,
  'ledger: forgetting': forgetting,
  'ledger: parked deliveries': parking,
  'ledger: what is due': due,
  'ledger: keys': keyed,
  'ledger: attempts': attempts,
  'ledger: dead letters': deadLetters,
  'claims: one owner for each key': claiming,
  'claims: taking over': takingOver,
  'claims: windows': claimWindows,
  'claims: many at once, and kept': claimsHeld,
};

/** Registers the tests with node:test. */
export function storeConformance({ name, open, skip = {} }: StoreConformance): void {
  runSuite({ name, areas: STORE_AREAS, skip, open });
}
