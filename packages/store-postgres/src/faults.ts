/** What Postgres and the way to it report, as Problems. */
import { Problem } from '@millrace/core/problem';

/** SQLSTATE codes (postgresql.org/docs/current/errcodes-appendix.html). */
const DISK_FULL = '53100';
/** Ours: a slot is not at the epoch that a commit names (migrations/3-leases.ts). */
export const STALE_EPOCH = 'MR001';
export const NO_PARTITION = '23514';
export const LANE_FORGOTTEN = '23502';
export const THERE_ALREADY = '23505';
/**
 * What goes by, or what somebody has to mend outside: connections (08), transactions that were in each other's way (40, 55),
 * no room for one more (53), ended by an operator, a failover or a timeout (57), read-only after a failover (25006), the
 * server's own faults (58, XX), a user or database that is not let in now (28, 3D).
 */
const UNAVAILABLE = /^(08|28|3D|40|53|55|57|58|XX)|^25006$/;

const ADVICE: Readonly<Record<string, string>> = {
  '28P01': 'Look at the user and the password in the address of the database.',
  '28000': 'Look at the user in the address of the database, and at pg_hba.conf of the server.',
  '3D000': 'Create the database, or name another one in the address.',
  '42501': 'Give the user the right to create in the database, or make the schema for it: CREATE SCHEMA … AUTHORIZATION ….',
  '25006': 'The server takes no writes: it is a standby, or was made one. The address must lead to the primary.',
  '53100': 'Give the server more disk.',
  '53300': 'Raise max_connections of the server, or give each node fewer.',
};

interface PostgresError extends Error {
  readonly code?: unknown;
  readonly errors?: readonly Error[];
}

/** Empty for what did not come from the server. */
export function sqlStateOf(error: unknown): string {
  if (!(error instanceof Error) || !('severity' in error)) return '';
  const { code } = error as PostgresError;
  return typeof code === 'string' ? code : '';
}

/** Whether the connection it came from is of no more use: gone, or one to a server that is no primary any more. */
export function isConnectionLost(error: unknown): boolean {
  return /^$|^08|^57P|^25006$|^53300$/.test(sqlStateOf(error));
}

/** Only for what came out of the client library: all that it says without a code is about the connection. */
export function problemOf(error: unknown): Problem {
  if (error instanceof Problem) return error;
  const state = sqlStateOf(error);
  const reason = reasonOf(error as PostgresError);
  const details = { cause: error, ...(ADVICE[state] === undefined ? {} : { advice: ADVICE[state] }) };
  if (state === STALE_EPOCH) return new Problem('stale_epoch', reason, details);
  if (state === DISK_FULL) return new Problem('ledger_full', `Postgres has no space left: ${reason}`, details);
  if (state === '' || UNAVAILABLE.test(state))
    return new Problem('ledger_unavailable', `Postgres can not be used now: ${reason}`, details);
  return new Problem('internal_error', `Postgres refused what it was asked: ${reason}`, details);
}

/** Several addresses of one name fail together, and only each alone says how. */
function reasonOf({ message, errors }: PostgresError): string {
  return message || errors?.map((each) => each.message).join('; ') || 'no reason was given';
}
