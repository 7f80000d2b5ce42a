/** Sealed files, opened to be read. At most OPEN_FILES_MAX at a time; who is not asked for longest is closed first. */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { StatementSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { Problem } from '@millrace/core/problem';
import type { FileList, SealedFile } from './files.ts';
import type { Use } from './hot.ts';
import { decodeMarks } from './marks.ts';
import { openKeyFilter } from './key-filter.ts';
import type { KeyFilter } from './key-filter.ts';
import { isDamage } from './faults.ts';
import { APPLICATION_ID, SCHEMA_VERSION } from './schema.ts';
import { cutMarks, isWorthScanning, pickRows } from './shelf.ts';
import type { Extent, Marks, Row, Shelf } from './shelf.ts';

/** Each has a descriptor, up to 2 MB of page cache, and up to 2 MB of marks. */
const OPEN_FILES_MAX = 16;

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
        return reader(file).markBytes(topic);
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
    rows: (after, wanted, limit) => (after >= extent.last ? [] : guarded(file, () => rowsOf(reader(), after, wanted, limit))),
    at: (offset) => (offset < extent.first || offset > extent.last ? undefined : named(file, () => reader().at(offset))),
    older(topic, { after, through, beforeMs }) {
      const known = topics.get(topic);
      if (known === undefined || known.first > through || known.last <= after || known.firstMs >= beforeMs) return undefined;
      if (known.first > after && known.last <= through && known.lastMs < beforeMs) return known;
      return named(file, () => cutMarks(reader().marks(topic), { after, through, beforeMs }));
    },
    lastBefore(timeMs) {
      if (extent.firstMs >= timeMs) return 0;
      if (extent.lastMs < timeMs) return extent.last;
      return named(file, () => reader().lastBefore(extent, timeMs));
    },
  };

  function rowsOf(from: Reader, after: number, wanted: ReadonlySet<number> | undefined, limit: number): Iterable<Row> {
    if (wanted === undefined || topics.keys().every((topic) => wanted.has(topic))) return from.scan(after);
    const mine = new Set(topics.keys().filter((topic) => wanted.has(topic)));
    return isWorthScanning(shelf, mine) ? from.scanSome(after, mine) : pickRows(from, { after, wanted: mine, limit });
  }

  return shelf;
}

const ROW = 'SELECT offset, time_ms, topic, app, bytes FROM events';

function openFile(path: string) {
  const url = pathToFileURL(path);
  // Sealed files never change: no locks, no journal to look for.
  url.searchParams.set('immutable', '1');
  const db = new DatabaseSync(url, { readOnly: true });
  const statements = new Map<string, StatementSync>();
  const marks = new Map<number, Marks>();

  function sql(text: string): StatementSync {
    const known = statements.get(text);
    if (known !== undefined) return known;
    const statement = db.prepare(text);
    statement.setReturnArrays(true);
    statements.set(text, statement);
    return statement;
  }

  function one<T>(text: string, ...values: readonly (number | string)[]): T | undefined {
    return sql(text).get(...values) as T | undefined;
  }

  function markBytes(topic: number): Uint8Array | undefined {
    return one<[Uint8Array]>('SELECT marks FROM topics WHERE id = ?', topic)?.[0];
  }

  return {
    scan: (after: number) => sql(`${ROW} WHERE offset > ? ORDER BY offset`).iterate(after) as Iterable<unknown> as Iterable<Row>,
    scanSome(after: number, wanted: ReadonlySet<number>) {
      const rows = sql(`${ROW} WHERE offset > ? AND topic IN (SELECT value FROM json_each(?)) ORDER BY offset`);
      return rows.iterate(after, JSON.stringify([...wanted])) as Iterable<unknown> as Iterable<Row>;
    },
    at: (offset: number) => one<Row>(`${ROW} WHERE offset = ?`, offset),
    markBytes,
    marks(topic: number): Marks {
      const known = marks.get(topic) ?? decodeMarks(markBytes(topic) ?? new Uint8Array());
      marks.set(topic, known);
      return known;
    },
    /** Time never runs backwards along the offsets: they are sorted by it too. */
    lastBefore(extent: Extent, timeMs: number): number {
      let [early, late] = [extent.first, extent.last];
      while (early < late) {
        const middle = Math.floor((early + late) / 2);
        const next = one<[number, number]>(
          'SELECT offset, time_ms FROM events WHERE offset > ? ORDER BY offset LIMIT 1',
          middle,
        )!;
        if (next[1] < timeMs) early = next[0];
        else late = middle;
      }
      return early;
    },
    use(app: number, key: string): Use | undefined {
      const columns = 'SELECT offset, time_ms, until_ms, memo FROM keys WHERE app = ? AND key = ?';
      const found = one<[number, number, number, string]>(columns, app, key);
      return found && { offset: found[0], timeMs: found[1], untilMs: found[2], memo: found[3] };
    },
    filter: () => one<[Uint8Array]>('SELECT bits FROM filter')![0],
    about: () => new Map(sql('SELECT name, value FROM about').all() as unknown as [string, string | number][]),
    pragma: (name: 'application_id' | 'user_version' | 'page_count' | 'page_size') => one<[number]>(`PRAGMA ${name}`)![0],
    ends: () => one<[number, number]>('SELECT min(offset), max(offset) FROM events')!,
    check: () => one<[string]>('PRAGMA quick_check(1)')![0],
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
    const isOurs = reader.pragma('application_id') === APPLICATION_ID && reader.pragma('user_version') <= SCHEMA_VERSION;
    if (!isOurs || reader.pragma('page_count') * reader.pragma('page_size') !== file.bytes) return 'is no file of this log';
    if (reader.about().get('identity') !== identity || reader.about().get('hot') !== file.hot) return 'belongs to another log';
    const isListed = file.kind === 'keys' || reader.ends().join() === `${file.extent.first},${file.extent.last}`;
    if (!isListed) return 'does not hold the events it is listed with';
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
function* guarded(file: SealedFile, rows: () => Iterable<Row>): Generator<Row> {
  try {
    yield* rows();
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

/** A RangeError: marks that are no marks, or that name events which are not there. */
function isUnreadable(error: unknown): boolean {
  if (error instanceof RangeError) return true;
  return isDamage(error) || /unable to open|no such table|disk I\/O/.test((error as Error).message);
}
