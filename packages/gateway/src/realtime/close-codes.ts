/** Close codes of `millrace.v1` (spec/protocol.md). 4000–4399: come back. 4400–4499: not before somebody changed something. */
import type { Problem, ProblemCode } from '@millrace/core/problem';

export const CLOSE = {
  done: 1_000,
  heartbeat: 4_000,
  drain: 4_001,
  slowConsumer: 4_008,
  tokenExpired: 4_010,
  rateLimited: 4_029,
  unavailable: 4_100,
  badFrame: 4_400,
  unauthorized: 4_401,
  forbidden: 4_403,
  noHello: 4_408,
  tooBig: 4_413,
  otherVersion: 4_426,
} as const;

export type CloseCode = (typeof CLOSE)[keyof typeof CLOSE];

const BY_PROBLEM: Partial<Record<ProblemCode, CloseCode>> = {
  bad_frame: CLOSE.badFrame,
  unauthorized: CLOSE.unauthorized,
  token_revoked: CLOSE.unauthorized,
  token_audience: CLOSE.unauthorized,
  // Another token will do.
  token_expired: CLOSE.tokenExpired,
  token_key_unknown: CLOSE.tokenExpired,
  forbidden: CLOSE.forbidden,
  origin_not_allowed: CLOSE.forbidden,
  payload_too_large: CLOSE.tooBig,
  too_many_requests: CLOSE.rateLimited,
  rate_limited: CLOSE.rateLimited,
  quota_exceeded: CLOSE.rateLimited,
};

/** What ends a connection where it is none of these passes by itself. */
export function closeCodeOf({ code }: Problem): CloseCode {
  return BY_PROBLEM[code] ?? CLOSE.unavailable;
}
