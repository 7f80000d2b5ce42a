/**
 * What retention took, remembered so that a read can still say what it would have returned. Exact to the event, some
 * three bytes each, until MARKS_BYTES_MAX of them; then the oldest are folded to their ends and count.
 */
import type { State } from './state.ts';
import { decodeMarks } from './marks.ts';
import { countBelow, cutMarks, joinExtents } from './shelf.ts';
import type { Extent } from './shelf.ts';

/** About five million events. */
export const MARKS_BYTES_MAX = 16 * 1024 * 1024;
/** Removals with marks: a topic with few events leaves hardly any bytes, but a row for every file. */
export const MARKED_ROWS_MAX = 20_000;

export interface Removal {
  readonly topic: number;
  readonly extent: Extent;
  /** Absent where they could not be read any more. */
  readonly marks?: Uint8Array | undefined;
}

/** `exact` is false where the ends or the count are not known: only part of a folded removal lies inside. */
export interface Loss extends Extent {
  readonly exact: boolean;
}

export interface Removed {
  /** Within the transaction that takes the events. */
  add(removal: Removal): void;
  /** Folds what exceeds the bounds. Within a transaction. */
  fold(bounds?: { readonly bytesMax: number; readonly rowsMax: number }): void;
  /** What is gone of the wanted topics in (after, through]. */
  within(after: number, through: number, wanted: ReadonlySet<number> | undefined): Loss | undefined;
  /** The last offset gone with a time before `timeMs`, 0 where there is none. */
  lastBefore(timeMs: number): number;
}

const ENDS = 'id, topic, records, first, last, first_ms AS firstMs, last_ms AS lastMs';
const COLUMNS = `${ENDS}, marks`;
/** The marks of a removal that lies inside as a whole are of no use: there may be megabytes of them. */
const CUT_COLUMNS = `${ENDS}, CASE WHEN first > ? AND last <= ? THEN NULL ELSE marks END AS marks`;

interface StoredRemoval extends Extent {
  readonly id: number;
  readonly topic: number;
  readonly marks: Uint8Array | null;
}

export function openRemoved({ db }: Pick<State, 'db'>): Removed {
  const add = db.prepare(
    'INSERT INTO removed (topic, records, first, last, first_ms, last_ms, marks) VALUES (?, ?, ?, ?, ?, ?, ?)',
  );
  const last = db.prepare('SELECT coalesce(max(last), 0) AS last FROM removed');
  const crossing = db.prepare(`SELECT ${CUT_COLUMNS} FROM removed WHERE last > ? AND first <= ?`);
  const crossingSome = db.prepare(
    `SELECT ${CUT_COLUMNS} FROM removed WHERE last > ? AND first <= ? AND topic IN (SELECT value FROM json_each(?))`,
  );
  const before = db.prepare('SELECT coalesce(max(last), 0) AS last FROM removed WHERE last_ms < ?');
  const around = db.prepare(`SELECT ${COLUMNS} FROM removed WHERE first_ms < ? AND last_ms >= ?`);
  const marked = db.prepare('SELECT id, length(marks) AS bytes FROM removed WHERE marks IS NOT NULL ORDER BY last DESC');
  const one = db.prepare(`SELECT ${COLUMNS} FROM removed WHERE id = ?`);
  const foldedOf = db.prepare(`SELECT ${COLUMNS} FROM removed WHERE topic = ? AND marks IS NULL AND id <> ?`);
  const drop = db.prepare('DELETE FROM removed WHERE id = ?');
  let lastOffset = lastOf();

  function lastOf(): number {
    return Number(last.get()!['last']);
  }

  function insert({ topic, extent, marks }: Removal): void {
    const { records, first, last: end, firstMs, lastMs } = extent;
    add.run(topic, records, first, end, firstMs, lastMs, marks ?? null);
  }

  /** One folded removal per topic: joins `id` to the one there is. */
  function foldOne(id: number): void {
    const row = stored(one.get(id));
    const others = foldedOf.all(row.topic, id).map(stored);
    insert({ topic: row.topic, extent: others.reduce<Extent>((all, each) => joinExtents(all, each)!, row) });
    for (const each of [row, ...others]) drop.run(each.id);
  }

  return {
    add(removal) {
      insert(removal);
      lastOffset = Math.max(lastOffset, removal.extent.last);
    },
    fold({ bytesMax, rowsMax } = { bytesMax: MARKS_BYTES_MAX, rowsMax: MARKED_ROWS_MAX }) {
      let bytes = 0;
      const excess = marked.all().filter((row, i) => (bytes += Number(row['bytes'])) > bytesMax || i >= rowsMax);
      for (const row of excess) foldOne(Number(row['id']));
    },
    within(after, through, wanted) {
      // By far the usual case, and it must cost nothing: the reader is past all that is gone.
      if (after >= lastOffset || through <= after) return undefined;
      const range = [after, through, after, through];
      const rows = wanted === undefined ? crossing.all(...range) : crossingSome.all(...range, JSON.stringify([...wanted]));
      return rows.map((row) => lossIn(stored(row), after, through)).reduce(joinLosses, undefined);
    },
    lastBefore(timeMs) {
      const whole = Number(before.get(timeMs)!['last']);
      return around.all(timeMs, timeMs).reduce((found, row) => Math.max(found, lastBeforeIn(stored(row), timeMs)), whole);
    },
  };
}

function stored(row: unknown): StoredRemoval {
  return row as StoredRemoval;
}

function lossIn(removal: StoredRemoval, after: number, through: number): Loss | undefined {
  if (removal.first > after && removal.last <= through) return { ...removal, exact: true };
  if (removal.marks !== null) {
    const cut = cutMarks(decodeMarks(removal.marks), { after, through });
    return cut && { ...cut, exact: true };
  }
  // Only part of a folded removal: how much of it is not known any more. To report too much is the safe side.
  if (removal.last <= through) return { ...removal, exact: false };
  return { ...removal, last: through, lastMs: removal.firstMs, exact: false };
}

export function joinLosses(a: Loss | undefined, b: Loss | undefined): Loss | undefined {
  const joined = joinExtents(a, b);
  return joined && { ...joined, exact: (a?.exact ?? true) && (b?.exact ?? true) };
}

function lastBeforeIn({ first, marks }: StoredRemoval, timeMs: number): number {
  if (marks === null) return first;
  const { offsets, times } = decodeMarks(marks);
  return offsets[countBelow(times, timeMs) - 1] ?? 0;
}
