/**
 * What one pull is answered with: messages up to a bound, and when it has waited for them long enough. It is over a turn after the first one
 * came, so that what comes with it is in; or when the time is over and what is there was looked at.
 */
import type { Clock } from '../ports/clock.ts';

export interface Gathering {
  readonly frames: readonly Buffer[];
  /** Whether another one may be added. The first one always may, so that what is large is not asked for in vain for ever. */
  readonly hasRoom: boolean;
  add(frame: Buffer): void;
  /** All that is there was looked at. */
  looked(): void;
  /** Nothing more is waited for; in a turn of its own. */
  stop(): void;
  readonly isOver: boolean;
  readonly over: Promise<void>;
  /** What was gathered is of no use. */
  clear(): void;
}

interface Needs {
  readonly clock: Clock;
  readonly waitMs: number;
  readonly maxBytes: number;
  /** Of all pulls together. False where there is none. */
  readonly hold: (bytes: number) => boolean;
  /** Nothing is to be waited for any more. */
  readonly ended: AbortSignal;
}

/** How much longer it is waited for the log, where it is not known yet whether something is there. */
const READ_MS = 10_000;

export function createGathering({ clock, waitMs, maxBytes, hold, ended }: Needs): Gathering {
  const over = Promise.withResolvers<void>();
  let frames: Buffer[] = [];
  let bytes = 0;
  let isFull = false;
  let isLate = false;
  let hasLooked = false;
  let isOver = false;
  let isStopping = false;

  function finish(): void {
    isOver = true;
    waiting.cancel();
    looking.cancel();
    ended.removeEventListener('abort', finish);
    over.resolve();
  }
  function late(): void {
    isLate = true;
    if (hasLooked) finish();
  }
  function stop(): void {
    if (isStopping) return;
    isStopping = true;
    clock.after(0, finish);
  }
  const waiting = clock.after(waitMs, late);
  const looking = clock.after(waitMs + READ_MS, finish);
  ended.addEventListener('abort', finish);
  if (ended.aborted) finish();

  return {
    get frames() {
      return frames;
    },
    get hasRoom() {
      return !isOver && !isFull;
    },
    get isOver() {
      return isOver;
    },
    over: over.promise,
    add(frame) {
      frames.push(frame);
      bytes += frame.length;
      isFull = !hold(frame.length) || bytes >= maxBytes;
      stop();
    },
    looked() {
      hasLooked = true;
      if (isLate) finish();
    },
    stop,
    clear: () => void (frames = []),
  };
}
