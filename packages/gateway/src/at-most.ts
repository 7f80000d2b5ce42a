/** A wait with an end. */
import type { Clock } from './ports/clock.ts';

/** Resolves when `work` does, or after `ms`: what it still does goes on. Rejects as `work` does within that time. */
export async function atMost(clock: Pick<Clock, 'after'>, ms: number, work: Promise<unknown>): Promise<void> {
  const over = Promise.withResolvers<void>();
  const timer = clock.after(ms, over.resolve);
  try {
    await Promise.race([work, over.promise]);
  } finally {
    timer.cancel();
  }
}
