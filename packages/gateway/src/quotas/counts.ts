/** The arithmetic of what is counted: by days and months of UTC, and as sums. */
import type { Usage } from '../ports/directory.ts';

export interface Counts {
  /** Taken from buckets: asked for. */
  readonly publishes: number;
  readonly bytes: number;
  /** Stored. */
  readonly events: number;
}

/** Counted here, and not written down yet. */
export interface Pending {
  publishes: number;
  bytes: number;
  /** Stored, by day. */
  readonly days: Map<string, number>;
}

export const NO_COUNTS: Counts = { publishes: 0, bytes: 0, events: 0 };
const DAY_MS = 86_400_000;

export function nothing(): Pending {
  return { publishes: 0, bytes: 0, days: new Map() };
}

export function isEmpty({ publishes, bytes, days }: Pending): boolean {
  return publishes === 0 && bytes === 0 && days.size === 0;
}

export function addTo(pending: Pending, { publishes, bytes, days }: Pending): void {
  pending.publishes += publishes;
  pending.bytes += bytes;
  for (const [day, count] of days) pending.days.set(day, (pending.days.get(day) ?? 0) + count);
}

/** A later day begins at nothing; what is of an earlier one than the last is only part of the sum. */
export function sum(before: Usage | undefined, { publishes, bytes, days }: Pending, nowMs: number): Usage {
  const today = dayOf(nowMs);
  const first = { publishes: 0, bytes: 0, events: 0, day: today, dayEvents: 0, month: monthOf(today), monthEvents: 0, by: '' };
  let usage: Usage = before ?? first;
  usage = { ...usage, publishes: usage.publishes + publishes, bytes: usage.bytes + bytes };
  for (const [day, count] of [...days].toSorted(([one], [other]) => (one < other ? -1 : 1))) usage = withDay(usage, day, count);
  return usage;
}

function withDay(usage: Usage, day: string, count: number): Usage {
  const month = monthOf(day);
  return {
    ...usage,
    events: usage.events + count,
    ...(day < usage.day ? {} : { day, dayEvents: count + (day === usage.day ? usage.dayEvents : 0) }),
    ...(month < usage.month ? {} : { month, monthEvents: count + (month === usage.month ? usage.monthEvents : 0) }),
  };
}

export function difference(now: Counts, before: Counts): Counts {
  const of = (name: keyof Counts): number => Math.max(0, now[name] - before[name]);
  return { publishes: of('publishes'), bytes: of('bytes'), events: of('events') };
}

/** Asked for with every event, and nearly always the same as before. */
const asked = { number: -1, text: '' };

export function dayOf(ms: number): string {
  const number = Math.floor(ms / DAY_MS);
  if (number !== asked.number) Object.assign(asked, { number, text: new Date(ms).toISOString().slice(0, 10) });
  return asked.text;
}

export function monthOf(day: string): string {
  return day.slice(0, 7);
}
