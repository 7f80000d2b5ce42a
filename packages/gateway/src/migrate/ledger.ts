/** The ledger of the former log becomes that of the new one. The target holds nothing of these subscriptions yet, or of an earlier try. */
import { SLOTS, uidOf } from '../lanes/subscriber.ts';
import { HIGH_WATER, highWaterOf } from '../lanes/trust.ts';
import { Problem } from '@millrace/core/problem';
import type { Commit, Ledger, SlotRow } from '../ports/ledger.ts';
import { attemptsOf, deadLettersOf, openRowsOf } from './ledger-reads.ts';
import type { Translate } from './translate.ts';

export interface LedgerCounts {
  readonly parked: number;
  readonly held: number;
  readonly deadLetters: number;
  readonly attempts: number;
  /** Parked or held, and their event was gone: dead letters now. */
  readonly expired: number;
}

/** As the port bounds a commit, with room for what rows carry beside events. */
const COMMIT_ROWS = 4_096;
const COMMIT_BYTES = 16 * 1024 * 1024;
const ROW_BYTES = 512;
/** Each may cost a look into the new log. */
const ASKED_AT_ONCE = 100;

interface Needs {
  readonly from: Ledger;
  readonly to: Ledger;
  readonly translate: Translate;
  /** Subscriptions there are; what the ledger has of others is left behind. */
  readonly uids: ReadonlySet<string>;
  readonly onRows: (rows: number) => void;
}

export async function copyLedger({ from, to, translate, uids, onRows }: Needs): Promise<LedgerCounts> {
  const batch = createBatch(to, onRows);
  const counts = { parked: 0, held: 0, deadLetters: 0, attempts: 0, expired: 0 };
  // Of an earlier try: what was parked then may have been delivered since.
  const dropped = new Set([...(await to.lanes()), ...(await to.openLanes())].map(({ lane }) => uidOf(lane)));
  for (const { subscription } of await to.deadLetterCounts()) dropped.add(subscription);
  for (const uid of new Set([...dropped, ...uids])) await batch.add('dropSubscriptions', uid);
  await batch.flush();

  for (const row of await from.lanes()) {
    if (!uids.has(uidOf(row.lane))) continue;
    for (const moved of await translate.lane(row)) await batch.add('lanes', moved);
  }
  for (const row of await from.slots())
    for (const moved of await translate.slot(row)) for (const one of watersOf(moved)) await batch.add('slots', one);
  for await (const { rows } of openRowsOf(from, uids)) {
    for (let at = 0; at < rows.length; at += ASKED_AT_ONCE) {
      for (const moved of await Promise.all(rows.slice(at, at + ASKED_AT_ONCE).map(translate.parked))) {
        if ('park' in moved) {
          counts[moved.park.state]++;
          await batch.add('park', moved.park, moved.park.kept?.bytes.length);
        } else {
          counts.expired++;
          await batch.add('bury', moved.bury);
        }
      }
    }
  }
  for await (const letters of deadLettersOf(from, uids)) {
    counts.deadLetters += letters.length;
    for (const letter of letters) await batch.add('bury', translate.deadLetter(letter), letter.kept?.bytes.length);
  }
  for (const uid of uids) {
    for await (const rows of attemptsOf(from, uid)) {
      counts.attempts += rows.length;
      for (const row of rows) await batch.add('attempts', translate.attempt(row), row.snippet.length);
    }
  }
  await batch.flush();
  await verifyLedger(to, counts);
  return counts;
}

/** In a cluster it is noted for each slot how far the log was read: what one process noted for all is so for each. */
function watersOf(row: SlotRow): readonly SlotRow[] {
  if (row.slot !== HIGH_WATER) return [row];
  return [row, ...Array.from({ length: SLOTS }, (_, slot) => ({ ...row, slot: highWaterOf(slot) }))];
}

type RowsOf = { readonly [Name in keyof Commit]-?: NonNullable<Commit[Name]>[number] };

function createBatch(ledger: Ledger, onRows: (rows: number) => void) {
  let lists = new Map<keyof Commit, unknown[]>();
  let rows = 0;
  let bytes = 0;

  async function flush(): Promise<void> {
    if (rows === 0) return;
    await ledger.commit(Object.fromEntries(lists));
    onRows(rows);
    lists = new Map();
    rows = 0;
    bytes = 0;
  }

  return {
    flush,
    async add<Name extends keyof Commit>(name: Name, row: RowsOf[Name], rowBytes = 0): Promise<void> {
      if (rows === COMMIT_ROWS || bytes + rowBytes > COMMIT_BYTES) await flush();
      lists.getOrInsertComputed(name, () => []).push(row);
      rows++;
      bytes += rowBytes + ROW_BYTES;
    },
  };
}

/** What is open and what is dead is looked at again: nothing of it may be missing, and nothing may be more. */
async function verifyLedger(ledger: Ledger, counts: LedgerCounts): Promise<void> {
  const open = await ledger.openLanes();
  const sum = (numbers: readonly number[]): number => numbers.reduce((total, one) => total + one, 0);
  const there = {
    parked: sum(open.map(({ parked }) => parked)),
    held: sum(open.map(({ held }) => held)),
    dead: sum((await ledger.deadLetterCounts()).map(({ count }) => count)),
  };
  const dead = counts.deadLetters + counts.expired;
  if (there.parked === counts.parked && there.held === counts.held && there.dead === dead) return;
  throw new Problem(
    'migration_mismatch',
    `${counts.parked} parked and ${counts.held} held deliveries and ${dead} dead letters were written, and ${there.parked}, ${there.held} and ${there.dead} are there`,
    { advice: 'Nothing was switched over. Look whether somebody else writes to that store, then run this again.' },
  );
}
