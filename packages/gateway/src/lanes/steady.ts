/**
 * Wall time that never runs backwards: what due times are written in and compared with. Rows outlive the process, so they hold
 * wall time; by the wall clock itself, one that was set back by an hour would make every retry an hour late.
 */
import type { Clock } from '../ports/clock.ts';

export interface Steady {
  /** Whole ms since 1970, as stores keep them; ahead of the wall clock by as much as that was set back. */
  now(): number;
  /** It was this late already, in a process before: what the log has of it, its append times never running backwards either. */
  atLeast(timeMs: number): void;
}

export function createSteady({ now, monotonic }: Pick<Clock, 'now' | 'monotonic'>): Steady {
  let offsetMs = now() - monotonic();
  return {
    now() {
      const elapsedMs = monotonic();
      offsetMs = Math.max(offsetMs, now() - elapsedMs);
      // The monotonic clock has fractions.
      return Math.round(elapsedMs + offsetMs);
    },
    atLeast: (timeMs) => void (offsetMs = Math.max(offsetMs, timeMs - monotonic())),
  };
}
