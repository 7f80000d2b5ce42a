/** `millrace secret-key`: the key that seals the secrets a gateway stores. Works on its data directory, not over HTTP. */
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { DEFAULT_DATA } from '@millrace/gateway/options';
import { type Cli, exampled } from '../cli.ts';
import { detailsOf } from '../text.ts';

export function secretKeyVerbs(program: Command, { act }: Cli): void {
  const secretKey = exampled(program.command('secret-key').description('the key that seals stored secrets'), [
    'millrace secret-key rotate --data /var/lib/millrace',
  ]);

  secretKey
    .command('rotate')
    .description('make a new one; the next start of the gateway seals everything with it and forgets the former')
    .addOption(new Option('--data <directory>', 'the data directory').env('MILLRACE_DATA').default(DEFAULT_DATA))
    .action(
      act<[], { data: string }>(async ({ options: { data }, terminal, world }) => {
        const { addSecretKey } = await import('@millrace/gateway/key-files');
        const made = addSecretKey(resolve(world.directory, data));
        terminal.data(made, () => detailsOf(made, Date.now()).join('\n'));
        terminal.hint(
          'Start the gateway again: then everything is sealed with it. Keep a copy, but not beside copies of the data.',
        );
      }),
    );
}
