/**
 * How long an endpoint has failed without one success in between: what may disable its subscription. Made up of the gaps
 * between failures, so that it survives restarts and a clock that jumps, and a subscription nothing was sent to for days is
 * not taken for one that failed for days.
 */
import type { Clock } from '../ports/clock.ts';
import type { Failing as Kept } from '../ports/directory.ts';

export interface Failing {
  /** Ms from the first failure to the last one. */
  readonly spanMs: number;
  /** What the directory kept of it before the restart. */
  restore(kept: Kept): void;
  /** A request failed. `ours`: when the fault is this node's own network, its time does not count. */
  failed(ours: boolean): void;
  succeeded(): void;
}

interface Needs {
  readonly clock: Clock;
  /** What is to be written down; undefined: it may be forgotten. Called about once an hour while it fails, and when that ends. */
  readonly keep: (kept: Kept | undefined) => void;
}

/** Longer silence between two failures says nothing of the time between them. The default schedule's longest step is a day. */
const SILENCE_MS = 2 * 86_400_000;
const KEEP_MS = 3_600_000;

export function createFailing({ clock, keep }: Needs): Failing {
  let spanMs = 0;
  /** Of the last failure, monotonic; undefined while nothing fails. */
  let lastMs: number | undefined;
  let keptSpanMs = 0;

  return {
    get spanMs() {
      return spanMs;
    },
    restore(kept) {
      spanMs = keptSpanMs = kept.spanMs;
      // Wall time is all there is across a restart; set back, it counts as no time at all.
      lastMs = clock.monotonic() - Math.max(0, clock.now() - kept.lastMs);
    },
    failed(ours) {
      const nowMs = clock.monotonic();
      const gapMs = nowMs - (lastMs ?? nowMs);
      lastMs = nowMs;
      if (gapMs > SILENCE_MS) spanMs = 0;
      else if (!ours) spanMs += gapMs;
      if (Math.abs(spanMs - keptSpanMs) < KEEP_MS) return;
      keptSpanMs = spanMs;
      keep({ spanMs, lastMs: clock.now() });
    },
    succeeded() {
      if (lastMs === undefined) return;
      lastMs = undefined;
      spanMs = 0;
      if (keptSpanMs > 0) keep(undefined);
      keptSpanMs = 0;
    },
  };
}
