/** Things that come in one after the other, and tests that wait for them. */
export interface Arrivals<T> {
  readonly all: readonly T[];
  add(one: T): void;
  /** Resolves once so many are there that are so. */
  some(count: number, isSo?: (one: T) => boolean): Promise<readonly T[]>;
}

export function arrivals<T>(): Arrivals<T> {
  const all: T[] = [];
  let bell = Promise.withResolvers<void>();
  return {
    all,
    add(one) {
      all.push(one);
      bell.resolve();
      bell = Promise.withResolvers();
    },
    async some(count, isSo = () => true) {
      for (;;) {
        const found = all.filter(isSo);
        if (found.length >= count) return found;
        await bell.promise;
      }
    },
  };
}
