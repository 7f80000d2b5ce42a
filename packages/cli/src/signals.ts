/** Waits that Ctrl-C cuts short. */

/** Resolves after `ms`, or at once when `signal` aborts: whoever goes on looks at it. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const over = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', over);
      resolve();
    };
    const timer = setTimeout(over, ms);
    signal.addEventListener('abort', over, { once: true });
  });
}

/** From 0.5 s up to 15 s, each twice the one before, less up to a third by chance: many clients must not come back at once. */
export function backoffMs(tries: number, random: () => number = Math.random): number {
  return Math.min(15_000, 500 * 2 ** Math.min(tries, 10)) * (1 - random() / 3);
}
