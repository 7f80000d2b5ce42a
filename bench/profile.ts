/**
 * node bench/profile.ts DIRECTORY [lines] [skipMs]
 *
 * Reads CPU profiles (npm run bench -- NAME --profile DIRECTORY) and prints, per thread, which functions and which files the
 * time that was not idle went to: self time in percent, after the first `skipMs` of the thread, which are its start. The file name tells process and thread: the lowest number of a
 * process is its main thread, the other one the store's.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

interface Profile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

const LINES = 10;
const SKIP_MS = 2_000;
const IDLE = new Set(['(idle)', '(root)']);

function print(title: string, shares: ReadonlyMap<string, number>, lines: number): void {
  const all = [...shares.values()].reduce((sum, micros) => sum + micros, 0);
  const top = [...shares].toSorted(([, one], [, other]) => other - one).slice(0, lines);
  console.log(`  ${title}`);
  for (const [name, micros] of top) console.log(`  ${((micros * 100) / all).toFixed(1).padStart(6)} %  ${name}`);
}

function sharesOf(
  { nodes, samples, timeDeltas }: Profile,
  nameOf: (node: Profile['nodes'][number]) => string,
): ReadonlyMap<string, number> {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const shares = new Map<string, number>();
  let passedMicros = 0;
  for (const [at, id] of samples.entries()) {
    const micros = Math.max(0, timeDeltas[at] ?? 0);
    passedMicros += micros;
    const node = byId.get(id);
    if (node === undefined || passedMicros < Number(skipMs) * 1_000 || IDLE.has(node.callFrame.functionName)) continue;
    shares.set(nameOf(node), (shares.get(nameOf(node)) ?? 0) + micros);
  }
  return shares;
}

/** From the packages' folder, or the module's name on. */
function fileOf(url: string): string {
  return /(?:node_modules\/|\/packages\/|\/bench\/)([^?]*)$/.exec(url)?.[1] ?? (url === '' ? 'native' : url);
}

const [directory = '.', lines = String(LINES), skipMs = String(SKIP_MS)] = process.argv.slice(2);
for (const file of readdirSync(directory).filter((name) => name.endsWith('.cpuprofile'))) {
  const profile = JSON.parse(readFileSync(join(directory, file), 'utf8')) as Profile;
  const whole = sharesOf(
    profile,
    ({ callFrame: { functionName, url, lineNumber } }) =>
      `${functionName === '' ? '(anonymous)' : functionName}  ${fileOf(url)}${url === '' ? '' : `:${lineNumber + 1}`}`,
  );
  const busyMs = [...whole.values()].reduce((sum, micros) => sum + micros, 0) / 1_000;
  console.log(`${file}: busy ${busyMs.toFixed(0)} ms`);
  print('functions', whole, Number(lines));
  print(
    'files',
    sharesOf(profile, ({ callFrame }) => fileOf(callFrame.url)),
    Number(lines),
  );
}
