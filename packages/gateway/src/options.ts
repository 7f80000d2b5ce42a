/** What was typed: flags, then environment, then defaults. */
import { parseArgs } from 'node:util';

export interface StartOptions {
  readonly host: string;
  readonly port: number;
  /** The port was asked for: another one will not do. */
  readonly portChosen: boolean;
  readonly data: string;
  readonly durability: 'fsync' | 'relaxed';
  readonly json: boolean;
  readonly sample: boolean;
  readonly strictTopics: boolean;
}

export type Asked = { readonly start: StartOptions } | { readonly print: string } | { readonly refused: string };

export const DEFAULT_PORT = 4400;

const HELP = `Millrace takes events in once, keeps them, and delivers them as signed webhooks.

  millrace start                        start here, on port ${DEFAULT_PORT}, data in .millrace
  millrace start --port 8080 --data /var/lib/millrace
  millrace start --json | jq .          one JSON object per line

  --port N               MILLRACE_PORT        port; 0 takes any (default ${DEFAULT_PORT}, or the next free one)
  --host ADDRESS         MILLRACE_HOST        address to listen on (default 127.0.0.1)
  --data DIRECTORY       MILLRACE_DATA        where everything is kept (default .millrace)
  --durability WORD      MILLRACE_DURABILITY  fsync (default): an accepted event survives a power loss;
                                              relaxed: it survives a crash of the process
  --no-sample                                 no built-in receiver "echo", no sample event
  --strict-topics                             refuse events of topics that nobody declared
  --json                                      NDJSON instead of lines for people
  --version, --help
`;

const FLAGS = {
  port: { type: 'string' },
  host: { type: 'string' },
  data: { type: 'string' },
  durability: { type: 'string' },
  json: { type: 'boolean' },
  'no-sample': { type: 'boolean' },
  'strict-topics': { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean', short: 'v' },
} as const;

export function readArguments(argv: readonly string[], environment: NodeJS.ProcessEnv, version: string): Asked {
  let parsed;
  try {
    parsed = parseArgs({ args: [...argv], options: FLAGS, allowPositionals: true });
  } catch (error) {
    return { refused: `${(error as Error).message.split('.')[0]}. Run "millrace --help".` };
  }
  const { values, positionals } = parsed;
  if (values.version === true) return { print: version };
  if (values.help === true || positionals[0] === 'help') return { print: HELP };
  if (positionals.length === 0) return { refused: 'Say what to do: "millrace start", or "millrace --help".' };
  if (positionals[0] !== 'start' || positionals.length > 1)
    return { refused: `"${positionals.join(' ').slice(0, 80)}" is not known; there is "millrace start". Run "millrace --help".` };
  return startOptionsOf(values, environment);
}

type Values = { readonly [name in keyof typeof FLAGS]?: string | boolean | undefined };

function startOptionsOf(values: Values, environment: NodeJS.ProcessEnv): Asked {
  const given = (flag: 'port' | 'host' | 'data' | 'durability'): string | undefined => {
    const text = (values[flag] as string | undefined) ?? environment[`MILLRACE_${flag.toUpperCase()}`];
    return text === '' ? undefined : text;
  };
  const port = given('port');
  const durability = given('durability') ?? 'fsync';
  if (port !== undefined && !(/^\d{1,5}$/.test(port) && Number(port) < 65_536))
    return { refused: `"${port.slice(0, 40)}" is no port: a number from 0 to 65535.` };
  if (durability !== 'fsync' && durability !== 'relaxed')
    return { refused: `"${durability.slice(0, 40)}" is no durability: fsync or relaxed.` };
  return {
    start: {
      host: given('host') ?? '127.0.0.1',
      port: port === undefined ? DEFAULT_PORT : Number(port),
      portChosen: port !== undefined,
      data: given('data') ?? '.millrace',
      durability,
      json: values.json === true,
      sample: values['no-sample'] !== true,
      strictTopics: values['strict-topics'] === true,
    },
  };
}
