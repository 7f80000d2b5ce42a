/**
 * `npm run runtimes -- up|status [name…]`: the programs that the SDK is tested in, of pinned versions, in the cache (Chromium: of the system). `up`
 * gets what is missing; tests never do, they skip and name this command.
 */
import { cacheDirectory } from '../brokers/running.ts';
import { RUNTIMES } from './all.ts';
import { type Runtime, RuntimeUnavailable } from './runtime.ts';

const USAGE = 'npm run runtimes -- up|status [name…]';

export interface Needs {
  readonly runtimes: readonly Runtime[];
  readonly cache: string;
  readonly say: (line: string) => void;
}

/** The exit code. */
export async function runRuntimes([verb, ...names]: readonly string[], { runtimes, cache, say }: Needs): Promise<number> {
  const unknown = names.filter((name) => !runtimes.some((runtime) => runtime.name === name));
  if (unknown.length > 0 || (verb !== 'up' && verb !== 'status')) {
    say(
      unknown.length > 0
        ? `no such runtime: ${unknown.join(', ')}; there are ${runtimes.map(({ name }) => name).join(', ')}`
        : USAGE,
    );
    return 1;
  }
  const chosen = runtimes.filter(({ name }) => names.length === 0 || names.includes(name));
  const missing = verb === 'up' ? await fetchAll(chosen, cache, say) : 0;
  for (const { name, find } of chosen) say(`${name} ${find(cache) ?? 'is not here'}`);
  return missing === 0 ? 0 : 1;
}

/** How many can't be had; that keeps none of the others. */
async function fetchAll(chosen: readonly Runtime[], cache: string, say: Needs['say']): Promise<number> {
  let missing = 0;
  for (const { name, find, fetch } of chosen) {
    if (find(cache) !== undefined) continue;
    try {
      await fetch(cache);
    } catch (error) {
      if (!(error instanceof RuntimeUnavailable)) throw error;
      missing++;
      say(`${name}: ${error.message}`);
      say(`  → ${error.advice}`);
    }
  }
  return missing;
}

if (import.meta.main)
  process.exitCode = await runRuntimes(process.argv.slice(2), {
    runtimes: RUNTIMES,
    cache: cacheDirectory(),
    say: (line) => console.log(line),
  });
