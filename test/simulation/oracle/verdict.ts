/** What the oracle found. A broken promise is noted, not thrown: it is found inside calls of the gateway. */
export type PromiseName = 'P1' | 'P2' | 'P3' | 'P4' | 'P5' | 'P6' | 'P10' | 'liveness' | 'contract';

export interface Broken {
  readonly promise: PromiseName;
  /** The invariant's sentence; the same for all breaks of one invariant. */
  readonly sentence: string;
  readonly detail: string;
  /** Words by which the trace's lines about it are found. */
  readonly words: readonly string[];
}

export interface Verdict {
  broken(promise: PromiseName, sentence: string, detail?: string, words?: readonly string[]): void;
  readonly found: readonly Broken[];
}

export function createVerdict(): Verdict {
  const found: Broken[] = [];
  return {
    broken(promise, sentence, detail = '', words = []) {
      // The first is the cause, more than a few are only noise.
      if (found.length < 10) found.push({ promise, sentence, detail, words });
    },
    found,
  };
}
