/** What hot tables and sealed files have in common: events in the order of their offsets. */

export type Row = readonly [offset: number, timeMs: number, topic: number, app: number, bytes: Uint8Array];

/** The events of one topic within some range: how many, and the ends. */
export interface Extent {
  readonly records: number;
  readonly first: number;
  readonly last: number;
  readonly firstMs: number;
  readonly lastMs: number;
}

export interface Shelf {
  /** Of the first and last event; 0 where there is none. */
  readonly first: number;
  readonly last: number;
  readonly firstMs: number;
  topics(): Iterable<readonly [topic: number, extent: Extent]>;
  /** Rows after `after` in order; of the wanted topics only. `limit` is how many the caller is likely to take. */
  rows(after: number, wanted: ReadonlySet<number> | undefined, limit: number): Iterable<Row>;
  at(offset: number): Row | undefined;
  /** What of the topic lies in (after, through] and is older than `beforeMs`. */
  older(
    topic: number,
    range: { readonly after: number; readonly through: number; readonly beforeMs: number },
  ): Extent | undefined;
  /** The last offset with a time before `timeMs`, 0 where there is none. */
  lastBefore(timeMs: number): number;
}

/** Offsets and times of one topic's events, both ascending. */
export interface Marks {
  readonly offsets: readonly number[];
  readonly times: readonly number[];
}

export const NO_MARKS: Marks = { offsets: [], times: [] };

/** Past this share of a shelf, going through all of it is cheaper than fetching row by row. */
const SCAN_SHARE = 1 / 8;

export function isWorthScanning(shelf: Shelf, wanted: ReadonlySet<number> | undefined): boolean {
  if (wanted === undefined) return true;
  let all = 0;
  let some = 0;
  for (const [topic, { records }] of shelf.topics()) {
    all += records;
    if (wanted.has(topic)) some += records;
  }
  return some >= all * SCAN_SHARE;
}

/** Fetches the wanted rows one by one, in order; `limit` is how many are likely to be taken. */
export function* pickRows(
  { marks, at }: { marks(topic: number): Marks; at(offset: number): Row | undefined },
  { after, wanted, limit }: { readonly after: number; readonly wanted: ReadonlySet<number>; readonly limit: number },
): Generator<Row> {
  for (let from = after; ;) {
    const offsets = [...wanted].flatMap((topic) => offsetsAfter(marks(topic), from, limit)).sort((a, b) => a - b);
    for (const offset of offsets.slice(0, limit)) {
      const row = at(offset);
      if (row === undefined) throw new RangeError(`the event ${offset} is missing`);
      yield row;
    }
    if (offsets.length < limit) return;
    from = offsets[limit - 1]!;
  }
}

function offsetsAfter({ offsets }: Marks, after: number, limit: number): number[] {
  const from = countUpTo(offsets, after);
  return offsets.slice(from, from + limit);
}

export function extentOf({ offsets, times }: Marks, from = 0, to = offsets.length): Extent | undefined {
  if (from >= to) return undefined;
  return { records: to - from, first: offsets[from]!, last: offsets[to - 1]!, firstMs: times[from]!, lastMs: times[to - 1]! };
}

/** What of the marks lies in (after, through] and is older than `beforeMs`. */
export function cutMarks(
  marks: Marks,
  { after, through, beforeMs = Infinity }: { readonly after: number; readonly through: number; readonly beforeMs?: number },
): Extent | undefined {
  const from = countUpTo(marks.offsets, after);
  const to = Math.min(countUpTo(marks.offsets, through), countBelow(marks.times, beforeMs));
  return extentOf(marks, from, to);
}

export function joinExtents(a: Extent | undefined, b: Extent | undefined): Extent | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  const [firstOne, lastOne] = [a.first <= b.first ? a : b, a.last >= b.last ? a : b];
  return {
    records: a.records + b.records,
    first: firstOne.first,
    firstMs: firstOne.firstMs,
    last: lastOne.last,
    lastMs: lastOne.lastMs,
  };
}

/** How many of the ascending numbers are at most `value`. */
export function countUpTo(ascending: readonly number[], value: number): number {
  return countWhile(ascending, (each) => each <= value);
}

/** How many of the ascending numbers are below `value`. */
export function countBelow(ascending: readonly number[], value: number): number {
  return countWhile(ascending, (each) => each < value);
}

function countWhile(ascending: readonly number[], holds: (value: number) => boolean): number {
  let from = 0;
  let to = ascending.length;
  while (from < to) {
    const middle = (from + to) >>> 1;
    if (holds(ascending[middle]!)) from = middle + 1;
    else to = middle;
  }
  return from;
}
