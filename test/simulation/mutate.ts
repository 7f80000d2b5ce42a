/**
 * npm run mutate -- [--seeds N] [--only name] [--clusters] [--list]
 * Breaks the flow on purpose, one way at a time, on a copy of the tree, and requires that the simulation notices. What
 * is not noticed is a hole in the oracle, or a line that does nothing.
 */
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { MUTATIONS } from './mutations.ts';
import type { Mutation } from './mutations.ts';

interface Outcome {
  readonly mutation: Mutation;
  /** The sentence that was broken; undefined when it survived. */
  readonly caughtBy: string | undefined;
  readonly seeds: number;
  readonly seconds: number;
}

interface Summary {
  readonly seeds: number;
  readonly failures: readonly {
    readonly seed: number;
    readonly broken: readonly { readonly promise: string; readonly sentence: string; readonly detail: string }[];
  }[];
}

const SEEDS_PER_CLUSTER = 3;
/** More than all seeds take on a machine that is busy with other things, too. */
const RUN_MS = 600_000;

const run = promisify(execFile);
const ROOT = new URL('../..', import.meta.url).pathname;

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '300' },
    only: { type: 'string' },
    /** Only those that clusters meet. */
    clusters: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
  },
});

const chosen = MUTATIONS.filter(
  ({ name, clusters = false }) => (values.only === undefined || name.includes(values.only)) && (clusters || !values.clusters),
);
if (values.list) for (const { name, file } of chosen) console.log(`${name.padEnd(70)} ${file}`);
else process.exitCode = await mutateAll();

async function mutateAll(): Promise<number> {
  const copy = await copyTree();
  try {
    for (const mutation of chosen) await mutated(mutation, copy);
    const broken = await brokenAlready(copy);
    const outcomes: Outcome[] = [];
    for (const mutation of chosen) {
      const outcome = await tryOne(mutation, copy, broken);
      outcomes.push(outcome);
      console.log(rowOf(outcome));
    }
    const survivors = outcomes.filter(({ caughtBy }) => caughtBy === undefined);
    console.log(`\n${outcomes.length - survivors.length} of ${outcomes.length} mutations caught`);
    for (const { mutation } of survivors) console.log(`SURVIVED: ${mutation.name} (${mutation.file})`);
    return survivors.length > 0 ? 1 : 0;
  } finally {
    await rm(copy, { recursive: true, force: true });
  }
}

/** A seed that breaks without a mutation proves nothing with one: such seeds are told and left out. */
async function brokenAlready(copy: string): Promise<readonly number[]> {
  const { failures } = await simulate(copy, ['--keep-going']);
  const seeds = failures.map(({ seed }) => seed);
  if (seeds.length > 0)
    console.log(`THE FLOW IS NOT CLEAN: seeds ${seeds.join(', ')} break without a mutation and are left out\n`);
  return seeds;
}

/** packages/ and test/ are copied; of node_modules only @millrace leads to the copy, all else to the real one. */
async function copyTree(): Promise<string> {
  const copy = await mkdtemp(join(tmpdir(), 'millrace-mutate-'));
  await cp(join(ROOT, 'packages'), join(copy, 'packages'), {
    recursive: true,
    filter: (path) => !path.includes('/node_modules'),
  });
  await cp(join(ROOT, 'test/simulation'), join(copy, 'test/simulation'), { recursive: true });
  await cp(join(ROOT, 'package.json'), join(copy, 'package.json'));
  await mkdir(join(copy, 'node_modules/@millrace'), { recursive: true });
  for (const name of await readdir(join(ROOT, 'node_modules'))) {
    if (name !== '@millrace' && name !== '.bin')
      await symlink(join(ROOT, 'node_modules', name), join(copy, 'node_modules', name));
  }
  for (const name of await readdir(join(copy, 'packages')))
    await symlink(join(copy, 'packages', name), join(copy, 'node_modules/@millrace', name));
  return copy;
}

/** The mutated text. A text to be replaced that is not there exactly once means that the flow has changed: look again. */
async function mutated(
  { name, file, find, replace }: Mutation,
  copy: string,
): Promise<{ readonly path: string; readonly before: string; readonly after: string }> {
  const path = join(copy, file);
  const before = await readFile(path, 'utf8');
  const times = before.split(find).length - 1;
  if (times !== 1) throw new Error(`mutation '${name}': its text stands ${times} times in ${file}, not once:\n${find}`);
  return { path, before, after: before.replace(find, () => replace) };
}

async function tryOne(mutation: Mutation, copy: string, broken: readonly number[]): Promise<Outcome> {
  const { path, before, after } = await mutated(mutation, copy);
  const startedMs = performance.now();
  await writeFile(path, after);
  try {
    const range = mutation.clusters === true ? ['--clusters', '--seeds', String(Number(values.seeds) * SEEDS_PER_CLUSTER)] : [];
    const from = ['--from', String(mutation.from ?? 1)];
    const { seeds, failures } = await simulate(copy, ['--skip', broken.join(','), ...from, ...range]);
    const first = failures[0]?.broken[0];
    const caughtBy = first === undefined ? undefined : `${first.promise}: ${first.sentence}`;
    return { mutation, caughtBy, seeds, seconds: (performance.now() - startedMs) / 1_000 };
  } finally {
    await writeFile(path, before);
  }
}

/** Exit code 1 is what is hoped for, so only the output counts; a run that hangs counts as caught by the clock. */
async function simulate(copy: string, more: readonly string[]): Promise<Summary> {
  const script = join(copy, 'test/simulation/simulate.ts');
  try {
    // Of a setting that is given twice the last one counts.
    const { stdout } = await run(process.execPath, [script, '--seeds', values.seeds, '--json', ...more], {
      cwd: copy,
      maxBuffer: 64 * 1024 * 1024,
      timeout: RUN_MS,
    });
    return JSON.parse(stdout) as Summary;
  } catch (error) {
    const { stdout, stderr, killed } = error as { readonly stdout?: string; readonly stderr?: string; readonly killed?: boolean };
    if (stdout?.startsWith('{')) return JSON.parse(stdout) as Summary;
    const sentence = killed ? 'the simulation comes to its end' : 'the simulation runs';
    return { seeds: 0, failures: [{ seed: 0, broken: [{ promise: 'liveness', sentence, detail: stderr ?? '' }] }] };
  }
}

function rowOf({ mutation, caughtBy, seeds, seconds }: Outcome): string {
  return `${caughtBy === undefined ? 'SURVIVED' : 'caught  '} ${mutation.name.padEnd(60)} ${String(seeds).padStart(4)} seeds ${seconds.toFixed(1).padStart(6)} s  ${caughtBy ?? ''}`;
}
