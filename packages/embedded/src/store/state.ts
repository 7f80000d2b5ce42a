/** state.db: opened, checked, versioned. */
import { closeSync, existsSync, fsyncSync, openSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Problem } from '@millrace/core/problem';
import { isDamage, isStorageError } from './faults.ts';
import { keepPrivate, makePrivate } from './private-file.ts';
import { APPLICATION_ID, PAGE_BYTES, SCHEMA_VERSION, STATE_SCHEMA } from './schema.ts';

const CACHE_KIB = 32_768;

export type FactName = 'identity' | 'mode' | 'last_offset' | 'last_ms';

export interface State {
  readonly db: DatabaseSync;
  readonly path: string;
  readonly directory: string;
  readonly identity: string;
  /** What the last process left: `relaxed` when it ended without a close in that mode. */
  readonly left: 'clean' | 'fsync' | 'relaxed';
  /** All of `change` or nothing; throws what it throws. */
  transaction<T>(change: () => T): T;
  /** The same, and it survives a power loss also in `relaxed` mode. */
  durably<T>(change: () => T): T;
  fact(name: FactName): string | number | undefined;
  setFact(name: FactName, value: string | number): void;
  /** From here on commits are worth what `relaxed` says. */
  begin(relaxed: boolean): void;
  /** Says that nothing was lost, and closes. */
  close(): void;
}

export function openState(directory: string, { maxPageCount }: { readonly maxPageCount: number | undefined }): State {
  const path = join(directory, 'state.db');
  mustNotBeLost(directory, path);
  makePrivate(path);
  // Of a process that was killed: SQLite takes them as they are.
  for (const beside of ['-wal', '-shm']) keepPrivate(path + beside);
  const db = openDatabase(path);
  if (maxPageCount !== undefined) db.exec(`PRAGMA max_page_count = ${maxPageCount}`);
  const begin = db.prepare('BEGIN IMMEDIATE');
  const commit = db.prepare('COMMIT');
  const readFact = db.prepare('SELECT value FROM facts WHERE name = ?');
  const writeFact = db.prepare('INSERT OR REPLACE INTO facts VALUES (?, ?)');
  const fact = (name: FactName) => readFact.get(name)?.['value'] as string | number | undefined;

  function transaction<T>(change: () => T): T {
    begin.run();
    try {
      const result = change();
      commit.run();
      return result;
    } catch (error) {
      // SQLite has rolled back by itself after some errors, a full disk among them.
      if (db.isTransaction) db.exec('ROLLBACK');
      throw error;
    }
  }

  let isRelaxed = false;

  function durably<T>(change: () => T): T {
    db.exec('PRAGMA synchronous = FULL');
    try {
      return transaction(change);
    } finally {
      if (isRelaxed) db.exec('PRAGMA synchronous = NORMAL');
    }
  }

  return {
    db,
    path,
    directory,
    identity: String(fact('identity')),
    left: (fact('mode') ?? 'clean') as State['left'],
    transaction,
    durably,
    fact,
    setFact: (name, value) => void writeFact.run(name, value),
    begin(relaxed) {
      isRelaxed = relaxed;
      durably(() => writeFact.run('mode', relaxed ? 'relaxed' : 'fsync'));
    },
    close() {
      try {
        durably(() => writeFact.run('mode', 'clean'));
      } catch (error) {
        // Where there is no space for this the mode stays as it is: the next start then takes the careful way.
        if (!isStorageError(error)) throw error;
      } finally {
        db.close();
      }
    },
  };
}

/** A missing state.db beside sealed files means lost, not new: starting empty would give every offset out again. */
function mustNotBeLost(directory: string, path: string): void {
  if (existsSync(path) || readdirSync(join(directory, 'segments')).length === 0) return;
  throw damaged(path, 'is missing, though there are sealed files');
}

function openDatabase(path: string): DatabaseSync {
  let db: DatabaseSync | undefined;
  try {
    db = new DatabaseSync(path);
    checkVersion(db, path);
    configure(db);
    if (versionOf(db) === 0) create(db, path);
    return db;
  } catch (error) {
    db?.close();
    if (isDamage(error)) throw damaged(path, `can not be read: ${(error as Error).message}`, error);
    throw error;
  }
}

/** Before anything is written: a file of somebody else or of a newer version is left exactly as it is. */
function checkVersion(db: DatabaseSync, path: string): void {
  const version = versionOf(db);
  const application = Number(db.prepare('PRAGMA application_id').get()?.['application_id']);
  const tables = Number(db.prepare('SELECT count(*) AS tables FROM sqlite_schema').get()?.['tables']);
  if (version > SCHEMA_VERSION) {
    throw new Problem(
      'data_directory_newer',
      `${path} has schema version ${version}, this program knows versions up to ${SCHEMA_VERSION}`,
      {
        advice: 'Start the newer program again, or restore a backup from before the upgrade.',
      },
    );
  }
  if (version === 0 ? tables > 0 : application !== APPLICATION_ID) throw damaged(path, 'is no file of Millrace');
}

function configure(db: DatabaseSync): void {
  // page_size first: it can not change once the journal mode is WAL. What is in the WAL is written back by write-back.ts.
  db.exec(`
    PRAGMA page_size = ${PAGE_BYTES};
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA fullfsync = ON;
    PRAGMA checkpoint_fullfsync = ON;
    PRAGMA wal_autocheckpoint = 0;
    PRAGMA cache_size = -${CACHE_KIB};
    PRAGMA temp_store = MEMORY;
  `);
}

function create(db: DatabaseSync, path: string): void {
  db.exec(`
    BEGIN IMMEDIATE;
    ${STATE_SCHEMA}
    INSERT INTO facts VALUES ('identity', '${crypto.randomUUID()}');
    PRAGMA application_id = ${APPLICATION_ID};
    PRAGMA user_version = ${SCHEMA_VERSION};
    COMMIT;
  `);
  syncDirectory(join(path, '..'));
}

function versionOf(db: DatabaseSync): number {
  return Number(db.prepare('PRAGMA user_version').get()?.['user_version']);
}

/** A new name in a directory survives a power loss only when the directory was synced too. */
export function syncDirectory(directory: string): void {
  const handle = openSync(directory, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

export function damaged(path: string, what: string, cause?: unknown): Problem {
  return new Problem('data_directory_damaged', `${path} ${what}`, {
    advice:
      'Restore the data directory from a backup; a damaged sealed file can also be set aside (damaged: set-aside), its events are then reported as expired.',
    ...(cause === undefined ? {} : { cause }),
  });
}
