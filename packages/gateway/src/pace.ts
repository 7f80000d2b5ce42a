/**
 * Pace: while events of interactive topics come in, whatever has much to do does it in short steps and lets the event loop
 * turn between them: what is urgent then waits behind a step and not behind a flood. At all other times nobody holds back.
 */
import { createDeque } from './deque.ts';
import type { Limits } from './limits.ts';
import type { Clock } from './ports/clock.ts';

export interface Pace {
  /** An event of an interactive topic came in or goes out. */
  hurry(): void;
  /** There was one within the last limits.hurryMs. */
  readonly isHurried: boolean;
  /** Calls `step` in the next turn of the event loop. */
  nextTurn(step: () => void): void;
  readonly ownTurn: OwnTurn;
}

/** Resolves in a turn of the event loop that is nobody else's who waits here: in the order of the calls. */
export type OwnTurn = () => Promise<void>;

export function createPace({ clock, limits }: { readonly clock: Clock; readonly limits: Limits }): Pace {
  let lastMs = Number.NEGATIVE_INFINITY;

  return {
    hurry: () => void (lastMs = clock.monotonic()),
    get isHurried() {
      return clock.monotonic() - lastMs < limits.hurryMs;
    },
    nextTurn: (step) => void clock.after(0, step),
    ownTurn: createOwnTurns(clock),
  };
}

export function createOwnTurns(clock: Clock): OwnTurn {
  const waiting = createDeque<() => void>();

  function nextInLine(): void {
    waiting.shift()?.();
    if (waiting.size > 0) clock.after(0, nextInLine);
  }

  return () => {
    if (waiting.size === 0) clock.after(0, nextInLine);
    return new Promise((resolve) => waiting.push(resolve));
  };
}
