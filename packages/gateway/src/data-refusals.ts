/** Why the data directory can not be used at start, in words that name a way out: the system's own ("ENOSPC") name none. */
import { Problem } from '@millrace/core/problem';
import { StartRefused } from './refused.ts';

/** What the system, or SQLite for it, says; what that means for this directory; and what to do. */
const REFUSALS: readonly (readonly [says: RegExp, means: (data: string) => string, advice: string])[] = [
  [
    /\b(ENOSPC|EDQUOT)\b|database or disk is full|no space left/i,
    (data) => `there is no space left for ${data}`,
    'Make room on that disk (what was accepted is still there), or name another directory: --data DIRECTORY.',
  ],
  [
    /\bEROFS\b/,
    (data) => `${data} is on a file system that can only be read`,
    'Mount it for writing, or name another directory: --data DIRECTORY.',
  ],
  [
    /\b(EACCES|EPERM)\b|readonly database|unable to open database file/,
    (data) => `this user${userNow()} may not read and write ${data}`,
    'Give the directory to this user (chown), or name another one: --data DIRECTORY.',
  ],
];

/** The error as it is, unless it is one of those above and nobody has said yet what to do. */
export function explained(error: unknown, data: string): unknown {
  if (error instanceof StartRefused || (error instanceof Problem && error.advice !== undefined)) return error;
  if (!(error instanceof Error) || !isOfStorage(error)) return error;
  const [, means, advice] = REFUSALS.find(([says]) => says.test(error.message)) ?? [];
  if (means === undefined || advice === undefined) return error;
  // The store has said it in its own words before.
  const reason = error.message.replace(/^(There is no space left in .*?|.* can not be used now): /, '');
  const message = `${means(data)} (${reason})`;
  return error instanceof Problem
    ? new Problem(error.code, message, { advice, cause: error })
    : Object.assign(new StartRefused(message, advice), { cause: error });
}

/** Of the store, or of a file beside it; not of a socket, whose EACCES is about a port. */
function isOfStorage(error: Error & { readonly path?: unknown; readonly syscall?: unknown }): boolean {
  if (error instanceof Problem) return /^(log|ledger)_(full|unavailable)$/.test(error.code);
  const { path, syscall } = error;
  return typeof path === 'string' || ['write', 'fsync', 'ftruncate'].includes(String(syscall));
}

function userNow(): string {
  const uid = process.getuid?.();
  return uid === undefined ? '' : ` (uid ${uid})`;
}
