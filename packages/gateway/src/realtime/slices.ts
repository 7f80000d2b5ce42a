/**
 * Slices: what looks through many records for a consumer does so in steps that are counted, and lets the event loop turn between them.
 * In one turn all of them together have one slice; who has more to do waits for one of its own, the apps in turn: one that has thousands of
 * subs to catch up waits for itself.
 */
import type { Work } from '@millrace/core/filter';
import type { Clock } from '../ports/clock.ts';

/** Steps of a filter, of some 20 ns: about 5 ms. */
const SLICE_STEPS = 250_000;

export interface Slices {
  /** What may still be done in this turn of the event loop: at 0 it is time to wait. */
  now(): Work;
  /** Resolves in the turn that is this one's. */
  next(app: string): Promise<void>;
}

export function createSlices(clock: Clock): Slices {
  /** The apps in the order of their turns. Who waits does so once, so they are as many as there are subs and shards. */
  const waiting = new Map<string, (() => void)[]>();
  let slice: Work | undefined;

  function begin(): Work {
    clock.after(0, nextTurn);
    return (slice = { left: SLICE_STEPS });
  }

  function nextTurn(): void {
    slice = undefined;
    const [first] = waiting;
    if (first === undefined) return;
    const [app, [resolve, ...others]] = first;
    waiting.delete(app);
    // Behind the other apps.
    if (others.length > 0) waiting.set(app, others);
    begin();
    resolve?.();
  }

  return {
    now: () => slice ?? begin(),
    next(app) {
      // A turn is under way, or there would be something left of it.
      if (slice === undefined) begin();
      return new Promise((resolve) => waiting.getOrInsertComputed(app, () => []).push(resolve));
    },
  };
}
