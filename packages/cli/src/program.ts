/** The `millrace` command: its verbs, its help, and what becomes of a wrong word. */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { Problem } from '@millrace/core/problem';
import { createCli, exampled } from './cli.ts';
import { type ProblemBody, refusalOfProblem } from './client.ts';
import { EXAMPLES as EXAMPLES_BELOW } from './examples.ts';
import { EXIT, EXIT_TEXTS, type Exit } from './exit-codes.ts';
import { Refusal } from './refusal.ts';
import { coloursOf, createTerminal } from './terminal.ts';
import { commandIn, helpRead, usageOf } from './usage.ts';
import { appVerbs } from './verbs/app.ts';
import { commandsVerb } from './verbs/commands.ts';
import { completionVerb } from './verbs/completion.ts';
import { deadLetterVerbs } from './verbs/dead-letter.ts';
import { deliveryVerbs } from './verbs/delivery.ts';
import { devVerb } from './verbs/dev.ts';
import { doctorVerb } from './verbs/doctor.ts';
import { keyVerbs } from './verbs/key.ts';
import { limitsVerb } from './verbs/limits.ts';
import { listenVerb } from './verbs/listen.ts';
import { migrateLogVerb } from './verbs/migrate-log.ts';
import { operationVerbs } from './verbs/operation.ts';
import { publishVerb } from './verbs/publish.ts';
import { replayVerb } from './verbs/replay.ts';
import { secretKeyVerbs } from './verbs/secret-key.ts';
import { startVerb } from './verbs/start.ts';
import { subscriptionVerbs } from './verbs/subscription.ts';
import { tailVerb } from './verbs/tail.ts';
import { tokenKeyVerbs } from './verbs/token-key.ts';
import { tokenVerbs } from './verbs/token.ts';
import { topicVerbs } from './verbs/topic.ts';
import type { World } from './world.ts';

const GROUPS = [
  ['Run a gateway:', [devVerb, startVerb]],
  ['Events:', [publishVerb, listenVerb, tailVerb]],
  ['What is configured:', [topicVerbs, subscriptionVerbs, appVerbs, keyVerbs, tokenVerbs]],
  ['What happened:', [deliveryVerbs, deadLetterVerbs, replayVerb, operationVerbs]],
  ['The rest:', [doctorVerb, limitsVerb, secretKeyVerbs, tokenKeyVerbs, migrateLogVerb, commandsVerb, completionVerb]],
] as const;

const EXAMPLES = `Examples:
  millrace dev                                                a gateway on this machine, data in .millrace
  millrace publish orders.created '{"id":42}'
  millrace listen "orders.*" --to http://127.0.0.1:3000/hooks
  millrace subscription create crm --topics "orders.*" --to https://crm.example/hooks
  millrace tail --from 1h
  millrace doctor
`;

const AFTER = `
Which gateway, with which key: --url and --key, then MILLRACE_URL and MILLRACE_KEY, then what "millrace dev" left in
.millrace (or MILLRACE_DATA) of the working directory, then http://127.0.0.1:4400.

Data go to stdout, all else to stderr. NO_COLOR and FORCE_COLOR are heeded. Exit codes:
${EXIT_TEXTS.map(([code, text]) => `  ${String(code).padStart(3)}  ${text}`).join('\n')}
`;

export const VERSION = (
  JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { readonly version: string }
).version;

/** Does what was asked; answers the exit code. Never rejects. */
export async function run(argv: readonly string[], world: World): Promise<Exit> {
  let exit: Exit = EXIT.ok;
  const refused: string[] = [];
  const program = programOf(world, { onExit: (code) => void (exit = code), onRefused: (text) => void refused.push(text) });
  const json = argv.includes('--json');
  try {
    await program.parseAsync([...helpRead(program, argv)], { from: 'user' });
    return exit;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return EXIT.ok;
    // A command that only has commands showed its help.
    if (error instanceof CommanderError && error.code === 'commander.help') return EXIT.usage;
    return sayFailure(error instanceof CommanderError ? usageOf(refused.join(''), commandIn(program, argv)) : error, json, world);
  }
}

export function programOf(
  world: World,
  { onExit, onRefused }: { readonly onExit: (code: Exit) => void; readonly onRefused: (text: string) => void },
): Command {
  const program = new Command('millrace');
  const { stdout, stderr } = world;
  program
    .description('Takes events in once, keeps them, and delivers them as signed webhooks.')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void stdout.write(text),
      writeErr: (text) => void stderr.write(text),
      outputError: onRefused,
      getOutHelpWidth: () => stdout.columns ?? 120,
      getErrHelpWidth: () => stderr.columns ?? 120,
      getOutHasColors: () => coloursOf(stdout, world.environment),
      getErrHasColors: () => coloursOf(stderr, world.environment),
    })
    .configureHelp({ showGlobalOptions: true, sortSubcommands: false })
    .version(VERSION, '-v, --version', 'print the version')
    .helpOption('-h, --help', 'print this')
    .option('--url <url>', 'the gateway (MILLRACE_URL)')
    .option('--key <key>', 'a key of it (MILLRACE_KEY)')
    .option('--json', 'JSON instead of text for people; streams are a line of JSON each')
    .option('--quiet', 'no progress and no hints')
    .addHelpText('before', EXAMPLES)
    .addHelpText('after', AFTER);
  const cli = createCli({ version: VERSION, world, onExit });
  for (const [heading, verbs] of GROUPS) {
    program.commandsGroup(heading);
    for (const verb of verbs) verb(program, cli);
  }
  for (const noun of program.commands) {
    noun.helpCommand(false);
    for (const one of noun.commands) exampled(one, EXAMPLES_BELOW[`${noun.name()} ${one.name()}`] ?? []);
  }
  program.helpCommand('help [command]', 'print the help of a command');
  return program;
}

/** What, why, what to do; with `--json` as the last line of stderr. */
function sayFailure(thrown: unknown, json: boolean, world: World): Exit {
  const error = thrown instanceof Problem ? refusalOfProblem(thrown.toJSON() as unknown as ProblemBody) : thrown;
  const terminal = createTerminal({ json }, world);
  const known = error instanceof Refusal;
  const exit = known ? error.exit : EXIT.unexpected;
  const message = known ? error.message : error instanceof Error ? (error.stack ?? error.message) : String(error);
  const { code, advice, pointer } = known ? error : ({} as Partial<Refusal>);
  if (json) {
    world.stderr.write(`${JSON.stringify({ error: { message, code, pointer, advice, exit } })}\n`);
    return exit;
  }
  const where = [...(pointer === undefined || pointer === '' ? [] : [`at ${pointer}`]), ...(code === undefined ? [] : [code])];
  terminal.error(`${message}${where.length === 0 ? '' : ` (${where.join('; ')})`}`, advice);
  return exit;
}
