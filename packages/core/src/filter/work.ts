/**
 * What asking a filter about one event may cost, counted and never timed: the same event gets the same answer on a slow
 * machine, under load and after a restart.
 */

/**
 * One step is a look at one value, at about 20 ns, so this is at most some 60 ms in which the process does nothing else.
 * Ample for what people write: a thousand combinations over an event of a hundred fields take less than a tenth of it,
 * five fields of each of ten thousand elements likewise.
 */
export const STEPS_MAX = 3_000_000;

export interface Work {
  /** Steps that may still be taken. */
  left: number;
}

/** For what was written in a filter, which has bounds of its own. */
export const UNBOUNDED: Work = { left: Infinity };

/** Thrown when they are used up, and caught where the filter was asked. Always this one: a trace would cost more than the work. */
export const EXHAUSTED = new Error('the filter takes too many steps');

export function spend(work: Work, steps: number): void {
  if ((work.left -= steps) < 0) throw EXHAUSTED;
}
