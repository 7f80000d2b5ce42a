/** Sealed files, opened to be read. At most OPEN_FILES_MAX at a time; who is not asked for longest is closed first. */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { Problem } from '@millrace/core/problem';
import type { FileList, SealedFile } from './files.ts';
import type { Use } from './hot.ts';
import { openKeyFilter } from './key-filter.ts';
import type { KeyFilter } from './key-filter.ts';
import { isDamage } from './faults.ts';
import { APPLICATION_ID, SCHEMA_VERSION } from './schema.ts';
import { isWorthScanning } from './shelf.ts';
import type { Extent, Row, Shelf } from './shelf.ts';

/** Each has one descriptor and up to 2 MB of page cache. */
const OPEN_FILES_MAX = 32;

export interface Sealed {
  /** The file as a shelf. Opened at the first use. */
  shelf(file: SealedFile): Shelf;
  /** Places of a topic's events, encoded; undefined where the file can not be read. */
  marks(file: SealedFile, topic: number): Uint8Array | undefined;
  use(file: SealedFile, app: number, key: string): Use | undefined;
  /** Kept in memory until the file is let go. */
  filter(file: SealedFile): KeyFilter;
  letGo(file: SealedFile): void;
  close(): void;
}

type Reader = ReturnType<typeof openFile>;

export function openSealed({ directory }: Pick<FileList, 'directory'>): Sealed {
  const open = new Map<string, Reader>();
  const filters = new Map<string, KeyFilter>();

  function reader({ name }: SealedFile): Reader {
    const known = open.get(name) ?? openFile(join(directory, name));
    // Insertion order is order of use: the first one is the one to close.
    open.delete(name);
    open.set(name, known);
    if (open.size > OPEN_FILES_MAX) close(open.keys().next().value!);
    return known;
  }

  function close(name: string): void {
    open.get(name)?.close();
    open.delete(name);
  }

  return {
    shelf: (file) => shelfOf(file, () => reader(file)),
    marks(file, topic) {
      try {
        return reader(file).marks(topic);
      } catch (error) {
        if (isUnreadable(error)) return undefined;
        throw error;
      }
    },
    use: (file, app, key) => named(file, () => reader(file).use(app, key)),
    filter(file) {
      const known = filters.get(file.name) ?? named(file, () => openKeyFilter(reader(file).filter()));
      filters.set(file.name, known);
      return known;
    },
    letGo({ name }) {
      close(name);
      filters.delete(name);
    },
    close() {
      for (const name of open.keys()) close(name);
    },
  };
}

function shelfOf(file: SealedFile, reader: () => Reader): Shelf {
  const { extent, topics } = file;
  const shelf: Shelf = {
    first: extent.first,
    last: extent.last,
    firstMs: extent.firstMs,
    topics: () => topics,
    rows(after, wanted, limit) {
      if (after >= extent.last) return [];
      const all = wanted === undefined || [...topics.keys()].every((topic) => wanted.has(topic));
      return named(file, () =>
        guarded(
          file,
          all
            ? reader().scan(after)
            : isWorthScanning(shelf, wanted)
              ? reader().scanSome(after, wanted)
              : reader().pick(after, wanted, limit),
        ),
      );
    },
    at: (offset) => (offset < extent.first || offset > extent.last ? undefined : named(file, () => reader().at(offset))),
    older(topic, { after, through, beforeMs }) {
      const known = topics.get(topic);
      if (known === undefined || known.first > through || known.last <= after || known.firstMs >= beforeMs) return undefined;
      if (known.first > after && known.last <= through && known.lastMs < beforeMs) return known;
      const until = known.lastMs < beforeMs ? through : Math.min(through, shelf.lastBefore(beforeMs));
      return named(file, () => reader().span(topic, after, until));
    },
    lastBefore(timeMs) {
      if (extent.firstMs >= timeMs) return 0;
      if (extent.lastMs < timeMs) return extent.last;
      return named(file, () => reader().lastBefore(extent, timeMs));
    },
  };
  return shelf;
}

