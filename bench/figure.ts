/** What a benchmark brings back: figures of several runs, each with its raw limit from the same run. */

/** One figure of one run. */
export interface Sample {
  readonly name: string;
  readonly unit: string;
  readonly ours: number;
  /** The same work with nothing else: the same client, the same disk. */
  readonly raw?: number;
  /** What ours ÷ raw should reach. */
  readonly aim?: number;
}

export interface Outcome {
  readonly benchmark: string;
  /** What was measured how, in sentences: stands above the table. */
  readonly method: readonly string[];
  /** One list per run; every run has the same figures. */
  readonly runs: readonly (readonly Sample[])[];
  /** Why there are no figures: what this machine lacks, and the command that gets it. */
  readonly skipped?: string;
}

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((one, other) => one - other);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  const median = sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2;
  return { median, min: sorted[0] ?? Number.NaN, max: sorted.at(-1) ?? Number.NaN };
}

/** The value that `share` of all values do not exceed. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
