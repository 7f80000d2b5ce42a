/**
 * npm run simulate -- --seeds N [--from K] [--clusters] [--jobs J] [--steps n] [--keep-going] [--skip a,b] [--json]
 * npm run simulate -- --seed S [--trace] [--steps n]
 */
import { parseArgs } from 'node:util';
import { runSafely, runSeeds } from './jobs.ts';
import { addTo, emptyTotals, failureText, neverArose, situationTable } from './report.ts';
import type { Totals } from './report.ts';
import { isCluster, type SeedResult } from './seed.ts';
import { SITUATIONS } from './situations.ts';

/** With fewer seeds a rare situation may well be missing by chance. */
const SEEDS_FOR_ALL_SITUATIONS = 100;

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '100' },
    from: { type: 'string', default: '1' },
    seed: { type: 'string' },
    steps: { type: 'string' },
    jobs: { type: 'string' },
    trace: { type: 'boolean', default: false },
    'keep-going': { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    /** Only those that are about several nodes. */
    clusters: { type: 'boolean', default: false },
    /** Seeds to leave out, with commas. */
    skip: { type: 'string', default: '' },
  },
});

const steps = values.steps === undefined ? {} : { steps: Number(values.steps) };
process.exitCode = values.seed === undefined ? await simulateMany() : await simulateOne(Number(values.seed));

async function simulateOne(seed: number): Promise<number> {
  const print = values.trace ? { print: (line: string) => void process.stdout.write(`${line}\n`) } : {};
  const result = await runSafely(seed, { ...steps, ...print });
  if (values.json) console.log(JSON.stringify(result));
  else if (result.broken.length > 0) console.log(failureText(result));
  else
    console.log(
      `seed ${seed}: ${result.steps} steps, ${result.events} events, ${result.crashes} crashes, hash ${result.hash}: every promise held`,
    );
  return result.broken.length > 0 ? 1 : 0;
}

async function simulateMany(): Promise<number> {
  const totals = emptyTotals();
  const failures: SeedResult[] = [];
  const count = Number(values.seeds);
  const startedMs = performance.now();
  const skip = new Set(values.skip.split(',').filter(Boolean).map(Number));
  const from = Number(values.from);
  if (values.clusters) for (let seed = from; seed < from + count; seed++) if (!isCluster(seed)) skip.add(seed);
  const range = {
    from,
    count,
    skip,
    ...steps,
    ...(values.jobs === undefined ? {} : { jobs: Number(values.jobs) }),
  };

  await runSeeds(range, (result) => {
    addTo(totals, result);
    progress(totals, count, startedMs);
    if (result.broken.length === 0) return true;
    failures.push(result);
    if (!values.json) console.log(`\n${failureText(result)}`);
    return values['keep-going'];
  });

  const seconds = (performance.now() - startedMs) / 1_000;
  const missing = neverArose(totals);
  const mustHaveAll = !values.clusters && count >= SEEDS_FOR_ALL_SITUATIONS && failures.length === 0;
  if (values.json)
    console.log(
      JSON.stringify({ ...totals, seconds, missing, failures: failures.map(({ seed, broken }) => ({ seed, broken })) }),
    );
  else summarise(totals, seconds, missing, mustHaveAll);
  return failures.length > 0 || (mustHaveAll && missing.length > 0) ? 1 : 0;
}

function progress({ seeds, failed }: Totals, count: number, startedMs: number): void {
  if (values.json || !process.stderr.isTTY || seeds % 10 !== 0) return;
  const perSecond = (seeds * 1_000) / (performance.now() - startedMs);
  process.stderr.write(`\r${seeds} of ${count} seeds, ${failed} broken, ${perSecond.toFixed(1)} a second `);
}

function summarise(totals: Totals, seconds: number, missing: readonly (keyof typeof SITUATIONS)[], mustHaveAll: boolean): void {
  console.log(`\n${situationTable(totals)}\n`);
  console.log(
    `${totals.seeds} seeds, ${totals.steps} steps, ${totals.events} events, ${totals.crashes} crashes, ${Math.round(totals.virtualMs / 1_000)} simulated seconds in ${seconds.toFixed(1)} s (${(totals.seeds / seconds).toFixed(1)} seeds a second)`,
  );
  if (missing.length > 0) {
    const names = missing.map((name) => SITUATIONS[name]).join('; ');
    console.log(mustHaveAll ? `NEVER AROSE: ${names}` : `not seen, with so few whole seeds no failure: ${names}`);
  }
  console.log(totals.failed === 0 ? 'every promise held' : `${totals.failed} seeds broke a promise`);
}
