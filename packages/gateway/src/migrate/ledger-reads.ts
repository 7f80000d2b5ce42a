/** All of a ledger, page by page: what stands open on a lane, the dead letters and attempts of a subscription. */
import { uidOf } from '../lanes/subscriber.ts';
import type { AttemptRow, DeadLetter, KeptEvent, Ledger, OpenLane, ParkedRow } from '../ports/ledger.ts';
import type { Kept } from './sequence.ts';

const PAGE_ROWS = 1_000;
/** Dead letters carry their events. */
const PAGE_LETTERS = 100;
/** Held rows are asked for one by one: so many at once. */
const ASKED_AT_ONCE = 100;

/** Parked and held rows of these subscriptions. Of a lane as many at once as its subscription's bounds allow. */
export async function* openRowsOf(
  ledger: Ledger,
  uids: ReadonlySet<string>,
): AsyncGenerator<{ readonly open: OpenLane; readonly rows: readonly ParkedRow[] }> {
  for (const open of await ledger.openLanes()) {
    const { lane, shard, parked, held } = open;
    if (!uids.has(uidOf(lane))) continue;
    if (parked > 0) yield { open, rows: (await ledger.due(lane, shard, Number.MAX_SAFE_INTEGER, parked)).rows };
    if (held === 0) continue;
    const positions = (await ledger.keyed(lane, shard)).filter(({ state }) => state === 'held').map(({ position }) => position);
    for (let at = 0; at < positions.length; at += ASKED_AT_ONCE) {
      const asked = positions.slice(at, at + ASKED_AT_ONCE).map((position) => ledger.parked(lane, shard, position));
      yield { open, rows: (await Promise.all(asked)).filter((row) => row !== undefined) };
    }
  }
}

export async function* deadLettersOf(ledger: Ledger, uids: ReadonlySet<string>): AsyncGenerator<readonly DeadLetter[]> {
  for (const { subscription } of await ledger.deadLetterCounts()) {
    if (!uids.has(subscription)) continue;
    for (let after = ''; ;) {
      const page = await ledger.deadLetters({ subscription, limit: PAGE_LETTERS, ...(after === '' ? {} : { after }) });
      if (page.length > 0) yield page;
      if (page.length < PAGE_LETTERS) break;
      after = page.at(-1)!.id;
    }
  }
}

export async function* attemptsOf(ledger: Ledger, subscription: string): AsyncGenerator<readonly AttemptRow[]> {
  for (let before: AttemptRow | undefined; ;) {
    const page = await ledger.attempts({ subscription, limit: PAGE_ROWS, ...(before === undefined ? {} : { before }) });
    if (page.length > 0) yield page;
    if (page.length < PAGE_ROWS) return;
    before = page.at(-1);
  }
}

/** Events that the ledger has kept of this shard, by position, each once. */
export async function keptOf(ledger: Ledger, uids: ReadonlySet<string>, of: string): Promise<readonly Kept[]> {
  const kept = new Map<string, Kept>();
  for await (const { rows } of openRowsOf(ledger, uids))
    for (const { lane, shard, position, kept: event } of rows)
      if (event !== undefined && shard === of)
        kept.set(position, { position, load: async () => keptIn(await ledger.parked(lane, shard, position)) });
  for await (const letters of deadLettersOf(ledger, uids))
    for (const { id, shard, position, kept: event, range } of letters)
      if (event !== undefined && range === undefined && shard === of && !kept.has(position))
        kept.set(position, { position, load: async () => keptIn(await ledger.deadLetter(id)) });
  return [...kept.values()].sort((a, b) => (a.position < b.position ? -1 : 1));
}

function keptIn(row: Pick<DeadLetter, 'kept'> | undefined): KeptEvent {
  if (row?.kept === undefined) throw new Error('the ledger was changed while it was moved');
  return row.kept;
}
