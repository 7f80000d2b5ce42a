/**
 * Two files in the data directory: `migration.json` while a migration is under way, so that it goes on where it was; and
 * `moved.json` from the moment on in which it is done. That the second is there is the switch: it is written at once or not at all.
 */
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { Problem } from '@millrace/core/problem';

export const MIGRATION_FILE = 'migration.json';
export const MOVED_FILE = 'moved.json';
/** Beside the former store: directory and ledger in the terms of the new log. */
export const MOVED_DIRECTORY = 'ledger';

export interface Migration {
  /** Identities of the logs. */
  readonly from: string;
  readonly to: string;
  /** Where the new log is, without what may be a password. */
  readonly address: string;
  /** Per shard of the new log: what stood there before. */
  readonly begins: Readonly<Record<string, string>>;
  /** What is too old is judged by this moment to the end: else events would expire between two looks at them. */
  readonly startedMs: number;
  /** Where directory and ledger go, without what may be a password; from before the first of it is written there. */
  readonly store?: string;
}

export interface Moved {
  readonly log: string;
  readonly store?: string;
  /** Identity of the new log. */
  readonly identity: string;
  readonly atMs: number;
  readonly events: number;
  readonly bytes: number;
  readonly sha256: string;
}

export const readMigration = (data: string): Migration | undefined => read<Migration>(join(data, MIGRATION_FILE));
export const readMoved = (data: string): Moved | undefined => read<Moved>(join(data, MOVED_FILE));
export const writeMigration = (data: string, migration: Migration): void => write(data, MIGRATION_FILE, migration);

/** From here on the former log is not used any more. */
export function switchOver(data: string, moved: Moved): void {
  write(data, MOVED_FILE, moved);
  forgetMigration(data);
}

export function forgetMigration(data: string): void {
  rmSync(join(data, MIGRATION_FILE), { force: true });
}

/** As it may be shown and kept: without user, password or token. */
export const shownAddress = (address: string): string => address.replace(/^([a-z]+:\/\/)[^/?]*@/, '$1');

function read<Content>(path: string): Content | undefined {
  if (!existsSync(path)) return undefined;
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Content;
  } catch (error) {
    throw new Problem('data_directory_damaged', `${path} can not be read`, {
      advice: 'Restore it from a backup of the data directory.',
      cause: error,
    });
  }
}

/** Whole or not at all, and on the disk when this returns. */
function write(data: string, name: string, content: object): void {
  const path = join(data, name);
  const file = openSync(`${path}.new`, 'w', 0o600);
  try {
    writeSync(file, `${JSON.stringify(content, undefined, 2)}\n`);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(`${path}.new`, path);
  const directory = openSync(data, 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}
