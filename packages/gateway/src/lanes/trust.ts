/**
 * Whether a stored cursor still means the event it was written for. Positions repeat: a log is recreated, loses its tail in
 * a crash, comes back from a backup. The event's time and digest tell.
 */
import type { Cursor, LaneRow, SlotRow } from '../ports/ledger.ts';
import type { Log } from '../ports/log.ts';
import { idHashOf } from './cursor.ts';
import { NO_SHARD } from './passes.ts';

/**
 * The slot number under which every commit notes how far the shards were read. Nothing in the ledger is of a later
 * place, so when this one can be trusted all others can; when it can't, the log lost its tail or is another one, and
 * positions may mean other events than those that were worked there.
 */
export const HIGH_WATER = 128;
/** In a cluster, where nodes read at their own pace, it is noted for each slot by itself. */
export const highWaterOf = (slot: number): number => HIGH_WATER + 1 + slot;

export async function cursorOfTime(log: Log, shard: string, timeMs: number): Promise<Cursor> {
  return { log: log.identity, position: await log.positionAt(shard, timeMs), timeMs, idHash: '' };
}

interface Seen {
  readonly log: Log;
  /** Those to be looked at. */
  readonly shards: readonly string[];
  readonly rows: readonly LaneRow[];
  readonly slots: readonly SlotRow[];
}

/** Shards that are not what the ledger has seen of them. */
export async function changedShards({ log, rows, slots, ...of }: Seen): Promise<Set<string>> {
  const changed = new Set<string>();
  const asked = new Set<string>();
  const shards = new Set(of.shards);
  for (const { slot, shard, cursor } of slots)
    if (slot === HIGH_WATER && shards.has(shard) && !(await isStillThere(log, shard, cursor))) changed.add(shard);
  // Lane rows too: a new subscription begins at the end of the log, which the tail may not have read yet.
  for (const { shard, cursor } of rows) {
    const question = `${shard}\n${cursor.log}\n${cursor.position}\n${cursor.idHash}`;
    if (shard === NO_SHARD || !shards.has(shard) || changed.has(shard) || asked.has(question)) continue;
    asked.add(question);
    if (!(await isTrusted(log, shard, cursor))) changed.add(shard);
  }
  return changed;
}

/** Of a high water that knows no event (retention took it) the time is exact: nothing up to there may be of later. */
async function isStillThere(log: Log, shard: string, cursor: Cursor): Promise<boolean> {
  if (!(await isTrusted(log, shard, cursor))) return false;
  return cursor.idHash !== '' || (await log.positionAt(shard, cursor.timeMs + 1)) >= cursor.position;
}

/** In a shard that changed, a cursor that does not know its event may mean any. */
export async function isSame(log: Log, shard: string, cursor: Cursor, changed: ReadonlySet<string>): Promise<boolean> {
  const isBlind = changed.has(shard) && cursor.idHash === '' && cursor.position !== '';
  return !isBlind && isTrusted(log, shard, cursor);
}

/** True where the log still holds what the cursor saw, or only retention took it. */
async function isTrusted(log: Log, shard: string, cursor: Cursor): Promise<boolean> {
  if (cursor.log !== log.identity) return false;
  const { end } = await log.bounds(shard);
  if (cursor.position > end) return false;
  if (cursor.idHash === '') return true;
  const record = await log.fetch(shard, cursor.position);
  if (record !== undefined) return record.timeMs === cursor.timeMs && idHashOf(record) === cursor.idHash;
  // Gone by retention, it is among those of its time; if a later event stood there, they end before it.
  return (await log.positionAt(shard, cursor.timeMs + 1)) >= cursor.position;
}
