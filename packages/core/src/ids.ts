/** Ids that sort by the time they were made: `evt_` and 26 characters out of `2-7 a-z`, as compact as a ULID. */
import { sortableBase32 } from './base32.ts';

/**
 * `prefix`, `_`, and 48 bits of time with 80 random bits as 26 characters. Ids of one millisecond sort by chance.
 * `random` gives that many unguessable bytes. Throws a RangeError for a time before 1970 or after the year 10889.
 */
export function newId(prefix: string, nowMs: number, random: (count: number) => Uint8Array): string {
  if (!(nowMs >= 0 && nowMs < 2 ** 48)) throw new RangeError(`${nowMs} is no time that an id can hold`);
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, Math.floor(nowMs / 2 ** 32));
  view.setUint32(2, Math.floor(nowMs) % 2 ** 32);
  bytes.set(random(10), 6);
  return `${prefix}_${sortableBase32(bytes)}`;
}