function openFile(path: string) {
  const url = pathToFileURL(path);
  // Sealed files never change: no locks, no journal to look for.
  url.searchParams.set('immutable', '1');
  const db = new DatabaseSync(url, { readOnly: true });
  const statements = new Map<string, ReturnType<DatabaseSync['prepare']>>();

  function sql(text: string) {
    const known = statements.get(text) ?? db.prepare(text);
    known.setReturnArrays(true);
    statements.set(text, known);
    return known;
  }

  const row = 'SELECT offset, time_ms, topic, app, bytes FROM events';
  const rows = (found: Iterable<unknown>) => found as Iterable<Row>;
  const firstFrom = (offset: number) =>
    sql('SELECT offset, time_ms FROM events WHERE offset >= ? ORDER BY offset LIMIT 1').get(offset) as unknown as [
      number,
      number,
    ];

  return {
    scan: (after: number) => rows(sql(`${row} WHERE offset > ? ORDER BY offset`).iterate(after)),
    // The plus keeps SQLite from using the index: most of the file is wanted.
    scanSome: (after: number, wanted: ReadonlySet<number> | undefined) =>
      rows(
        sql(`${row} WHERE offset > ? AND +topic IN (SELECT value FROM json_each(?)) ORDER BY offset`).iterate(
          after,
          JSON.stringify([...(wanted ?? [])]),
        ),
      ),
    *pick(after: number, wanted: ReadonlySet<number> | undefined, limit: number): Generator<Row> {
      const find = sql(
        'SELECT offset FROM events WHERE topic IN (SELECT value FROM json_each(?)) AND offset > ? ORDER BY offset LIMIT ?',
      );
      const topics = JSON.stringify([...(wanted ?? [])]);
      for (let from = after; ;) {
        const found = find.all(topics, from, limit) as unknown as [number][];
        for (const [offset] of found) yield sql(`${row} WHERE offset = ?`).get(offset) as unknown as Row;
        if (found.length < limit) return;
        from = found.at(-1)![0];
      }
    },
    at: (offset: number) => sql(`${row} WHERE offset = ?`).get(offset) as unknown as Row | undefined,
    span(topic: number, after: number, through: number): Extent | undefined {
      const found = sql(
        'SELECT count(*), min(offset), max(offset) FROM events WHERE topic = ? AND offset > ? AND offset <= ?',
      ).get(topic, after, through);
      const [records, first, last] = found as unknown as [number, number, number];
      return records === 0 ? undefined : { records, first, last, firstMs: firstFrom(first)[1], lastMs: firstFrom(last)[1] };
    },
    /** Time never runs backwards along the offsets, so they are the index on time. */
    lastBefore(extent: Extent, timeMs: number): number {
      let [early, late] = [extent.first, extent.last];
      while (early < late) {
        const middle = Math.floor((early + late) / 2);
        const [offset, atMs] = firstFrom(middle + 1);
        if (atMs < timeMs) early = offset;
        else late = middle;
      }
      return early;
    },
    marks(topic: number) {
      return (sql('SELECT marks FROM topics WHERE id = ?').get(topic) as unknown as [Uint8Array] | undefined)?.[0];
    },
    use(app: number, key: string): Use | undefined {
      const found = sql('SELECT offset, time_ms, until_ms, memo FROM keys WHERE app = ? AND key = ?').get(app, key);
      if (found === undefined) return undefined;
      const [offset, timeMs, untilMs, memo] = found as unknown as [number, number, number, string];
      return { offset, timeMs, untilMs, memo };
    },
    filter: () => (sql('SELECT bits FROM filter').get() as unknown as [Uint8Array])[0],
    about: () => new Map(sql('SELECT name, value FROM about').all() as unknown as [string, string | number][]),
    header: () =>
      ['application_id', 'user_version', 'page_count', 'page_size'].map(
        (name) => (sql(`PRAGMA ${name}`).get() as unknown as [number])[0],
      ),
    ends: (table: string) => sql(`SELECT min(offset), max(offset) FROM ${table}`).get() as unknown as [number, number],
    check: () => (sql('PRAGMA quick_check(1)').get() as unknown as [string])[0],
    close: () => db.close(),
  };
}

/**
 * What is wrong with a listed file, or undefined. Size, header, whose it is and the first and last page are looked at;
 * with `thorough` every page.
 */
export function faultOf(
  file: SealedFile,
  { directory, identity, thorough }: { readonly directory: string; readonly identity: string; readonly thorough: boolean },
): string | undefined {
  const path = join(directory, file.name);
  if (!existsSync(path)) return 'is missing';
  if (statSync(path).size !== file.bytes) return `has ${statSync(path).size} bytes, not ${file.bytes}`;
  let reader: Reader | undefined;
  try {
    reader = openFile(path);
    const [application, version, pages, pageBytes] = reader.header();
    if (application !== APPLICATION_ID || version! > SCHEMA_VERSION || pages! * pageBytes! !== file.bytes)
      return 'is no file of this log';
    if (reader.about().get('identity') !== identity || reader.about().get('hot') !== file.hot) return 'belongs to another log';
    if (file.kind === 'events' && reader.ends('events').join() !== `${file.extent.first},${file.extent.last}`)
      return 'does not hold the events it is listed with';
    if (file.kind === 'keys') reader.filter();
    const found = thorough ? reader.check() : 'ok';
    return found === 'ok' ? undefined : `is damaged: ${found}`;
  } catch (error) {
    if (isUnreadable(error)) return `can not be read: ${(error as Error).message}`;
    throw error;
  } finally {
    reader?.close();
  }
}

/** Reading goes on in steps, and any of them may find the damage. */
function* guarded(file: SealedFile, rows: Iterable<Row>): Generator<Row> {
  try {
    yield* rows;
  } catch (error) {
    throw unreadable(file, error);
  }
}

function named<T>(file: SealedFile, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw unreadable(file, error);
  }
}

/** Nothing is skipped: who reads here is told, until the file is back or a person has set it aside. */
function unreadable(file: SealedFile, error: unknown): unknown {
  if (!isUnreadable(error)) return error;
  return new Problem('log_unavailable', `The sealed file ${file.name} can not be read: ${(error as Error).message}`, {
    cause: error,
  });
}

function isUnreadable(error: unknown): boolean {
  return isDamage(error) || /unable to open|no such table|disk I\/O/.test((error as Error).message);
}
