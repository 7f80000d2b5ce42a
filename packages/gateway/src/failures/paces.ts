/** How fast failures may be reported for one subscription: each costs reads of the ledger, and may be sent again and again by whoever has its token. */
import { Problem } from '@millrace/core/problem';
import type { Limits } from '../limits.ts';
import type { Clock } from '../ports/clock.ts';
import { type Bucket, createBucket } from '../quotas/bucket.ts';
import { BURST_S } from '../quotas/quotas.ts';

export interface Paces {
  /** Throws `too_many_requests`. */
  take(subscription: string): void;
}

/** Subscriptions whose pace is remembered: past it the one that was looked at first begins anew. */
const PACES_MAX = 1_000;

export function createPaces({ clock, limits }: { readonly clock: Clock; readonly limits: Limits }): Paces {
  const perSecond = limits.failedPerSecond;
  const buckets = new Map<string, Bucket>();

  return {
    take(subscription) {
      const bucket = buckets.getOrInsertComputed(subscription, () =>
        createBucket({ perSecond, burst: perSecond * BURST_S, clock }),
      );
      for (const [oldest] of buckets)
        if (buckets.size > PACES_MAX) buckets.delete(oldest);
        else break;
      const retryAfterMs = bucket.waitMs(1);
      if (retryAfterMs > 0)
        throw new Problem('too_many_requests', 'more failures are reported for this subscription than are taken', {
          retryAfterMs,
        });
      bucket.take(1);
    },
  };
}
