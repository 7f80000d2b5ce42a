/** What SQLite and the file system report, as Problems. */
import { statfsSync } from 'node:fs';
import { Problem } from '@millrace/core/problem';
import type { ProblemCode } from '@millrace/core/problem';

/** Primary result codes, the low byte of `errcode` (sqlite.org/rescode.html). */
const IO_ERROR = 10;
const CORRUPT = 11;
const FULL = 13;
const NOT_A_DATABASE = 26;
/** Extended: fsync failed. What the kernel then did with the pages is unknown, so nothing later can be trusted either. */
const FSYNC_FAILED = new Set([1034, 1290]);
/** With less than this left, an input/output error is taken for a full disk: the WAL index and quotas report it so. */
const SPACE_LEFT_BYTES = 1024 * 1024;

interface SystemError extends Error {
  readonly code?: string;
  readonly errcode?: number;
}

export function isDamage(error: unknown): boolean {
  const primary = primaryOf(error);
  return primary === CORRUPT || primary === NOT_A_DATABASE;
}

/** True for what SQLite or the file system said: such an operation failed, the thread goes on. All else is a bug of ours. */
export function isStorageError(error: unknown): boolean {
  const { code = '', errcode } = error as SystemError;
  if (errcode !== undefined) return !FSYNC_FAILED.has(errcode);
  return /^E[A-Z]+$/.test(code);
}

export function isFull(error: unknown, directory: string): boolean {
  const { code } = error as SystemError;
  if (code === 'ENOSPC' || code === 'EDQUOT' || primaryOf(error) === FULL) return true;
  return primaryOf(error) === IO_ERROR && hasNoSpace(directory);
}

/**
 * The Problem to answer with, for storage errors and for values that node:sqlite refuses to bind. Anything else is thrown on
 * and ends the thread, loudly.
 */
export function problemOf(
  error: unknown,
  { directory, part }: { readonly directory: string; readonly part: 'log' | 'ledger' },
): Problem {
  if (error instanceof Problem) return error;
  if ((error as SystemError).code === 'ERR_INVALID_ARG_TYPE') {
    return new Problem('internal_error', `The embedded store was given what it can not store: ${(error as Error).message}`, {
      cause: error,
    });
  }
  if (!isStorageError(error)) throw error;
  const reason = (error as Error).message;
  const code: ProblemCode = `${part}_${isFull(error, directory) ? 'full' : 'unavailable'}`;
  const message = code.endsWith('full')
    ? `There is no space left in ${directory}: ${reason}`
    : `${directory} can not be used now: ${reason}`;
  return new Problem(code, message, { cause: error });
}

function primaryOf(error: unknown): number {
  return ((error as SystemError).errcode ?? 0) & 0xff;
}

function hasNoSpace(directory: string): boolean {
  const { bavail, bsize } = statfsSync(directory);
  return bavail * bsize < SPACE_LEFT_BYTES;
}
