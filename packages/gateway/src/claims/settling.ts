/**
 * What became of claims, on its way to the store. Nobody waits for it: the log says the same, and is asked where it is missing.
 * That is why what can't be written down may be dropped here.
 */
import { Problem } from '@millrace/core/problem';
import type { Clock, Timer } from '../ports/clock.ts';
import type { Claims, Outcome } from '../ports/claims.ts';

export interface Settling {
  /** `onDone`: it is written down, or given up. */
  add(outcome: Outcome, onDone: () => void): void;
  /** Resolves when nothing is left, or can be written down at the moment, or the store takes too long. */
  idle(): Promise<void>;
  /** Tries nothing any more. */
  stop(): void;
}

interface Waiting {
  readonly outcome: Outcome;
  readonly onDone: () => void;
}

/** As the port has it. */
const AT_ONCE = 4_096;
/** Some megabytes, a minute of a thousand keys a second: a store that is away for longer is asked less about them than the log. */
const WAITING_MAX = 65_536;
const AGAIN_MS = 500;
/** A store that hangs does not keep a process that wants to end. */
const IDLE_MS = 5_000;

export function createSettling({ claims, clock }: { readonly claims: Claims; readonly clock: Clock }): Settling {
  let queue: Waiting[] = [];
  let working: Promise<void> | undefined;
  let resting: Timer | undefined;
  let isStopped = false;

  async function work(): Promise<void> {
    await Promise.resolve();
    while (queue.length > 0 && !isStopped) {
      const group = queue.slice(0, AT_ONCE);
      try {
        await claims.settle(group.map(({ outcome }) => outcome));
      } catch (error) {
        // What no repeat would mend must not stand in the way of all that come after it.
        if (isPassing(error)) return rest();
      }
      queue = queue.slice(group.length);
      for (const { onDone } of group) onDone();
    }
  }

  function rest(): void {
    if (isStopped) return;
    resting = clock.after(AGAIN_MS, () => {
      resting = undefined;
      start();
    });
  }

  function start(): void {
    if (queue.length === 0 || resting !== undefined || isStopped) return;
    working ??= work().finally(() => {
      working = undefined;
      start();
    });
  }

  return {
    add(outcome, onDone) {
      if (queue.length >= WAITING_MAX) return onDone();
      queue.push({ outcome, onDone });
      start();
    },
    async idle() {
      const tooLong = Promise.withResolvers<void>();
      let isLate = false;
      const timer = clock.after(IDLE_MS, () => {
        isLate = true;
        tooLong.resolve();
      });
      while (working !== undefined && !isLate) await Promise.race([working, tooLong.promise]);
      timer.cancel();
    },
    stop() {
      isStopped = true;
      resting?.cancel();
    },
  };
}

function isPassing(error: unknown): boolean {
  return error instanceof Problem && (error.code === 'ledger_unavailable' || error.code === 'ledger_full');
}
