/**
 * How much each slot of a node has to do: deliveries begun in a second. They are counted where a delivery takes its place anyway
 * (lanes/turns.ts); here the counters are read once in a round, and older readings count less and less.
 *
 * A slot that was just taken first catches up with what came while nobody worked it: its first reading is no measure of it.
 */
import { SLOTS } from '../lanes/subscriber.ts';
import type { Clock } from '../ports/clock.ts';

export interface Meter {
  /** Reads the counters. */
  read(): void;
  /** What was measured of these when they were here before is forgotten; they are measured from the reading after `ms` on. */
  begin(slots: Iterable<number>, ms: number): void;
  /** Deliveries begun in a second; 0 where nothing is measured yet. */
  rateOf(slot: number): number;
}

interface Needs {
  readonly clock: Pick<Clock, 'monotonic'>;
  /** Deliveries of the slot begun since the process started. */
  readonly started: (slot: number) => number;
}

/** After so long a reading counts a third: bursts of some seconds must not move slots, and a new load should within minutes. */
const WINDOW_MS = 60_000;

export function createMeter({ clock, started }: Needs): Meter {
  const before = new Float64Array(SLOTS);
  const begun = new Float64Array(SLOTS);
  const seconds = new Float64Array(SLOTS);
  const fromMs = new Float64Array(SLOTS).fill(-Infinity);
  let readMs = clock.monotonic();

  return {
    read() {
      const nowMs = clock.monotonic();
      const elapsedMs = nowMs - readMs;
      if (elapsedMs <= 0) return;
      readMs = nowMs;
      const kept = Math.exp(-elapsedMs / WINDOW_MS);
      for (let slot = 0; slot < SLOTS; slot++) {
        const now = started(slot);
        const since = now - before[slot]!;
        before[slot] = now;
        if (nowMs - elapsedMs < fromMs[slot]!) continue;
        begun[slot] = begun[slot]! * kept + since;
        seconds[slot] = seconds[slot]! * kept + elapsedMs / 1_000;
      }
    },
    begin(slots, ms) {
      for (const slot of slots) {
        begun[slot] = seconds[slot] = 0;
        fromMs[slot] = clock.monotonic() + ms;
      }
    },
    rateOf: (slot) => (seconds[slot] === 0 ? 0 : begun[slot]! / seconds[slot]!),
  };
}
