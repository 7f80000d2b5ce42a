/** The process: streams, environment, signals and the exit code around the command. */
import { createWorld } from './process-world.ts';
import { run } from './program.ts';

// A variable that is set to nothing is not set: people clear one this way, and commander would read it.
for (const name of Object.keys(process.env))
  if (name.startsWith('MILLRACE_') && process.env[name] === '') delete process.env[name];

// Not process.exit: what is written may still be on its way, and a gateway goes on.
process.exitCode = await run(process.argv.slice(2), createWorld(process));
