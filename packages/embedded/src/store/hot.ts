/**
 * A hot table: events as they arrive, in state.db, with their index in this thread's memory. The index costs some 24
 * bytes per event, for at most HOT_RECORDS_MAX events; on disk it would add a page per topic to every small commit.
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { BatchKey } from '../packing.ts';
import { hotSchema } from './schema.ts';
import { countBelow, countUpTo, cutMarks, extentOf, isWorthScanning, NO_MARKS, pickRows } from './shelf.ts';
import type { Extent, Marks, Row, Shelf } from './shelf.ts';

/** A hot table with more events than this is sealed, however small they are: it bounds the memory of the index. */
export const HOT_RECORDS_MAX = 131_072;

export interface HotRow {
  readonly offset: number;
  readonly timeMs: number;
  readonly topic: number;
  readonly app: number;
  readonly audience: number | null;
  readonly bytes: Uint8Array;
  readonly key: BatchKey | undefined;
}

/** First use of an idempotency key. `memo` holds digest and event id. */
export interface Use {
  readonly offset: number;
  readonly timeMs: number;
  readonly untilMs: number;
  readonly memo: string;
}

interface TopicRows {
  readonly offsets: number[];
  readonly times: number[];
}

export interface Hot extends Shelf {
  readonly number: number;
  readonly records: number;
  /** Sum of the events' sizes. */
  readonly bytes: number;
  /** The end of the last idempotency window, 0 without keys. */
  readonly keysUntilMs: number;
  marks(topic: number): Marks;
  /** Publishers and audiences. */
  apps(): ReadonlySet<number>;
  /** As keyOf() makes them. */
  keys(): Iterable<string>;
  insert(row: HotRow): void;
  use(scopedKey: string): Use | undefined;
  /** Begins a transaction; what is returned undoes in memory what a rollback undoes on disk. */
  mark(): () => void;
}

const ROW = 'SELECT offset, time_ms, topic, app, bytes FROM';

export function keyOf(app: number, key: string): string {
  return `${app}\0${key}`;
}

export function createHot(db: DatabaseSync, number: number): Hot {
  db.exec(hotSchema(number));
  return openHot(db, number);
}

/** Reads every row's place, but no event: SQLite tells the length of a blob from the row's head. */
export function openHot(db: DatabaseSync, number: number): Hot {
  const table = `hot_${number}`;
  const add = db.prepare(`INSERT INTO ${table} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`);
  const scan = inArrays(db.prepare(`${ROW} ${table} WHERE offset > ? ORDER BY offset`));
  const scanSome = inArrays(
    db.prepare(`${ROW} ${table} WHERE offset > ? AND topic IN (SELECT value FROM json_each(?)) ORDER BY offset`),
  );
  const one = inArrays(db.prepare(`${ROW} ${table} WHERE offset = ?`));
  const readUse = db.prepare(`SELECT offset, time_ms AS timeMs, until_ms AS untilMs, memo FROM ${table} WHERE offset = ?`);
  const topics = new Map<number, TopicRows>();
  const apps = new Set<number>();
  const keys = new Map<string, number>();
  let keysSinceMark: string[] = [];

  const hot: { -readonly [Name in keyof Hot]: Hot[Name] } = {
    number,
    first: 0,
    last: 0,
    firstMs: 0,
    records: 0,
    bytes: 0,
    keysUntilMs: 0,
    *topics() {
      for (const [topic, rows] of topics) yield [topic, extentOf(rows)!] as readonly [number, Extent];
    },
    marks: (topic) => topics.get(topic) ?? NO_MARKS,
    apps: () => apps,
    keys: () => keys.keys(),
    insert({ offset, timeMs, topic, app, audience, bytes, key }) {
      if (key === undefined) add.run(offset, timeMs, topic, app, audience, bytes, null, null, null);
      else {
        const untilMs = timeMs + key.windowMs;
        add.run(offset, timeMs, topic, app, audience, bytes, key.key, key.memo, untilMs);
        indexKey(keyOf(app, key.key), untilMs, offset);
      }
      index(offset, timeMs, topic, bytes.length);
      apps.add(app);
      if (audience !== null) apps.add(audience);
    },
    use(scopedKey) {
      const offset = keys.get(scopedKey);
      return offset === undefined ? undefined : (readUse.get(offset) as unknown as Use);
    },
    mark() {
      const { first, last, firstMs, records, bytes, keysUntilMs } = hot;
      keysSinceMark = [];
      return () => {
        Object.assign(hot, { first, last, firstMs, records, bytes, keysUntilMs });
        for (const key of keysSinceMark) keys.delete(key);
        for (const [topic, rows] of topics) forgetAfter(last, topic, rows);
      };
    },
    rows(after, wanted, limit) {
      if (after >= hot.last) return [];
      if (wanted === undefined) return rowsOf(scan.iterate(after));
      if (!isWorthScanning(hot, wanted)) return pickRows(hot, { after, wanted, limit });
      return rowsOf(scanSome.iterate(after, JSON.stringify([...wanted])));
    },
    at: (offset) => (offset < hot.first || offset > hot.last ? undefined : (one.get(offset) as unknown as Row | undefined)),
    older: (topic, range) => cutMarks(hot.marks(topic), range),
    lastBefore(timeMs) {
      let found = 0;
      for (const { offsets, times } of topics.values()) found = Math.max(found, offsets[countBelow(times, timeMs) - 1] ?? 0);
      return found;
    },
  };

  function index(offset: number, timeMs: number, topic: number, size: number): void {
    const rows = topics.get(topic);
    if (rows === undefined) topics.set(topic, { offsets: [offset], times: [timeMs] });
    else {
      rows.offsets.push(offset);
      rows.times.push(timeMs);
    }
    if (hot.records === 0) [hot.first, hot.firstMs] = [offset, timeMs];
    hot.last = offset;
    hot.records++;
    hot.bytes += size;
  }

  function indexKey(scopedKey: string, untilMs: number, offset: number): void {
    keys.set(scopedKey, offset);
    keysSinceMark.push(scopedKey);
    if (untilMs > hot.keysUntilMs) hot.keysUntilMs = untilMs;
  }

  function forgetAfter(offset: number, topic: number, { offsets, times }: TopicRows): void {
    offsets.length = times.length = countUpTo(offsets, offset);
    if (offsets.length === 0) topics.delete(topic);
  }

  function load(): void {
    const rows = db.prepare(
      `SELECT offset, time_ms, topic, app, length(bytes) AS size, key, until_ms, audience FROM ${table} ORDER BY offset`,
    );
    for (const { offset, time_ms, topic, app, size, key, until_ms, audience } of rows.iterate()) {
      index(Number(offset), Number(time_ms), Number(topic), Number(size));
      apps.add(Number(app));
      if (audience !== null) apps.add(Number(audience));
      if (key !== null) indexKey(keyOf(Number(app), String(key)), Number(until_ms), Number(offset));
    }
  }

  load();
  return hot;
}

function inArrays(statement: StatementSync): StatementSync {
  statement.setReturnArrays(true);
  return statement;
}

/** node:sqlite types rows as records by column name, whatever setReturnArrays() says. */
function rowsOf(rows: Iterable<unknown>): Iterable<Row> {
  return rows as Iterable<Row>;
}
