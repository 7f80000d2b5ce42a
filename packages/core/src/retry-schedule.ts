/**
 * When a failed delivery is tried again: a list of delays, one per retry, each spread by a jitter so that deliveries
 * which failed together do not come back together. The first attempt is made at once and has no entry: a schedule of
 * nine delays makes ten attempts.
 */
import { parseDurationMs } from './duration.ts';
import { Problem } from './problem.ts';

export const SCHEDULE_STEPS_MAX = 32;
const DAY_MS = 86_400_000;
/** Of one delay, and of what a receiver may ask for by Retry-After. */
export const DELAY_MS_MAX = 30 * DAY_MS;
/** Of all delays together, before jitter. */
export const SCHEDULE_MS_MAX = 90 * DAY_MS;

/** About three days and three hours in ten attempts (design.md, section 5). */
export const DEFAULT_SCHEDULE: readonly string[] = ['5s', '5m', '30m', '2h', '5h', '10h', '14h', '20h', '24h'];
export const DEFAULT_JITTER = 0.2;

export interface RetrySchedule {
  readonly scheduleMs: readonly number[];
  /** 0 to 1: a delay of d is drawn from d × (1 - jitter) to d × (1 + jitter). */
  readonly jitter: number;
}

/**
 * Delays in whole ms out of what a person wrote (duration.ts says how); what is left out is the default. An empty
 * schedule means no retries. Throws `invalid_schedule` with a pointer below `pointer`: more than 32 steps, a delay above
 * 30 days, more than 90 days in all, a jitter outside 0 to 1.
 */
export function compileSchedule(
  retry: { readonly schedule?: unknown; readonly jitter?: unknown } = {},
  pointer = '',
): RetrySchedule {
  const { schedule = DEFAULT_SCHEDULE, jitter = DEFAULT_JITTER } = retry;
  const refused = (message: string, member: string) =>
    new Problem('invalid_schedule', message, { pointer: `${pointer}/${member}` });
  if (!Array.isArray(schedule)) throw refused('the schedule is a list of durations', 'schedule');
  if (schedule.length > SCHEDULE_STEPS_MAX)
    throw refused(`the schedule has at most ${SCHEDULE_STEPS_MAX} steps, this one ${schedule.length}`, 'schedule');
  if (typeof jitter !== 'number' || !(jitter >= 0 && jitter <= 1)) throw refused('the jitter is a number from 0 to 1', 'jitter');
  const scheduleMs = Array.from(schedule, (step: unknown, at) =>
    parseDurationMs(step, { maxMs: DELAY_MS_MAX, code: 'invalid_schedule', pointer: `${pointer}/schedule/${at}` }),
  );
  if (scheduleMs.reduce((sum, ms) => sum + ms, 0) > SCHEDULE_MS_MAX)
    throw refused('the schedule spans at most 90 days', 'schedule');
  return { scheduleMs, jitter };
}

export interface RetryQuestion extends RetrySchedule {
  /** Attempts made so far, at least 1. */
  readonly attempt: number;
  /** In [0, 1). */
  readonly random: number;
  /** What the receiver asked for. */
  readonly retryAfterMs?: number;
}

/**
 * Ms until the next attempt, or undefined when the schedule is used up. A receiver's Retry-After makes the wait longer,
 * never shorter, and by no more than 30 days; it buys no extra attempt.
 */
export function nextDelayMs(question: RetryQuestion): number | undefined {
  const { scheduleMs, jitter, attempt, random, retryAfterMs = 0 } = question;
  const delayMs = scheduleMs[attempt - 1];
  if (delayMs === undefined) return undefined;
  const spreadMs = Math.round(delayMs * (1 + jitter * (2 * random - 1)));
  return Math.min(Math.max(spreadMs, retryAfterMs), Math.max(spreadMs, DELAY_MS_MAX));
}

/** IMF-fixdate, and the two obsolete forms a recipient must also read. */
const HTTP_DATE =
  /^(?:[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT|[A-Z][a-z]{5,8}, \d{2}-[A-Z][a-z]{2}-\d{2} \d{2}:\d{2}:\d{2} GMT|[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d{2}:\d{2}:\d{2} \d{4})$/;

/**
 * A Retry-After value (RFC 9110, section 10.2.3: seconds or an HTTP-date) as ms from `nowMs`, at most 30 days; a date that
 * has passed is 0. Nonsense is undefined, as if the header were absent.
 */
export function parseRetryAfter(value: string | null | undefined, nowMs: number): number | undefined {
  const text = value?.trim() ?? '';
  if (/^\d+$/.test(text)) return Math.min(Number(text) * 1000, DELAY_MS_MAX);
  if (!HTTP_DATE.test(text)) return undefined;
  // asctime dates name no zone; they are UTC like the others.
  const whenMs = Date.parse(text.endsWith('GMT') ? text : `${text} GMT`);
  return Number.isNaN(whenMs) ? undefined : Math.min(Math.max(whenMs - nowMs, 0), DELAY_MS_MAX);
}
