/**
 * npm run bench -- [names] [--long] [--runs 5] [--quick] [--json] [--write] [--profile DIRECTORY]
 *
 * Every benchmark runs in a process of its own, one after the other, each figure beside its raw limit in the same run.
 * Without names all run but those marked long, about 17 minutes; --long has these run too, about 55. `broker` and `cluster`
 * start servers of their own, from what `npm run brokers -- up` made ready; where that is missing they say so and the others
 * go on. A whole long run writes bench/RESULTS.md, --write puts what was run into it; --json prints the single runs; --profile writes a CPU profile of every
 * gateway process (read them with bench/profile.ts).
 */
import { fork } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { join, resolve as resolvePath } from 'node:path';
import { parseArgs } from 'node:util';
import type { Outcome } from './figure.ts';
import { PROFILE_VARIABLE } from './processes.ts';
import { machineNow, pageOf, pageWith, tableOf } from './results.ts';

interface Benchmark {
  /** A file of this folder. */
  readonly name: string;
  /** Not without its name or --long. */
  readonly long?: true;
  /** Past it something hangs. */
  readonly limitMs?: number;
  /** Runs of its own number, with arguments of its own, after the one of the same name; with --long only. */
  readonly once?: { readonly args: readonly string[]; readonly limitMs: number };
}

const MINUTE_MS = 60_000;
const LIMIT_MS = 5 * MINUTE_MS;
const END_MS = 10_000;

const BENCHMARKS: readonly Benchmark[] = [
  { name: 'append' },
  { name: 'match' },
  { name: 'ingest' },
  { name: 'deliver' },
  { name: 'end-to-end' },
  { name: 'drain' },
  { name: 'latency' },
  { name: 'fan' },
  { name: 'classes' },
  { name: 'memory' },
  { name: 'realtime', limitMs: 20 * MINUTE_MS },
  { name: 'broker', limitMs: 10 * MINUTE_MS },
  { name: 'cluster', long: true, limitMs: 30 * MINUTE_MS },
  { name: 'outage', long: true, limitMs: 20 * MINUTE_MS, once: { args: ['--long'], limitMs: 20 * MINUTE_MS } },
];
/** Fewer say nothing about their spread. */
const RUNS_MIN = 5;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: 'string', default: String(RUNS_MIN) },
    quick: { type: 'boolean', default: false },
    long: { type: 'boolean', default: false },
    profile: { type: 'string' },
    json: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
});

function start(name: string, args: readonly string[], limitMs: number): Promise<Outcome> {
  const child = fork(join(import.meta.dirname, `${name}.ts`), args, {
    execArgv: [],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  return new Promise((resolve, reject) => {
    // First so that it can end the servers it has started.
    const tooLong = setTimeout(() => child.kill('SIGTERM'), limitMs);
    const muchTooLong = setTimeout(() => child.kill('SIGKILL'), limitMs + END_MS);
    let outcome: Outcome | undefined;
    child.once('message', (message) => (outcome = message as Outcome));
    child.once('exit', (code, signal) => {
      clearTimeout(tooLong);
      clearTimeout(muchTooLong);
      if (outcome === undefined) reject(new Error(`${name} ended without figures (${signal ?? code})`));
      else resolve(outcome);
    });
  });
}

async function run({ name, limitMs = LIMIT_MS, once }: Benchmark): Promise<void> {
  const quick = values.quick ? ['--quick'] : [];
  note(await start(name, ['--runs', values.quick ? '1' : values.runs, ...quick], limitMs));
  if (once !== undefined && values.long) note(await start(name, ['--runs', '1', ...once.args, ...quick], once.limitMs));
}

function note(outcome: Outcome): void {
  outcomes.push(outcome);
  if (!values.json) console.log(`${tableOf(outcome)}\n`);
}

const unknown = positionals.find((name) => !BENCHMARKS.some((benchmark) => benchmark.name === name));
if (unknown !== undefined)
  throw new Error(`there is no benchmark '${unknown}': ${BENCHMARKS.map(({ name }) => name).join(', ')}`);
if (values.profile !== undefined) process.env[PROFILE_VARIABLE] = resolvePath(values.profile);

const startedMs = performance.now();
const [loadBefore = 0] = loadavg();
const outcomes: Outcome[] = [];
for (const benchmark of BENCHMARKS) {
  const isAsked = positionals.length === 0 ? values.long || benchmark.long !== true : positionals.includes(benchmark.name);
  if (isAsked) await run(benchmark);
}

const machine = machineNow({ loadBefore, tookMs: performance.now() - startedMs, args: process.argv.slice(2) });
if (values.json) console.log(JSON.stringify({ machine, outcomes }, undefined, 1));
const isFit = values.profile === undefined && !values.quick && Number(values.runs) >= RUNS_MIN;
const results = join(import.meta.dirname, 'RESULTS.md');
if (isFit && positionals.length === 0 && values.long) writeFileSync(results, pageOf(machine, outcomes));
else if (isFit && values.write) writeFileSync(results, pageWith(readFileSync(results, 'utf8'), machine, outcomes));
else if (!values.json)
  console.log(
    `bench/RESULTS.md stays as it is: it is written by whole runs with --long, and by --write; of ${RUNS_MIN} runs and more.`,
  );
