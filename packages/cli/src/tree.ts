/** The commands as data: what `millrace commands` prints and completion is made of. */
import type { Argument, Command, Option } from 'commander';

export interface CommandTree {
  /** From the root: `topic create`; empty for the root itself. */
  readonly path: string;
  readonly description: string;
  readonly arguments: readonly { readonly name: string; readonly required: boolean; readonly variadic: boolean }[];
  readonly options: readonly OptionTree[];
  readonly commands: readonly CommandTree[];
}

interface OptionTree {
  readonly flags: string;
  readonly long?: string;
  readonly description: string;
  readonly takesValue: boolean;
  readonly required: boolean;
  readonly choices?: readonly string[];
  readonly environment?: string;
  readonly default?: unknown;
}

export function treeOf(command: Command, parent = ''): CommandTree {
  const isRoot = command.parent === null;
  const path = isRoot ? '' : `${parent} ${command.name()}`.trim();
  return {
    path,
    description: command.description(),
    arguments: command.registeredArguments.map(argumentOf),
    options: command.options.filter(({ hidden }) => !hidden).map(optionOf),
    commands: command.commands.map((one) => treeOf(one, path)),
  };
}

export function eachCommand(tree: CommandTree): CommandTree[] {
  return [tree, ...tree.commands.flatMap(eachCommand)];
}

function argumentOf(argument: Argument): CommandTree['arguments'][number] {
  return { name: argument.name(), required: argument.required, variadic: argument.variadic };
}

function optionOf({
  flags,
  long,
  description,
  required,
  optional,
  mandatory,
  argChoices,
  envVar,
  defaultValue,
}: Option): OptionTree {
  return {
    flags,
    ...(long === undefined || long === null ? {} : { long }),
    description,
    takesValue: required || optional,
    required: mandatory,
    ...(argChoices === undefined ? {} : { choices: argChoices }),
    ...(envVar === undefined ? {} : { environment: envVar }),
    ...(defaultValue === undefined ? {} : { default: defaultValue as unknown }),
  };
}
