/**
 * Cursors of ephemeral subs, as text that clients keep: which part of the log, where in it, and when that was. The part goes up to the
 * last colon, so that a client can tell cursors of several parts apart without knowing anything else about them.
 */
import type { Mark, Position } from '../ports/log.ts';

export interface PartCursor extends Mark {
  /** Identity of the log. */
  readonly log: string;
  readonly shard: string;
}

const RADIX = 36;
const CURSOR = /^([^/]{1,64})\/(.*):([^:@]{0,64})@([0-9a-z]{1,11})$/s;
/** What a driver gives out as a position; others never see a driver. */
const PRINTABLE = /^[\x20-\x7e]*$/;
/** The last moment that a Date knows. */
const TIME_MS_MAX = 8.64e15;

/** The beginning of each cursor of a part. */
export function partOf(log: string, shard: string): string {
  return `${escaped(log)}/${escaped(shard)}:`;
}

export function cursorText(part: string, { position, timeMs }: { readonly position: Position; readonly timeMs: number }): string {
  return `${part}${escaped(position)}@${Math.max(0, Math.round(timeMs)).toString(RADIX)}`;
}

/** Undefined for what is none. */
export function readCursor(text: string): PartCursor | undefined {
  const [, log, shard, position, time] = CURSOR.exec(text) ?? [];
  if (log === undefined || shard === undefined || position === undefined || time === undefined) return undefined;
  try {
    const [ownLog, ownShard, ownPosition] = [log, shard, position].map(decodeURIComponent) as [string, string, string];
    const timeMs = Number.parseInt(time, RADIX);
    if (!PRINTABLE.test(ownPosition) || timeMs > TIME_MS_MAX) return undefined;
    return { log: ownLog, shard: ownShard, position: ownPosition, timeMs };
  } catch {
    return undefined; // an escape that stands for nothing
  }
}

/** Names of logs and shards, and positions, may have any printable character; here `/`, `:` and `@` divide. */
function escaped(text: string): string {
  return /^[\w.-]*$/.test(text) ? text : encodeURIComponent(text);
}
