/** Which port a call belongs to, and whether it writes. */
import type { CallName } from './messages.ts';

const LOG_CALLS: ReadonlySet<CallName> = new Set<CallName>([
  'append',
  'read',
  'fetch',
  'positionAt',
  'bounds',
  'declareTopic',
  'trim',
  'connect',
  'close',
]);
const WRITES: ReadonlySet<CallName> = new Set<CallName>([
  'append',
  'declareTopic',
  'commit',
  'leaseCommit',
  'pruneAttempts',
  'putResource',
  'deleteResource',
  'claim',
  'settleClaims',
  'pruneClaims',
]);

/** The directory and claims have no codes of their own: they fail as the ledger does, they share a store wherever they are. */
export function partOf(call: CallName): 'log' | 'ledger' {
  return LOG_CALLS.has(call) ? 'log' : 'ledger';
}

/** What a person has set. */
export function isConfiguration(call: CallName): boolean {
  return call === 'putResource' || call === 'deleteResource';
}

export function isWrite(call: CallName): boolean {
  return WRITES.has(call);
}
