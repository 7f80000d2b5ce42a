/** How much there is, and how far it is done. */
import type { Log } from '../ports/log.ts';
import { shownAddress } from './files.ts';
import type { FormerStore, Migrated, Needs, Progress } from './options.ts';
import { type Item, itemsOf, type Kept } from './sequence.ts';

/** Reads all of it, and writes nothing. */
export async function look(
  needs: Needs,
  { log, ledger }: FormerStore,
  { shard, kept, subscriptions }: { readonly shard: string; readonly kept: readonly Kept[]; readonly subscriptions: number },
): Promise<Migrated> {
  const count = await counting(needs, 'look', log, shard);
  let events = 0;
  let bytes = 0;
  for await (const items of itemsOf({ log, shard, kept })) {
    for (const item of items) {
      events++;
      bytes += item.entry.bytes.length;
      count(item);
    }
  }
  const open = await ledger.openLanes();
  const dead = await ledger.deadLetterCounts();
  return {
    state: 'planned',
    log: shownAddress(needs.log),
    ...(needs.store === undefined ? {} : { store: shownAddress(needs.store) }),
    events,
    bytes,
    subscriptions,
    kept: kept.length,
    parked: open.reduce((sum, { parked }) => sum + parked, 0),
    held: open.reduce((sum, { held }) => sum + held, 0),
    deadLetters: dead.reduce((sum, one) => sum + one.count, 0),
  };
}

/** How many there are no log says: how far it is, is told by when events were appended. */
export async function counting(
  { signal, onProgress = () => undefined }: Needs,
  phase: Progress['phase'],
  log: Log,
  shard: string,
): Promise<(item: Item) => void> {
  const { first, last } = await log.bounds(shard);
  const spanMs = first === undefined || last === undefined ? 0 : last.timeMs - first.timeMs;
  let done = 0;
  let part = 0;
  return ({ timeMs }) => {
    signal?.throwIfAborted();
    if (timeMs !== undefined && first !== undefined && spanMs > 0) part = Math.max(part, (timeMs - first.timeMs) / spanMs);
    onProgress({ phase, done: ++done, part: Math.min(1, part) });
  };
}
