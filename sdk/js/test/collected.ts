/** What came, with a signal: tests wait for the number of things that they expect, and for no time. */
export interface Collected<T> {
  readonly all: readonly T[];
  add(one: T): void;
  /** Resolves with the first `count`, once they are there. */
  first(count: number): Promise<readonly T[]>;
}

export function collected<T>(): Collected<T> {
  const all: T[] = [];
  const waiting = new Set<() => void>();
  return {
    all,
    add(one) {
      all.push(one);
      for (const wake of waiting) wake();
    },
    async first(count) {
      while (all.length < count)
        await new Promise<void>((resolve) => {
          const wake = (): void => {
            waiting.delete(wake);
            resolve();
          };
          waiting.add(wake);
        });
      return all.slice(0, count);
    },
  };
}
