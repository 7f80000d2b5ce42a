/**
 * Passes: each time a live lane begins anew (created, rewound, the log is another one) it does so under a new name. What
 * the ledger has of one pass says nothing of another, and a slot's row, which stands for all caught-up lanes, speaks only
 * for passes the ledger knows of: one that a backup has never heard of begins where it was to begin.
 */
import type { Recorder } from '../flow/record.ts';
import type { Directory, Subscription, Versioned } from '../ports/directory.ts';
import type { Cursor, LaneRow } from '../ports/ledger.ts';
import { liveName } from './subscriber.ts';

/** The shard of the row that says that the ledger knows a pass. It stays as long as the pass is the present one. */
export const NO_SHARD = '';

const LIVE_NAME = /^([^.]+)\.p(\d+)$/;

/** The lane rows a new pass starts from, and last the one that says that the ledger knows it. All durable when resolved. */
export async function writePass(
  recorder: Recorder,
  value: Pick<Subscription, 'uid' | 'pass'>,
  cursors: Iterable<readonly [shard: string, cursor: Cursor]>,
): Promise<void> {
  addPass(recorder, value, cursors);
  await recorder.settled();
}

/** As writePass, without waiting: for a pass that the directory has already. */
export function addPass(
  recorder: Recorder,
  value: Pick<Subscription, 'uid' | 'pass'>,
  cursors: Iterable<readonly [shard: string, cursor: Cursor]>,
): void {
  const lane = liveName(value);
  for (const [shard, cursor] of cursors) recorder.add({ lane: { lane, shard, cursor } });
  recorder.add({ lane: { lane, shard: NO_SHARD, cursor: { log: '', position: '', timeMs: 0, idHash: '' } } });
}

/**
 * Stores a subscription's next pass, whose rows are durable. An answer that was lost is no failure: then it looks whether the
 * pass is stored, as its caller would otherwise stay on the old one while a restart takes the new one.
 */
export async function storePass(
  directory: Directory,
  { environment, id, version }: Versioned<Subscription>,
  value: Subscription,
): Promise<Versioned<Subscription>> {
  try {
    return await directory.put('subscription', environment, id, value, version);
  } catch (error) {
    const stored = await directory.get('subscription', environment, id);
    const isOurs =
      stored?.value.uid === value.uid && stored.value.pass === value.pass && stored.value.beginsMs === value.beginsMs;
    if (stored === undefined || !isOurs) throw error;
    return stored;
  }
}

/** The pass a lane row is of; undefined for a run's. */
export function passOf({ lane }: Pick<LaneRow, 'lane'>): { readonly uid: string; readonly pass: number } | undefined {
  const [, uid, pass] = LIVE_NAME.exec(lane) ?? [];
  return uid === undefined ? undefined : { uid, pass: Number(pass) };
}

/** Which passes the ledger knows, by subscription (uid), newest first. */
export function knownPasses(rows: readonly LaneRow[]): Map<string, number[]> {
  const known = new Map<string, number[]>();
  for (const row of rows) {
    const of = row.shard === NO_SHARD ? passOf(row) : undefined;
    if (of !== undefined) known.getOrInsertComputed(of.uid, () => []).push(of.pass);
  }
  for (const passes of known.values()) passes.sort((a, b) => b - a);
  return known;
}
