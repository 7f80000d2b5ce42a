/** `millrace completion`: a script for the shell, made of the same commands that run. */
import { Argument, type Command } from 'commander';
import { type Cli, exampled } from '../cli.ts';
import { type CommandTree, eachCommand, treeOf } from '../tree.ts';

type Shell = 'bash' | 'zsh' | 'fish';

export function completionVerb(program: Command, { act }: Cli): void {
  exampled(
    program
      .command('completion')
      .description('a script that completes commands and options in your shell')
      .addArgument(new Argument('<shell>').choices(['bash', 'zsh', 'fish'])),
    ['source <(millrace completion bash)', 'millrace completion fish > ~/.config/fish/completions/millrace.fish'],
  ).action(
    act<[Shell]>(async ({ args: [shell], terminal }) => {
      const script = SCRIPTS[shell](treeOf(program)).trimEnd();
      terminal.data({ shell, script }, () => script);
    }),
  );
}

const SCRIPTS: { readonly [shell in Shell]: (tree: CommandTree) => string } = { bash, zsh, fish };

/** What may follow after each command: its commands, else its options and those of all. */
function wordsOf(tree: CommandTree): [string, string[]][] {
  const everywhere = longsOf(tree);
  return eachCommand(tree).map(({ path, commands, options }) => [
    path,
    [...commands.map((one) => one.path.split(' ').at(-1) ?? ''), ...new Set([...longsOf({ options }), ...everywhere, '--help'])],
  ]);
}

function longsOf({ options }: Pick<CommandTree, 'options'>): string[] {
  return options.flatMap(({ long }) => (long === undefined ? [] : [long]));
}

function bash(tree: CommandTree): string {
  const paths = eachCommand(tree)
    .map(({ path }) => path)
    .filter((path) => path !== '');
  return `# millrace: completion for bash
_millrace() {
  local word path="" words
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "\${path:+$path }$word" in
      ${paths.map((path) => `'${path}'`).join('|')}) path="\${path:+$path }$word" ;;
    esac
  done
  case "$path" in
${wordsOf(tree)
  .map(([path, words]) => `    '${path}') words='${words.join(' ')}' ;;`)
  .join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _millrace millrace
`;
}

/** By way of bash's: zsh runs it. */
function zsh(tree: CommandTree): string {
  return `#compdef millrace
autoload -U +X bashcompinit && bashcompinit
${bash(tree)}`;
}

function fish(tree: CommandTree): string {
  const lines = eachCommand(tree).flatMap((command) => {
    const names = command.path === '' ? [] : command.path.split(' ');
    const seen = names.map((name) => `__fish_seen_subcommand_from ${name}`);
    const children = command.commands.map((one) => one.path.split(' ').at(-1) ?? '');
    const notYet = children.length === 0 ? [] : [`not __fish_seen_subcommand_from ${children.join(' ')}`];
    const when = [...seen, ...notYet].join('; and ');
    const condition = when === '' ? '' : ` -n ${quoted(when)}`;
    return [
      ...command.commands.map(
        (one) => `complete -c millrace -f${condition} -a ${one.path.split(' ').at(-1)} -d ${quoted(one.description)}`,
      ),
      ...command.options.flatMap(({ long, description, takesValue }) =>
        long === undefined
          ? []
          : [
              `complete -c millrace${seen.length === 0 ? '' : ` -n ${quoted(seen.join('; and '))}`} -l ${long.slice(2)}${takesValue ? ' -r' : ''} -d ${quoted(description)}`,
            ],
      ),
    ];
  });
  return `# millrace: completion for fish\n${lines.join('\n')}\n`;
}

function quoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
