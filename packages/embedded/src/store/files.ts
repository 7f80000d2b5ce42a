/**
 * The list of sealed files: what state.db says there is. `events` files hold the events of one retention class of one hot
 * table, a `keys` file its idempotency keys. A file is only ever listed whole and synced, and never changes.
 */
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { State } from './state.ts';
import type { Extent } from './shelf.ts';

export interface SealedFile {
  /** Relative to the segments directory. */
  readonly name: string;
  readonly hot: number;
  readonly kind: 'events' | 'keys';
  /** Of the file. */
  readonly bytes: number;
  readonly extent: Extent;
  /** Of a keys file: the end of the last window. */
  readonly untilMs: number | null;
  /** Of an events file. */
  readonly topics: ReadonlyMap<number, Extent>;
}

export interface FileList {
  readonly directory: string;
  /** Oldest first. */
  events(): readonly SealedFile[];
  /** Newest first. */
  keys(): readonly SealedFile[];
  /** Within a transaction; reload() after a rollback. */
  add(file: SealedFile): void;
  /** Within a transaction: takes the files off the list and marks them for removal. */
  doom(files: readonly SealedFile[]): void;
  /** Unlinks what is marked. Safe at any time: nobody is sent to a file that is not listed. */
  sweep(): void;
  reload(): void;
}

const EXTENT = 'records, first, last, first_ms AS firstMs, last_ms AS lastMs';

export function openFileList({ db, directory: dataDirectory }: Pick<State, 'db' | 'directory'>): FileList {
  const directory = join(dataDirectory, 'segments');
  const addFile = db.prepare(
    'INSERT INTO files (name, hot, kind, bytes, until_ms, records, first, last, first_ms, last_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
  );
  const addTopic = db.prepare(
    'INSERT INTO file_topics (name, topic, records, first, last, first_ms, last_ms) VALUES (?, ?, ?, ?, ?, ?, ?)',
  );
  const readFiles = db.prepare(`SELECT name, hot, kind, bytes, until_ms AS untilMs, ${EXTENT} FROM files ORDER BY first, name`);
  const readTopics = db.prepare(`SELECT name, topic, ${EXTENT} FROM file_topics`);
  const removeFile = db.prepare('DELETE FROM files WHERE name = ?');
  const removeTopics = db.prepare('DELETE FROM file_topics WHERE name = ?');
  const addDoomed = db.prepare('INSERT OR REPLACE INTO doomed VALUES (?)');
  const readDoomed = db.prepare('SELECT name FROM doomed');
  const removeDoomed = db.prepare('DELETE FROM doomed WHERE name = ?');
  let files: SealedFile[] = [];

  function reload(): void {
    const topics = new Map<string, Map<number, Extent>>();
    for (const row of readTopics.all()) {
      const name = String(row['name']);
      const ofFile = topics.get(name) ?? new Map<number, Extent>();
      topics.set(name, ofFile.set(Number(row['topic']), extentIn(row)));
    }
    files = readFiles.all().map((row) => {
      const { name, hot, kind, bytes, untilMs } = row as unknown as SealedFile;
      return { name, hot, kind, bytes, untilMs, extent: extentIn(row), topics: topics.get(name) ?? new Map<number, Extent>() };
    });
  }

  reload();
  return {
    directory,
    events: () => files.filter(({ kind }) => kind === 'events'),
    keys: () => files.filter(({ kind }) => kind === 'keys').reverse(),
    add(file) {
      const { name, hot, kind, bytes, untilMs, extent, topics } = file;
      addFile.run(name, hot, kind, bytes, untilMs, ...columnsOf(extent));
      for (const [topic, each] of topics) addTopic.run(name, topic, ...columnsOf(each));
      files.push(file);
      files.sort((a, b) => a.extent.first - b.extent.first || (a.name < b.name ? -1 : 1));
    },
    doom(doomed) {
      for (const { name } of doomed) {
        addDoomed.run(name);
        removeFile.run(name);
        removeTopics.run(name);
      }
      files = files.filter((file) => !doomed.includes(file));
    },
    sweep() {
      for (const row of readDoomed.all()) {
        rmSync(join(directory, String(row['name'])), { force: true });
        removeDoomed.run(String(row['name']));
      }
    },
    reload,
  };
}

/** Names that are in the segments directory, listed or not. */
export function namesIn(directory: string): string[] {
  return readdirSync(directory).sort();
}

function columnsOf({ records, first, last, firstMs, lastMs }: Extent): [number, number, number, number, number] {
  return [records, first, last, firstMs, lastMs];
}

function extentIn(row: object): Extent {
  const { records, first, last, firstMs, lastMs } = row as Extent;
  return { records, first, last, firstMs, lastMs };
}
