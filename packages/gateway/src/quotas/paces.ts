/** How fast something may come of each of many: what costs us something, and can be sent again and again by whoever may send it once. */
import { Problem } from '@millrace/core/problem';
import type { Clock } from '../ports/clock.ts';
import { type Bucket, createBucket } from './bucket.ts';
import { BURST_S } from './quotas.ts';

export interface Paces {
  /** Throws `too_many_requests`. */
  take(of: string): void;
}

/** Of so many the pace is remembered: past it the one that was looked at first begins anew. */
const PACES_MAX = 1_000;

interface Needs {
  readonly clock: Clock;
  readonly perSecond: number;
  /** Said to whoever is too fast. */
  readonly refusal: string;
}

export function createPaces({ clock, perSecond, refusal }: Needs): Paces {
  const buckets = new Map<string, Bucket>();

  return {
    take(of) {
      const bucket = buckets.getOrInsertComputed(of, () => createBucket({ perSecond, burst: perSecond * BURST_S, clock }));
      for (const [oldest] of buckets)
        if (buckets.size > PACES_MAX) buckets.delete(oldest);
        else break;
      const retryAfterMs = bucket.waitMs(1);
      if (retryAfterMs > 0) throw new Problem('too_many_requests', refusal, { retryAfterMs });
      bucket.take(1);
    },
  };
}
