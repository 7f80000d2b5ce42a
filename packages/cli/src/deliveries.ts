/** Deliveries as the API tells them, and the newest over all subscriptions. */
import type { Client } from './client.ts';
import { EXIT } from './exit-codes.ts';
import { ofEach } from './health.ts';
import { eachOf, type List, type ListOptions, PAGE_MAX } from './lists.ts';
import { cursorOf, placeIn } from './places.ts';
import { Refusal } from './refusal.ts';

export interface Attempt {
  readonly n: number;
  readonly startedAt: string;
  readonly durationMs: number;
  readonly outcome: string;
  readonly cause: string;
  readonly status: number;
  readonly snippet?: string;
}

export interface Delivery {
  readonly id: string;
  readonly subscription: string;
  /** As the receiver has it; absent once retention took the event. */
  readonly webhookId?: string;
  readonly event: { readonly id: string; readonly type: string };
  readonly outcome: string;
  readonly attempts: readonly Attempt[];
  readonly nextAttemptAt?: string;
}

/** All without these. */
export interface Wanted {
  readonly event?: string | undefined;
  readonly webhookId?: string | undefined;
  readonly outcome?: string | undefined;
}

export const DELIVERIES = 'GET /v1/deliveries';

/** Where a delivery stands in a list: by its last attempt. */
interface Moment {
  readonly at: string;
  readonly id: string;
}

const momentOf = ({ id, attempts }: Delivery): Moment => ({ at: attempts.at(-1)?.startedAt ?? '', id });

/** Above 0 where `a` stands after `b`: newest first. */
function order(a: Moment, b: Moment): number {
  if (a.at !== b.at) return a.at < b.at ? 1 : -1;
  return a.id === b.id ? 0 : a.id < b.id ? 1 : -1;
}

/**
 * The newest of all subscriptions that the key sees. Going on by its cursor reads each list from its beginning again: the
 * deeper, the longer. A delivery that was tried again meanwhile stands before it, as in a list of the API.
 */
export async function newestOfAll(client: Client, { limit, cursor }: ListOptions, wanted: Wanted): Promise<List<Delivery>> {
  const [at, id] = cursor === undefined ? [] : placeIn(cursor, 2);
  const after = typeof at === 'string' && typeof id === 'string' ? { at, id } : undefined;
  let best: Delivery[] = [];
  const take = (more: readonly Delivery[]): void => {
    // One more than is shown: it tells that there are more.
    best = [...best, ...more].toSorted((a, b) => order(momentOf(a), momentOf(b))).slice(0, limit + 1);
  };
  const isTooOld = (one: Delivery): boolean => best.length > limit && order(momentOf(one), momentOf(best[limit] as Delivery)) > 0;

  await ofEach(client, async (subscription) => {
    const found: Delivery[] = [];
    try {
      const query = { subscription, ...wanted };
      for await (const one of eachOf<Delivery>(client, DELIVERIES, query, Math.min(PAGE_MAX, limit + 1))) {
        if (isTooOld(one)) break;
        if (after === undefined || order(momentOf(one), after) > 0) found.push(one);
        if (found.length > limit) break;
      }
    } catch (error) {
      // Deleted since it was listed.
      if (!(error instanceof Refusal) || error.exit !== EXIT.notFound) throw error;
    }
    take(found);
  });
  const data = best.slice(0, limit);
  const last = data.at(-1);
  const next = last === undefined || best.length <= limit ? null : momentOf(last);
  return { data, next: next === null ? null : cursorOf([next.at, next.id]) };
}
