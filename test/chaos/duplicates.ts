/**
 * What was accepted more than once, by the life of the gateway that had it accepted before: its end is the reason. Where
 * nothing ended there is no reason. After a kill there are as many as were in flight, and as were heard and not written down.
 */
import { LIMITS } from '@millrace/gateway/limits';
import type { Book, Life } from './book.ts';
import { concurrencyOf } from './subscriptions.ts';

export interface Allowed {
  /** Accepted again within one life, each time it was stopped for longer than a delivery may take. */
  readonly perStop: number;
  /** 1 without. What none of them could write down while their store was away, all of them repeat. */
  readonly nodes?: number;
}

/** By number of the life. */
export function duplicatesByLife({ arrivals }: Book): Map<number, number> {
  const counts = new Map<number, number>();
  for (const list of arrivals.values()) {
    const lastLife = new Map<string, number>();
    for (const { event, life, accepted } of list) {
      if (!accepted) continue;
      const before = lastLife.get(event.id);
      if (before !== undefined) counts.set(before, (counts.get(before) ?? 0) + 1);
      lastLife.set(event.id, life);
    }
  }
  return counts;
}

export function duplicateBreaches(book: Book, allowed: Allowed): string[] {
  const byLife = duplicatesByLife(book);
  const tooMany = book.lives.flatMap((life) => {
    const count = byLife.get(life.n) ?? 0;
    const most = mostAfter(life, book, allowed) + life.stops * allowed.perStop;
    return count > most ? [`${count} duplicates of life ${life.n}, which ended by ${life.end}: at most ${most} are due`] : [];
  });
  return [...tooMany, ...withinLife(book)];
}

/** A clean stop commits everything. */
function mostAfter({ end, storeAway }: Life, { specs }: Book, { nodes = 1 }: Allowed): number {
  if (end !== 'kill') return 0;
  return (concurrencyOf(specs) + LIMITS.unrecorded) * (storeAway ? nodes : 1);
}

/** Sent again by the very process that had its acceptance: told singly, as there is no bound but the stops, and what a store that was away did not take. */
function withinLife({ arrivals, lives }: Book): string[] {
  const stopped = new Set(lives.filter(({ stops, storeAway }) => stops > 0 || storeAway).map(({ n }) => n));
  const breaches: string[] = [];
  for (const [subscription, list] of arrivals) {
    const acceptedIn = new Map<string, number>();
    for (const { event, life, accepted } of list) {
      if (acceptedIn.get(event.id) === life && !stopped.has(life))
        breaches.push(`${subscription} accepted ${event.id} in life ${life} and got it again in the same life`);
      if (accepted) acceptedIn.set(event.id, life);
    }
  }
  return breaches;
}
