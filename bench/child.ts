/** The process of one benchmark: runs its passes, the first one uncounted, and hands the figures to bench.ts. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Outcome, Sample } from './figure.ts';

export interface Plan {
  readonly runs: number;
  /** Less of everything: shows that it works, says little about speed. */
  readonly quick: boolean;
  /** The long variant, of those that have one. */
  readonly long: boolean;
  /** Of this benchmark alone; removed at the end. */
  readonly directory: string;
}

/** Says what was measured and how, and makes one pass. */
export interface Passes {
  readonly method: readonly string[];
  pass(run: number): Promise<readonly Sample[]>;
  close(): Promise<void>;
  /** Of the section, where it is not the benchmark's own name. */
  readonly name?: string;
  /** Passes before those that count; 1 without. 0 where every pass is a fresh process by itself, more where much has to be compiled. */
  readonly warmUps?: number;
}

/** This machine lacks something: the other benchmarks go on. */
export interface Skipped {
  readonly skipped: string;
}

export async function runBenchmark(benchmark: string, open: (plan: Plan) => Promise<Passes | Skipped>): Promise<void> {
  const { values } = parseArgs({
    options: {
      runs: { type: 'string', default: '5' },
      quick: { type: 'boolean', default: false },
      long: { type: 'boolean', default: false },
    },
  });
  const directory = mkdtempSync(join(tmpdir(), `millrace-bench-${benchmark}-`));
  try {
    const passes = await open({ runs: Number(values.runs), quick: values.quick, long: values.long, directory });
    if ('skipped' in passes) return hand({ benchmark, method: [], runs: [], ...passes });
    const runs: (readonly Sample[])[] = [];
    for (let run = 1 - (passes.warmUps ?? 1); run <= 0; run++) await passes.pass(run);
    for (let run = 1; run <= Number(values.runs); run++) runs.push(await passes.pass(run));
    await passes.close();
    hand({ benchmark: passes.name ?? benchmark, method: passes.method, runs });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function hand(outcome: Outcome): void {
  if (process.send === undefined) console.log(JSON.stringify(outcome, undefined, 1));
  else process.send(outcome, () => process.disconnect?.());
}
