/** When a worker that ended by an error is started again, and when not any more. */
import type { Clock, Timer } from '../ports/clock.ts';
import { StartRefused } from '../refused.ts';

/** Doubled with every failure in a row, up to half a minute. */
export const AGAIN_MS = 500;
const AGAIN_MS_MAX = 30_000;
/** One that ran for so long has not failed in a row. */
export const STEADY_MS = 60_000;
/** In a row; it takes a minute and a half to get there. */
export const FAILURES_MAX = 8;

export interface Restarts {
  /** It ran for `ranMs`. `start` is called when it is time. */
  ended(worker: number, how: { readonly error: Error; readonly ranMs: number; readonly start: () => void }): void;
  /** Nothing is started any more. */
  stop(): void;
}

interface Needs {
  readonly clock: Clock;
  readonly onAgain: (ended: { readonly worker: number; readonly error: Error; readonly againMs: number }) => void;
  readonly onGivenUp: (error: Error) => void;
}

export function createRestarts({ clock, onAgain, onGivenUp }: Needs): Restarts {
  const failures = new Map<number, number>();
  const timers = new Set<Timer>();

  return {
    ended(worker, { error, ranMs, start }) {
      const count = ranMs >= STEADY_MS ? 1 : (failures.get(worker) ?? 0) + 1;
      failures.set(worker, count);
      if (count > FAILURES_MAX) return onGivenUp(givenUp(worker, count, error));
      const againMs = Math.min(AGAIN_MS * 2 ** (count - 1), AGAIN_MS_MAX);
      onAgain({ worker, error, againMs });
      const timer = clock.after(againMs, () => {
        timers.delete(timer);
        start();
      });
      timers.add(timer);
    },
    stop() {
      for (const timer of timers) timer.cancel();
      timers.clear();
    },
  };
}

function givenUp(worker: number, count: number, error: Error): Error {
  return new StartRefused(
    `worker ${worker} ended ${count} times in a row: ${error.message}`,
    'What ended it each time was said before. Start again when that is repaired.',
  );
}
