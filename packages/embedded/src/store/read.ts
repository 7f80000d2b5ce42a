/** One page of the log: the shelves in order, what retention hides left out and reported with what it took. */
import type { Names } from './names.ts';
import { joinLosses } from './removed.ts';
import type { Loss, Removed } from './removed.ts';
import type { Row, Shelf } from './shelf.ts';

/** The shelves of one hot table, now one or sealed into several: they share a range of offsets. */
export interface Stretch {
  readonly first: number;
  readonly last: number;
  readonly shelves: readonly Shelf[];
}

export interface PageQuery {
  readonly after: number;
  /** Topic numbers; undefined for all. */
  readonly wanted: ReadonlySet<number> | undefined;
  readonly limit: number;
  readonly maxBytes: number;
  readonly nowMs: number;
  /** The last offset that was given out. */
  readonly end: number;
}

export interface PageRows {
  readonly rows: readonly Row[];
  readonly through: number;
  readonly loss: Loss | undefined;
}

export interface PageSource {
  readonly stretches: readonly Stretch[];
  readonly names: Names;
  readonly removed: Removed;
}

export function readPage(source: PageSource, query: PageQuery): PageRows {
  const ahead = source.stretches.filter((stretch) => stretch.last > query.after);
  const { rows, stoppedAt } = takeRows(ahead, source.names, query);
  const through = stoppedAt ?? Math.max(query.after, query.end);
  return { rows, through, loss: lossOf(source, ahead, { ...query, through }) };
}

export function isHidden(names: Names, topic: number, timeMs: number, nowMs: number): boolean {
  return nowMs - timeMs > names.topic(topic).retentionMs;
}

/** `stoppedAt`: just before the first row that had no room. */
function takeRows(stretches: readonly Stretch[], names: Names, { after, wanted, limit, maxBytes, nowMs }: PageQuery) {
  const rows: Row[] = [];
  let size = 0;
  for (const { shelves } of stretches) {
    for (const row of merge(shelves.map((shelf) => visibleRows(shelf)))) {
      const [offset, timeMs, topic, , bytes] = row;
      if (isHidden(names, topic, timeMs, nowMs)) continue;
      if (rows.length >= limit || (rows.length > 0 && size + bytes.length > maxBytes)) return { rows, stoppedAt: offset - 1 };
      rows.push(row);
      size += bytes.length;
    }
  }
  return { rows };

  function visibleRows(shelf: Shelf): Iterable<Row> {
    const visible = visibleTopics(shelf);
    return visible?.size === 0 ? [] : shelf.rows(after, visible, limit - rows.length + 1);
  }

  /** Of a topic that is hidden as a whole no row need be looked at. */
  function visibleTopics(shelf: Shelf): ReadonlySet<number> | undefined {
    const all = [...shelf.topics()];
    const seen = all.filter(([topic, { lastMs }]) => (wanted?.has(topic) ?? true) && !isHidden(names, topic, lastMs, nowMs));
    return seen.length === all.length ? undefined : new Set(seen.map(([topic]) => topic));
  }
}

/** Rows of several shelves in the order of their offsets. */
function* merge(shelves: readonly Iterable<Row>[]): Generator<Row> {
  if (shelves.length === 1) return yield* shelves[0]!;
  const sources = shelves.map((rows) => rows[Symbol.iterator]());
  const heads = sources.map((source) => source.next());
  try {
    for (;;) {
      const next = heads.reduce(
        (least, head, i) => (head.done !== true && (least === -1 || head.value[0] < (heads[least]!.value as Row)[0]) ? i : least),
        -1,
      );
      if (next === -1) return;
      yield heads[next]!.value as Row;
      heads[next] = sources[next]!.next();
    }
  } finally {
    // A statement left in the middle would keep its file and table locked.
    for (const source of sources) source.return?.();
  }
}

function lossOf(
  { names, removed }: PageSource,
  stretches: readonly Stretch[],
  query: PageQuery & { readonly through: number },
): Loss | undefined {
  const { after, through, wanted, nowMs } = query;
  let loss = removed.within(after, through, wanted);
  for (const { first, shelves } of stretches) {
    if (first > through) break;
    for (const shelf of shelves) {
      for (const [topic, { firstMs }] of shelf.topics()) {
        if (wanted?.has(topic) === false || !isHidden(names, topic, firstMs, nowMs)) continue;
        const hidden = shelf.older(topic, { after, through, beforeMs: nowMs - names.topic(topic).retentionMs });
        loss = joinLosses(loss, hidden && { ...hidden, exact: true });
      }
    }
  }
  return loss;
}
