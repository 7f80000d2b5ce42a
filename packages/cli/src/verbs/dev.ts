/** `millrace dev`: a gateway on one's own machine, with keys to press where a person looks on. */
import type { Command } from 'commander';
import { type Cli, exampled } from '../cli.ts';
import { type ServingOptions, startOptionsOf, withServingOptions } from '../serving.ts';

export function devVerb(program: Command, { act }: Cli): void {
  exampled(
    withServingOptions(
      program.command('dev').description('run a gateway on your machine: a sample, a key, topics declared by their first event'),
      'dev',
    ),
    ['millrace dev', 'millrace dev --port 8080 --data ./data', 'millrace dev --json | jq .'],
  ).action(
    act<[], ServingOptions>(async ({ options }) => {
      const { serveHere } = await import('@millrace/gateway/main');
      const start = startOptionsOf('dev', options);
      if (start.json || !process.stdin.isTTY || !process.stdout.isTTY) return serveHere(start);
      const { createHotkeys } = await import('../hotkeys.ts');
      const hotkeys = createHotkeys({ stdin: process.stdin, write: (text) => void process.stdout.write(text) });
      return serveHere(start, { onReady: hotkeys.ready, onNotice: hotkeys.notice });
    }),
  );
}
