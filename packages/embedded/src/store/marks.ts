/**
 * The places of one topic's events in few bytes: pairs of differences (offset, time) as variable-length numbers, seven
 * bits to a byte, the lowest first; the highest bit says that more follow. About three bytes per event.
 */
import type { Marks } from './shelf.ts';

export function encodeMarks({ offsets, times }: Marks): Uint8Array {
  // 14: two numbers below 2^49.
  const bytes = new Uint8Array(offsets.length * 14);
  let at = 0;
  let [offset, timeMs] = [0, 0];
  const put = (value: number): void => {
    let rest = value;
    for (; rest >= 128; rest = Math.floor(rest / 128)) bytes[at++] = (rest % 128) + 128;
    bytes[at++] = rest;
  };
  for (let i = 0; i < offsets.length; i++) {
    put(offsets[i]! - offset);
    put(times[i]! - timeMs);
    [offset, timeMs] = [offsets[i]!, times[i]!];
  }
  return bytes.slice(0, at);
}

export function decodeMarks(bytes: Uint8Array): Marks {
  const offsets: number[] = [];
  const times: number[] = [];
  let at = 0;
  let [offset, timeMs] = [0, 0];
  const take = (): number => {
    let value = 0;
    for (let unit = 1; ; unit *= 128) {
      const byte = bytes[at++];
      if (byte === undefined) throw new RangeError('marks are cut short');
      value += (byte % 128) * unit;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    offset += take();
    timeMs += take();
    offsets.push(offset);
    times.push(timeMs);
  }
  return { offsets, times };
}
