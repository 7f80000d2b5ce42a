/** What was typed: flags, then environment, then defaults. */
import { parseArgs } from 'node:util';

/** `dev`: on one's own machine; `start`: in production. What follows from it is in the other members. */
export type Mode = 'dev' | 'start';

export interface StartOptions {
  readonly mode: Mode;
  readonly host: string;
  readonly port: number;
  /** The port was asked for: another one will not do. */
  readonly portChosen: boolean;
  readonly data: string;
  readonly durability: 'fsync' | 'relaxed';
  readonly json: boolean;
  readonly sample: boolean;
  readonly strictTopics: boolean;
  /** CIDRs and hosts that deliveries may go to although they are not public, as they were written. */
  readonly allowEgress: readonly string[];
  /** Members of `Limits` that were set, by name; names and ranges are checked where limits are. */
  readonly limits: Readonly<Record<string, number>>;
  /** Who may read /metrics. */
  readonly metrics: 'loopback' | 'all';
}

export type Asked = { readonly start: StartOptions } | { readonly print: string } | { readonly refused: string };

export const DEFAULT_PORT = 4400;

const HELP = `Millrace takes events in once, keeps them, and delivers them as signed webhooks.

  millrace dev                          try it here, on port ${DEFAULT_PORT}, data in .millrace
  millrace start                        production: no sample, public endpoints only, topics are declared first
  millrace start --port 8080 --data /var/lib/millrace
  millrace start --json | jq .          one JSON object per line

  --port N               MILLRACE_PORT        port; 0 takes any (default ${DEFAULT_PORT}, or the next free one)
  --host ADDRESS         MILLRACE_HOST        address to listen on (default 127.0.0.1)
  --data DIRECTORY       MILLRACE_DATA        where everything is kept (default .millrace)
  --durability WORD      MILLRACE_DURABILITY  fsync (default): an accepted event survives a power loss;
                                              relaxed: it survives a crash of the process
  --allow-egress WHAT    MILLRACE_ALLOW_EGRESS  a CIDR or host that deliveries may go to although it is not
                                              public; repeatable, in the environment with commas
  --limit NAME=VALUE                          another value for a limit; repeatable
  --metrics WHO          MILLRACE_METRICS     who may read /metrics: loopback (default) or all
  --no-sample                                 dev: no built-in receiver "echo", no sample event
  --strict-topics                             dev: refuse events of topics that nobody declared
  --auto-topics                               start: an undeclared topic is declared by its first event
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
  'auto-topics': { type: 'boolean' },
  'allow-egress': { type: 'string', multiple: true },
  limit: { type: 'string', multiple: true },
  metrics: { type: 'string' },
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
  const [verb, ...more] = positionals;
  if (verb === undefined) return { refused: 'Say what to do: "millrace dev", "millrace start", or "millrace --help".' };
  if ((verb !== 'dev' && verb !== 'start') || more.length > 0)
    return {
      refused: `"${positionals.join(' ').slice(0, 80)}" is not known; there is "millrace dev" and "millrace start". Run "millrace --help".`,
    };
  return startOptionsOf(verb, values, environment);
}

type Values = { readonly [name in keyof typeof FLAGS]?: string | boolean | readonly string[] | undefined };

function startOptionsOf(mode: Mode, values: Values, environment: NodeJS.ProcessEnv): Asked {
  const given = (flag: 'port' | 'host' | 'data' | 'durability' | 'metrics'): string | undefined => {
    const text = (values[flag] as string | undefined) ?? environment[`MILLRACE_${flag.toUpperCase()}`];
    return text === '' ? undefined : text;
  };
  const port = given('port');
  const durability = given('durability') ?? 'fsync';
  if (port !== undefined && !(/^\d{1,5}$/.test(port) && Number(port) < 65_536))
    return { refused: `"${port.slice(0, 40)}" is no port: a number from 0 to 65535.` };
  if (durability !== 'fsync' && durability !== 'relaxed')
    return { refused: `"${durability.slice(0, 40)}" is no durability: fsync or relaxed.` };
  const metrics = given('metrics') ?? 'loopback';
  if (metrics !== 'loopback' && metrics !== 'all')
    return { refused: `"${metrics.slice(0, 40)}" is no reader of /metrics: loopback or all.` };
  const limits: Record<string, number> = {};
  for (const text of (values.limit ?? []) as readonly string[]) {
    const [, name, value] = /^([a-zA-Z]+)=(\d{1,15})$/.exec(text) ?? [];
    if (name === undefined)
      return { refused: `"${text.slice(0, 40)}" is no limit: write --limit name=value, the value a whole number.` };
    limits[name] = Number(value);
  }
  return {
    start: {
      mode,
      host: given('host') ?? '127.0.0.1',
      port: port === undefined ? DEFAULT_PORT : Number(port),
      portChosen: port !== undefined,
      data: given('data') ?? '.millrace',
      durability,
      json: values.json === true,
      sample: mode === 'dev' && values['no-sample'] !== true,
      strictTopics: mode === 'dev' ? values['strict-topics'] === true : values['auto-topics'] !== true,
      allowEgress: (
        (values['allow-egress'] as readonly string[] | undefined) ?? (environment['MILLRACE_ALLOW_EGRESS'] ?? '').split(',')
      )
        .map((text) => text.trim())
        .filter((text) => text !== ''),
      limits,
      metrics,
    },
  };
}
