/**
 * One process per data directory. The lock is an exclusive SQLite lock on lock.db: the operating system drops it with
 * the process, however that ends, so there is no stale lock to judge. lock.pid beside it only serves the message.
 *
 * DANGER: POSIX locks belong to the process and go when *any* descriptor of the file is closed. Nothing here may ever
 * open lock.db or state.db with node:fs while SQLite has it open.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Problem } from '@millrace/core/problem';
import { keepPrivate, makePrivate } from './private-file.ts';

const BUSY = 5;

/** Returns the release. Throws `data_directory_locked`. */
export function lockDirectory(directory: string): () => void {
  const path = join(directory, 'lock.db');
  makePrivate(path);
  const lock = new DatabaseSync(path);
  const pidFile = join(directory, 'lock.pid');
  try {
    lock.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
  } catch (error) {
    lock.close();
    if ((((error as { readonly errcode?: number }).errcode ?? 0) & 0xff) !== BUSY) throw error;
    throw new Problem('data_directory_locked', `${directory} is in use by another process${holderIn(pidFile)}`, {
      advice: 'Stop that process, or start this one with another data directory.',
      cause: error,
    });
  }
  writeFileSync(pidFile, `${process.pid}\n`, { mode: 0o600 });
  keepPrivate(pidFile);
  return () => lock.close();
}

function holderIn(pidFile: string): string {
  try {
    return ` (process ${readFileSync(pidFile, 'utf8').trim()})`;
  } catch {
    return '';
  }
}
