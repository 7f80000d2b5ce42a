/** What a receiver has seen since it was told what to expect. */
import { percentile } from './figure.ts';
import { machineMs, readStamp } from './stamp.ts';

export interface Expected {
  /** Requests; with `copies`, events. */
  readonly count: number;
  /** Payloads have stamps (stamp.ts), and each event arrives that often. */
  readonly copies?: number;
}

export interface Arrived {
  readonly requests: number;
  readonly bytes: number;
  /** With `copies`: from the time in the stamp to the arrival of every copy, and to that of an event's last copy. */
  readonly each?: Latencies;
  readonly last?: Latencies;
  /** Copies too many. */
  readonly duplicates: number;
}

export interface Latencies {
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

export interface Arrivals {
  /** A request with the body from `head` to `whole`. What arrived, once everything that was expected is there. */
  take(request: Buffer, head: number, whole: number): Arrived | undefined;
}

export function createArrivals({ count, copies }: Expected): Arrivals {
  let requests = 0;
  let bytes = 0;
  let missing = count;
  const seen = new Uint16Array(copies === undefined ? 0 : count);
  const each: number[] = [];
  const last: number[] = [];

  function note(request: Buffer, head: number): void {
    const { sentMs, n } = readStamp(request, head);
    const ms = machineMs() - sentMs;
    each.push(ms);
    if (++seen[n]! !== copies) return;
    last.push(ms);
    missing--;
  }

  return {
    take(request, head, whole) {
      if (missing === 0) return undefined;
      requests++;
      bytes += whole;
      if (copies === undefined) missing--;
      else note(request, head);
      if (missing > 0) return undefined;
      const arrived = { requests, bytes, duplicates: copies === undefined ? 0 : requests - count * copies };
      return copies === undefined ? arrived : { ...arrived, each: latenciesOf(each), last: latenciesOf(last) };
    },
  };
}

function latenciesOf(all: readonly number[]): Latencies {
  const sorted = [0.5, 0.95, 0.99, 1].map((share) => percentile(all, share));
  const [p50Ms = 0, p95Ms = 0, p99Ms = 0, maxMs = 0] = sorted;
  return { p50Ms, p95Ms, p99Ms, maxMs };
}
