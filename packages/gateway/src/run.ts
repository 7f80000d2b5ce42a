/** What `millrace` was asked to do. Loads the gateway only where it is to run: help must not wait for it. */
import { readFileSync } from 'node:fs';
import { readArguments } from './options.ts';
import type { OpenStore } from './start.ts';

/** Exit code of a wrong argument. */
const USAGE = 2;

export async function run(argv: readonly string[], { openStore }: { readonly openStore: OpenStore }): Promise<void> {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
    readonly version: string;
  };
  const asked = readArguments(argv, process.env, version);
  if ('print' in asked) return void process.stdout.write(`${asked.print.trimEnd()}\n`);
  if ('refused' in asked) {
    process.stderr.write(`${asked.refused}\n`);
    process.exitCode = USAGE;
    return;
  }
  const { serve } = await import('./serve.ts');
  await serve(asked.start, { version, openStore });
}
