/**
 * Durations as a person writes them: `500ms`, `5s`, `5m`, `2h`, `1d`, or a number of milliseconds.
 */
import { Problem, type ProblemCode } from './problem.ts';

const UNITS_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const DURATION = /^(\d{1,15}(?:\.\d{1,6})?)(ms|s|m|h|d)$/;

/** Whole milliseconds, or undefined where `value` is no duration: negative, not finite, another unit, above 2^53 - 1 ms. */
export function readDurationMs(value: unknown): number | undefined {
  const ms = typeof value === 'string' ? fromText(value) : value;
  if (typeof ms !== 'number' || !(ms >= 0)) return undefined;
  const whole = Math.round(ms);
  return Number.isSafeInteger(whole) ? whole : undefined;
}

/** As readDurationMs, but throws a Problem with `code` and `pointer` where `value` is no duration or above `maxMs`. */
export function parseDurationMs(
  value: unknown,
  bounds: { readonly maxMs: number; readonly code?: ProblemCode; readonly pointer?: string },
): number {
  const { maxMs, code = 'invalid_request', ...where } = bounds;
  const ms = readDurationMs(value);
  if (ms === undefined)
    throw new Problem(code, `${show(value)} is not a duration; write 500ms, 5s, 5m, 2h, 1d or milliseconds`, where);
  if (ms > maxMs) throw new Problem(code, `${show(value)} is longer than ${formatDuration(maxMs)}`, where);
  return ms;
}

/** The shortest whole writing that parses back to the same: 300000 is `5m`. */
export function formatDuration(ms: number): string {
  const unit = Object.entries(UNITS_MS).findLast(([, size]) => ms >= size && ms % size === 0);
  return unit === undefined ? `${ms}ms` : `${ms / unit[1]}${unit[0]}`;
}

function fromText(text: string): number | undefined {
  const [, digits, unit] = DURATION.exec(text) ?? [];
  return digits === undefined || unit === undefined ? undefined : Number(digits) * (UNITS_MS[unit] ?? Number.NaN);
}

function show(value: unknown): string {
  return typeof value === 'string'
    ? `'${value.slice(0, 40)}'`
    : typeof value === 'number'
      ? String(value)
      : `a value of type ${typeof value}`;
}
