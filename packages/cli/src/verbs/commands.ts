/** `millrace commands`: every command with its arguments and options, for people and for programs that call it. */
import type { Command } from 'commander';
import { type Cli, exampled } from '../cli.ts';
import { type CommandTree, eachCommand, treeOf } from '../tree.ts';

export function commandsVerb(program: Command, { act }: Cli): void {
  exampled(program.command('commands').description('every command there is; with --json arguments and options, too'), [
    'millrace commands',
    'millrace commands --json | jq .',
  ]).action(
    act(async ({ terminal }) => {
      const tree = treeOf(program);
      if (terminal.json) return terminal.record(tree);
      const leaves = eachCommand(tree).filter(({ path, commands }) => path !== '' && commands.length === 0);
      const width = Math.max(...leaves.map((leaf) => usageOf(leaf).length));
      for (const leaf of leaves) terminal.line(`${usageOf(leaf).padEnd(width)}  ${leaf.description}`);
    }),
  );
}

function usageOf({ path, arguments: all }: CommandTree): string {
  const names = all.map(({ name, required, variadic }) => {
    const shown = `${name}${variadic ? '...' : ''}`;
    return required ? `<${shown}>` : `[${shown}]`;
  });
  return ['millrace', path, ...names].join(' ');
}
