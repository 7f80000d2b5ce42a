/** Which problems a call may be answered with. */
import { type ProblemCode, PROBLEMS } from '@millrace/core/problem';
import type { Scope } from '../../ports/directory.ts';
import { IDEMPOTENT } from '../repeats.ts';
import type { Call } from './types.ts';

export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly call: Call;
  /** The scopes that a key needs one of; without it none is needed. */
  readonly allow: readonly Scope[] | undefined;
  /** A token does as well. */
  readonly takes?: 'tokens' | undefined;
  /** And a signature. */
  readonly signed?: boolean | undefined;
}

const WITH_BODY: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH']);

/** A POST that configures: its answer is kept under an Idempotency-Key (repeats.ts). */
export function isRepeatable({ method, path, allow, call }: Asked): boolean {
  return method === 'POST' && allow !== undefined && call.takes === undefined && !IDEMPOTENT.test(path);
}

/** Its own ones, and those that every call of its kind has. */
export function codesOf(asked: Asked): ProblemCode[] {
  const { method, path, allow, takes, call } = asked;
  const configures = allow !== undefined && call.takes === undefined;
  const codes = new Set<ProblemCode>(['invalid_request', 'forbidden', 'headers_too_large', 'internal_error']);
  const add = (when: boolean, ...some: readonly ProblemCode[]): void => {
    if (when) for (const code of some) codes.add(code);
  };
  add(allow !== undefined, 'unauthorized');
  add(takes === 'tokens', 'token_expired', 'token_key_unknown', 'token_revoked', 'token_audience', 'origin_not_allowed');
  add(path.includes('{'), 'not_found');
  add(WITH_BODY.has(method), 'invalid_json', 'payload_too_large', 'unsupported_media_type', 'request_timeout');
  // Of bodies being read and of answers being taken there are only so many.
  add(WITH_BODY.has(method) || (method === 'GET' && allow !== undefined), 'overloaded');
  add(configures, 'ledger_unavailable');
  add(configures && method !== 'GET', 'ledger_full', 'version_mismatch');
  add(isRepeatable(asked), 'in_flight', 'idempotency_key_reused', 'too_many_requests');
  add(true, ...(call.problems ?? []));
  // The order of the list, which goes by status.
  return (Object.keys(PROBLEMS) as ProblemCode[]).filter((code) => codes.has(code));
}

/** Status → codes, in the order of the statuses. */
export function byStatus(codes: readonly ProblemCode[]): ReadonlyMap<number, readonly ProblemCode[]> {
  const statuses = [...new Set(codes.map((code) => PROBLEMS[code][0]))].toSorted((a, b) => a - b);
  return new Map(statuses.map((status) => [status, codes.filter((code) => PROBLEMS[code][0] === status)]));
}
