/** Times as people write them on a command line. */
import { readDurationMs } from '@millrace/core/duration';
import { misused } from './refusal.ts';

/** `latest`, `earliest`, a time (RFC 3339, or a date of it), or how long ago: `90s`, `15m`, `2h`, `7d`. Answers what the API takes. */
export function momentOf(text: string, { option, nowMs }: { readonly option: string; readonly nowMs: number }): string {
  if (text === 'latest' || text === 'earliest') return text;
  const agoMs = /^\d+(\.\d+)?[a-z]+$/.test(text) ? readDurationMs(text) : undefined;
  if (agoMs !== undefined) return new Date(nowMs - agoMs).toISOString();
  if (/^\d{4}-\d\d-\d\d$/.test(text) && !Number.isNaN(Date.parse(text))) return new Date(text).toISOString();
  if (/^\d{4}-\d\d-\d\d[Tt ]/.test(text) && !Number.isNaN(Date.parse(text))) return new Date(text).toISOString();
  throw misused(
    `${option} "${text.slice(0, 40)}" is no time`,
    'Write earliest, latest, how long ago (15m, 2h, 7d), or a time such as 2026-11-23T17:20:00Z.',
  );
}

/** As above, without the words: where something must have ended. */
export function timeOf(text: string, how: { readonly option: string; readonly nowMs: number }): string {
  if (text === 'latest' || text === 'earliest') throw misused(`${how.option} is a time, not "${text}"`);
  return momentOf(text, how);
}

/** A time to come: `30d` from now, or a time. */
export function laterOf(text: string, { option, nowMs }: { readonly option: string; readonly nowMs: number }): string {
  const inMs = /^\d+(\.\d+)?[a-z]+$/.test(text) ? readDurationMs(text) : undefined;
  return inMs === undefined ? timeOf(text, { option, nowMs }) : new Date(nowMs + inMs).toISOString();
}
