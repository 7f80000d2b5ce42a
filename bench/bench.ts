/**
 * npm run bench -- [append match deliver drain memory] [--runs 5] [--quick] [--json]
 *
 * Every benchmark runs in a process of its own, one after the other, each figure beside its raw limit in the same run.
 * Writes bench/RESULTS.md when all of them ran in full; --json prints the single runs.
 */
import { fork } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Outcome } from './figure.ts';
import { machineNow, pageOf, tableOf } from './results.ts';

const BENCHMARKS = ['append', 'match', 'deliver', 'drain', 'memory'] as const;
/** Fewer say nothing about their spread. */
const RUNS_MIN = 5;
/** Of one benchmark: past it something hangs. */
const BENCHMARK_MS = 300_000;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: 'string', default: String(RUNS_MIN) },
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});

function start(benchmark: string): Promise<Outcome> {
  const args = ['--runs', values.quick ? '1' : values.runs, ...(values.quick ? ['--quick'] : [])];
  const child = fork(join(import.meta.dirname, `${benchmark}.ts`), args, {
    execArgv: [],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  return new Promise((resolve, reject) => {
    const tooLong = setTimeout(() => child.kill('SIGKILL'), BENCHMARK_MS);
    let outcome: Outcome | undefined;
    child.once('message', (message) => (outcome = message as Outcome));
    child.once('exit', (code, signal) => {
      clearTimeout(tooLong);
      if (outcome === undefined) reject(new Error(`${benchmark} ended without figures (${signal ?? code})`));
      else resolve(outcome);
    });
  });
}

const unknown = positionals.find((name) => !BENCHMARKS.some((benchmark) => benchmark === name));
if (unknown !== undefined) throw new Error(`there is no benchmark '${unknown}': ${BENCHMARKS.join(', ')}`);

const startedMs = performance.now();
const [loadBefore = 0] = loadavg();
const outcomes: Outcome[] = [];
for (const benchmark of BENCHMARKS) {
  if (positionals.length > 0 && !positionals.includes(benchmark)) continue;
  const outcome = await start(benchmark);
  outcomes.push(outcome);
  if (!values.json) console.log(`${tableOf(outcome)}\n`);
}

const machine = machineNow({ loadBefore, tookMs: performance.now() - startedMs, args: process.argv.slice(2) });
if (values.json) console.log(JSON.stringify({ machine, outcomes }, undefined, 1));
const isWhole = positionals.length === 0 && !values.quick && Number(values.runs) >= RUNS_MIN;
if (isWhole) writeFileSync(join(import.meta.dirname, 'RESULTS.md'), pageOf(machine, outcomes));
else if (!values.json) console.log('bench/RESULTS.md stays as it is: it is written by whole runs only.');
