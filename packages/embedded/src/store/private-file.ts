/** Files for this user alone, whatever the umask is and however readable the directory they are in. */
import { chmodSync, closeSync, openSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

const PRIVATE = 0o600;
const OTHERS = 0o077;

/**
 * To be called before SQLite opens the file: that gives its -wal, -shm and journal the mode the file itself has.
 * One that is there is never opened here: a descriptor that closes takes all locks of the process on the file with it.
 */
export function makePrivate(path: string): void {
  try {
    closeSync(openSync(path, 'ax', PRIVATE));
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error;
    keepPrivate(path);
  }
}

/** Takes away what an earlier version, or a copy, let others do. Where there is no such file nothing happens. */
export function keepPrivate(path: string): void {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined || !found.isFile() || (found.mode & OTHERS) === 0) return;
  try {
    chmodSync(path, PRIVATE);
  } catch (error) {
    // Of a file that belongs to somebody else the owner decides; and it may have gone meanwhile.
    if (codeOf(error) !== 'EPERM' && codeOf(error) !== 'ENOENT') throw error;
  }
}

/** All files that are in it. The directory itself keeps its mode: it may be one of the user's own. */
export function keepAllPrivate(directory: string): void {
  for (const name of readdirSync(directory)) keepPrivate(join(directory, name));
}

const codeOf = (error: unknown): unknown => (error as { readonly code?: unknown }).code;
