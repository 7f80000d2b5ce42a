/** What was not understood: the nearest word, and the help of the command that was meant. */
import type { Command } from 'commander';
import { misused, type Refusal } from './refusal.ts';

/** What people type, and what it is called here: suggested where the command has it and nothing is spelt alike. */
const MEANT: Readonly<Record<string, readonly string[]>> = {
  '--status': ['--outcome', '--cause'],
  '--state': ['--outcome'],
  '--result': ['--outcome'],
  '--reason': ['--cause'],
  '--sub': ['--subscription'],
  '--event-id': ['--event', '--id'],
  '--endpoint': ['--to'],
  '--target': ['--to'],
  '--pattern': ['--topics'],
  '--payload': ['--data'],
  '--body': ['--data'],
  '--since': ['--from'],
  '--from': ['--since'],
  '--before': ['--until'],
  '--count': ['--limit'],
};

/** Of commander's `error: unknown command 'strat'` and, below it, `(Did you mean start?)`. */
export function usageOf(text: string, command: Command): Refusal {
  const [message = '', suggestion = ''] = text
    .trim()
    .replace(/^error: /, '')
    .split('\n');
  const meant = /^\((Did you mean .*)\)$/.exec(suggestion)?.[1] ?? otherwise(message, command);
  const path = pathOf(command);
  const has = command.commands.length > 0 ? 'commands' : 'options';
  return misused(message, `${meant === undefined ? '' : `${meant} `}"${path} --help" lists its ${has}.`);
}

function otherwise(message: string, command: Command): string | undefined {
  const [, option = ''] = /^unknown option '(--[\w-]+)/.exec(message) ?? [];
  const found = MEANT[option]?.find((name) => command.options.some(({ long }) => long === name));
  return found === undefined ? undefined : `Did you mean ${found}?`;
}

/** The command that is named by the words: the last that is one. */
export function commandIn(program: Command, argv: readonly string[]): Command {
  let command = program;
  for (const word of argv) command = command.commands.find((one) => one.name() === word) ?? command;
  return command;
}

function pathOf(command: Command): string {
  return command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`;
}

/** `help topic create` as `topic create --help`; of a word that is no command, the word alone: it is refused with the nearest one. */
export function helpRead(program: Command, argv: readonly string[]): readonly string[] {
  const at = argv.findIndex((word) => !word.startsWith('-'));
  if (at < 0 || argv[at] !== 'help') return argv;
  const words = argv.slice(at + 1).filter((word) => !word.startsWith('-'));
  const known = words.length === depthOf(commandIn(program, words));
  return [...argv.slice(0, at), ...argv.slice(at + 1), ...(known ? ['--help'] : [])];
}

function depthOf({ parent }: Command): number {
  return parent === null ? 0 : 1 + depthOf(parent);
}
