/** The process: streams, environment, signals and the exit code around the command. */
import { enableCompileCache } from 'node:module';
import type { World } from './world.ts';

// Before anything else is loaded: what was stripped of its types and compiled is kept, which halves the next start.
enableCompileCache();
// A variable that is set to nothing is not set: people clear one this way, and commander would read it.
for (const name of Object.keys(process.env))
  if (name.startsWith('MILLRACE_') && process.env[name] === '') delete process.env[name];

const { createWorld } = await import('./process-world.ts');
const { run } = await import('./program.ts');

const world: World = createWorld(process);
// Not process.exit: what is written may still be on its way, and a gateway goes on.
process.exitCode = await run(process.argv.slice(2), world);
