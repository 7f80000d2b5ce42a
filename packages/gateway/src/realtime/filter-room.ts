/**
 * The filters of ephemeral subs: anybody with a token may bring some, so all of them share a bounded room, of which no app has more than a
 * quarter. Equal ones of an app are one.
 */
import type { CompiledFilter, RuleBounds } from '@millrace/core/filter';
import { Problem } from '@millrace/core/problem';
import type { Limits } from '../limits.ts';

/** What one may be: enough for what people write, and compiled in a millisecond. */
export const SUB_FILTER: RuleBounds = { combinations: 100, terms: 1_000 };
const APP_PART = 0.25;

export interface FilterRoom {
  /** Throws `too_many_requests` where there is no room. What is returned is used in the place of the given one, until `leave`. */
  enter(app: string, filter: CompiledFilter): { readonly filter: CompiledFilter; leave(): void };
}

interface Shared {
  readonly filter: CompiledFilter;
  users: number;
}

export function createFilterRoom({ filterTerms }: Pick<Limits, 'filterTerms'>): FilterRoom {
  const all = new Map<string, Shared>();
  const terms = new Map<string, number>();
  let sum = 0;

  function add(app: string, count: number): void {
    const now = (terms.get(app) ?? 0) + count;
    if (now === 0) terms.delete(app);
    else terms.set(app, now);
    sum += count;
  }

  function made(app: string, filter: CompiledFilter): Shared {
    if (sum + filter.terms > filterTerms || (terms.get(app) ?? 0) + filter.terms > filterTerms * APP_PART)
      throw new Problem('too_many_requests', 'there is no room for more filters of subs', {
        advice: 'Close subs that have filters, or filter where the events arrive.',
      });
    add(app, filter.terms);
    return { filter, users: 0 };
  }

  return {
    enter(app, filter) {
      const name = `${app}\n${filter.canonical}`;
      const shared = all.getOrInsertComputed(name, () => made(app, filter));
      shared.users++;
      let isIn = true;
      return {
        filter: shared.filter,
        leave() {
          if (!isIn) return;
          isIn = false;
          if (--shared.users > 0) return;
          all.delete(name);
          add(app, -shared.filter.terms);
        },
      };
    },
  };
}
