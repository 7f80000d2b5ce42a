/** The machine's clock and chance. */
import type { Clock } from './ports/clock.ts';

const DAY_MS = 86_400_000;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(delayMs, callback) {
    // setTimeout holds 31 bits of ms; the port says that longer waits fire after a day.
    const timer = delayMs <= 0 ? setImmediate(callback) : setTimeout(callback, Math.min(delayMs, DAY_MS));
    return { cancel: () => (delayMs <= 0 ? clearImmediate(timer as NodeJS.Immediate) : clearTimeout(timer as NodeJS.Timeout)) };
  },
  random: () => Math.random(),
};
