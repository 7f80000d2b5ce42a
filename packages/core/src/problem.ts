/**
 * Problems: everything that is refused or fails, with one stable code each. The list below is the only place that maps
 * a code to an HTTP status (RFC 9457).
 */
import { ADVICE } from './problem-advice.ts';

/** code → [HTTP status, title]. Codes are promises: never renamed, only added. */
export const PROBLEMS = {
  // what was sent
  invalid_json: [400, 'The body is not valid JSON'],
  invalid_request: [400, 'The request does not have the expected shape'],
  invalid_event: [400, 'The event is not a valid CloudEvent'],
  invalid_topic: [400, 'The topic name or pattern is not valid'],
  invalid_filter: [400, 'The filter is not valid'],
  invalid_schedule: [400, 'The retry schedule is not valid'],
  invalid_url: [400, 'The endpoint address is not valid'],
  invalid_secret: [400, 'The secret is not valid'],
  bad_frame: [400, 'The frame is not valid'],
  unsupported_op: [400, 'The frame has an op that is not known here'],
  unknown_delivery: [404, 'The delivery is not out with a consumer'],
  credit_overflow: [400, 'More messages would be outstanding than may be'],
  not_available_yet: [400, 'This is planned and not available yet'],
  unauthorized: [401, 'A valid key is needed'],
  token_expired: [401, 'The token has expired'],
  token_key_unknown: [401, 'The token was signed with a key that does not count'],
  token_revoked: [401, 'The token was revoked'],
  token_audience: [401, 'The token is for another audience'],
  forbidden: [403, 'The key does not allow this'],
  origin_not_allowed: [403, 'Pages of this origin may not call'],
  not_found: [404, 'What was named is not there'],
  unknown_topic: [404, 'The topic is not declared'],
  method_not_allowed: [405, 'The address does not take this method'],
  request_timeout: [408, 'The request took too long to arrive'],
  already_exists: [409, 'There is one with this id already'],
  conflict: [409, 'What is there does not allow this now'],
  in_flight: [409, 'It is being worked on just now'],
  not_redrivable: [409, 'This dead letter holds no event to send'],
  stale_epoch: [409, 'Another node has taken it over'],
  migration_conflict: [409, 'What is there does not allow to move the log'],
  version_mismatch: [412, 'It is not at the version that was asked for'],
  payload_too_large: [413, 'It is larger than what is taken here'],
  unsupported_media_type: [415, 'The body is of a kind that is not taken here'],
  idempotency_key_reused: [422, 'The idempotency key was used for other content'],
  too_many_requests: [429, 'Too many requests'],
  rate_limited: [429, 'The app sends faster than its quota'],
  quota_exceeded: [429, 'A quota of the app is used up'],
  headers_too_large: [431, 'The headers are too large'],
  // what we can't do now
  internal_error: [500, 'Something went wrong on our side'],
  log_unsuitable: [500, 'What was named as the log can not be one as it is set up'],
  log_unavailable: [503, 'The log can not be reached now'],
  ledger_unavailable: [503, 'The ledger can not be reached now'],
  shutting_down: [503, 'The gateway is shutting down'],
  moving: [503, 'It is being moved to another node'],
  overloaded: [503, 'The gateway has as much work as it can hold'],
  log_full: [507, 'There is no space left for events'],
  ledger_full: [507, 'There is no space left for the record of deliveries'],
  migration_mismatch: [500, 'What was moved is not what was there'],
  // start
  data_directory_locked: [500, 'Another process uses the data directory'],
  data_directory_damaged: [500, 'The data directory can not be read'],
  data_directory_newer: [500, 'The data directory was written by a newer version'],
  schema_newer: [500, 'The schema of the store was made by a newer version'],
} as const satisfies Record<string, readonly [number, string]>;

export type ProblemCode = keyof typeof PROBLEMS;

export interface ProblemDetails {
  /** JSON pointer (RFC 6901) to the member at fault. */
  readonly pointer?: string;
  /** What to do about it, one sentence: where more can be said than holds for all of its code. */
  readonly advice?: string;
  readonly retryAfterMs?: number;
  readonly cause?: unknown;
}

/** The one error class for what is expected to go wrong. `message` is fit for a client: what and why. */
export class Problem extends Error {
  readonly code: ProblemCode;
  readonly pointer: string | undefined;
  readonly advice: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(code: ProblemCode, message: string, details: ProblemDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'Problem';
    this.code = code;
    this.pointer = details.pointer;
    this.advice = details.advice;
    this.retryAfterMs = details.retryAfterMs;
  }

  get status(): number {
    return PROBLEMS[this.code][0];
  }

  /** What to do about it: its own advice, else that of its code. */
  get toDo(): string {
    return this.advice ?? ADVICE[this.code];
  }

  /** The RFC 9457 body (`application/problem+json`). */
  toJSON(): Record<string, unknown> {
    return {
      type: `https://millrace.dev/problems/${this.code}`,
      title: PROBLEMS[this.code][1],
      status: this.status,
      code: this.code,
      detail: this.message,
      ...(this.pointer === undefined ? {} : { pointer: this.pointer }),
      advice: this.toDo,
    };
  }
}
