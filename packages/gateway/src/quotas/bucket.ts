/**
 * A token bucket: so many per second, and some at once where none were taken for a while. Exact: it counts in thousandths and in
 * whole milliseconds, so nothing is lost or won by rounding, however often it is asked.
 *
 * More than fit into it at once are let in where it is full, and put it into debt: a large batch waits its time, but it can come.
 */
import type { Clock } from '../ports/clock.ts';

export interface Bucket {
  /**
   * How long until so many could be taken, ms; 0 where they can be now. `held`: what the same caller has taken of it already for
   * the same thing, as if that was still in it.
   */
  waitMs(count: number, held?: number): number;
  /** Takes them, whether they are there or not. */
  take(count: number): void;
  /** Whole ones; 0 while it is in debt. */
  readonly left: number;
}

export function createBucket({
  perSecond,
  burst,
  clock,
}: {
  readonly perSecond: number;
  readonly burst: number;
  readonly clock: Clock;
}): Bucket {
  const most = burst * 1_000;
  /** In thousandths: per ms it grows by `perSecond` of them. */
  let level = most;
  let atMs = Math.floor(clock.monotonic());

  function refill(): void {
    const nowMs = Math.floor(clock.monotonic());
    level = Math.min(most, level + (nowMs - atMs) * perSecond);
    atMs = nowMs;
  }

  return {
    waitMs(count, held = 0) {
      refill();
      const needed = (Math.min(count + held, burst) - held) * 1_000;
      return Math.max(0, Math.ceil((needed - level) / perSecond));
    },
    take(count) {
      refill();
      level -= count * 1_000;
    },
    get left() {
      refill();
      return Math.max(0, Math.floor(level / 1_000));
    },
  };
}
