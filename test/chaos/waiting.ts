/** Waiting: for something to change, for real time to pass, and never for ever. */
import { setTimeout as timer } from 'node:timers/promises';

export interface Signal {
  /** Resolves at the next `fire`. */
  next(): Promise<void>;
  fire(): void;
}

export function createSignal(): Signal {
  let current = Promise.withResolvers<void>();
  return {
    next: () => current.promise,
    fire() {
      current.resolve();
      current = Promise.withResolvers();
    },
  };
}

/** Real time: load is a rate, a kill has its instant, and nobody signals that nothing happens. Does not keep the process alive. */
export async function pass(ms: number): Promise<void> {
  await timer(ms, undefined, { ref: false });
}

/** Rejects with what did not happen. A guard against hanging, never a measurement. */
export async function within<T>(ms: number, what: string, promise: Promise<T>): Promise<T> {
  const end = new AbortController();
  const late = timer(ms, undefined, { signal: end.signal }).then(() => {
    throw new Error(`${what}: not within ${ms / 1_000} s`);
  });
  late.catch(() => undefined);
  try {
    return await Promise.race([promise, late]);
  } finally {
    end.abort();
  }
}
