/**
 * Time and chance, passed in so that the flow runs the same under a real and a simulated world.
 */
export interface Clock {
  /** Wall time, ms since 1970. May jump; use it for what people and other machines see. */
  now(): number;
  /** Monotonic time in ms, from any origin. Never jumps; use it for waits, spans and deadlines inside the process. */
  monotonic(): number;
  /** Runs `callback` once, `delayMs` from now on the monotonic clock, never synchronously. Delays above a day fire after a day: re-arm. */
  after(delayMs: number, callback: () => void): Timer;
  /** A number in [0, 1). */
  random(): number;
}

export interface Timer {
  /** Safe to call twice, and after it fired. */
  cancel(): void;
}

/** Bytes for ids out of the clock's chance: unlike enough to be unique, not secret. */
export function bytesFrom(clock: Clock): (count: number) => Uint8Array {
  return (count) => {
    const bytes = new Uint8Array(count);
    for (let at = 0; at < count; at++) bytes[at] = clock.random() * 256;
    return bytes;
  };
}
