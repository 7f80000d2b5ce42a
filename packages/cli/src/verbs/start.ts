/** `millrace start`: the gateway in production. */
import type { Command } from 'commander';
import { type Cli, exampled } from '../cli.ts';
import { type ServingOptions, startOptionsOf, withServingOptions } from '../serving.ts';

export function startVerb(program: Command, { act }: Cli): void {
  exampled(
    withServingOptions(
      program.command('start').description('run a gateway in production: public endpoints only, topics are declared first'),
      'start',
    ),
    ['millrace start --data /var/lib/millrace', 'millrace start --host 0.0.0.0 --allow-egress 10.0.0.0/8 --json'],
  ).action(
    act<[], ServingOptions>(async ({ options }) => {
      const { serveHere } = await import('@millrace/gateway/main');
      await serveHere(startOptionsOf('start', options));
    }),
  );
}
