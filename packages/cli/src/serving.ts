/** The options of `dev` and `start`: flags, then environment, then defaults. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { availableParallelism } from 'node:os';
import { DEFAULT_DATA, DEFAULT_PORT, type Mode, type StartOptions, WORKERS_MAX } from '@millrace/gateway/options';
import { wholeNumber, words } from './readers.ts';

export interface ServingOptions {
  readonly port?: number;
  readonly host: string;
  readonly data: string;
  readonly log?: string;
  readonly store?: string;
  readonly node?: string;
  readonly advertise?: string;
  readonly workers?: number;
  readonly durability: 'fsync' | 'relaxed';
  readonly publicUrl?: string;
  readonly allowEgress?: readonly string[];
  readonly limit?: Readonly<Record<string, number>>;
  readonly metrics: 'loopback' | 'all';
  readonly sample?: boolean;
  readonly strictTopics?: boolean;
  readonly autoTopics?: boolean;
  readonly json?: boolean;
}

export function withServingOptions(command: Command, mode: Mode): Command {
  command
    .addOption(
      new Option('--port <n>', `port; 0 takes any (default ${DEFAULT_PORT}, or the next free one)`)
        .env('MILLRACE_PORT')
        .argParser(wholeNumber(0, 65_535)),
    )
    .addOption(
      new Option('--host <address>', 'address to listen on; 0.0.0.0 is all of this machine')
        .env('MILLRACE_HOST')
        .default('127.0.0.1'),
    )
    .addOption(new Option('--data <directory>', 'where everything is kept').env('MILLRACE_DATA').default(DEFAULT_DATA))
    .addOption(
      new Option('--durability <word>', 'fsync: an accepted event survives a power loss; relaxed: a crash of the process')
        .env('MILLRACE_DURABILITY')
        .choices(['fsync', 'relaxed'])
        .default('fsync'),
    )
    .addOption(
      new Option(
        '--public-url <address>',
        'where receivers reach this gateway, to report failures later (default: where it listens, if that is this machine alone)',
      ).env('MILLRACE_PUBLIC_URL'),
    )
    .addOption(
      new Option(
        '--allow-egress <what>',
        'CIDR or host that deliveries may go to although it is not public; repeatable, or with commas',
      )
        .env('MILLRACE_ALLOW_EGRESS')
        .argParser(words),
    )
    .addOption(
      new Option('--limit <name=value>', 'another value for a limit, see millrace limits; repeatable, or with commas')
        .env('MILLRACE_LIMIT')
        .argParser(limits),
    )
    .addOption(new Option('--log <address>', 'the log: nats://HOST:4222 (default: embedded, in --data)').env('MILLRACE_LOG'))
    .addOption(
      new Option('--metrics <who>', 'who may read /metrics')
        .env('MILLRACE_METRICS')
        .choices(['loopback', 'all'])
        .default('loopback'),
    );
  if (mode === 'start') return withClusterOptions(command);
  return command
    .option('--no-sample', 'no built-in receiver "echo", no sample event')
    .option('--strict-topics', 'refuse events of topics that nobody declared');
}

function withClusterOptions(command: Command): Command {
  return command
    .option('--auto-topics', 'an undeclared topic is declared by its first event')
    .addOption(
      new Option('--store <address>', 'all else, shared by nodes: postgres://… (default: embedded, in --data)').env(
        'MILLRACE_STORE',
      ),
    )
    .addOption(new Option('--node <name>', 'with --store: this node (default: host name and port)').env('MILLRACE_NODE'))
    .addOption(
      new Option('--advertise <address>', 'with --store: where other nodes reach this one, http://…').env('MILLRACE_ADVERTISE'),
    )
    .addOption(
      new Option(
        '--workers <n>',
        'threads that share the port, each with the limits of a process; auto: as many as cores (default 1)',
      )
        .env('MILLRACE_WORKERS')
        .argParser(workers),
    );
}

/** `auto`: one for each core there is. */
function workers(text: string): number {
  return text === 'auto' ? Math.min(availableParallelism(), WORKERS_MAX) : wholeNumber(1, WORKERS_MAX)(text);
}

function limits(text: string, before: Readonly<Record<string, number>> | undefined): Readonly<Record<string, number>> {
  const found = words(text, []).map((pair) => /^([a-zA-Z]+)=(\d{1,15})$/.exec(pair));
  if (found.length === 0 || found.includes(null))
    throw new InvalidArgumentError('Write it like name=value, the value a whole number.');
  return { ...before, ...Object.fromEntries(found.map((match) => [match?.[1], Number(match?.[2])])) };
}

export function startOptionsOf(mode: Mode, options: ServingOptions): StartOptions {
  const { port, host, data, durability, allowEgress = [], limit = {}, metrics, json = false } = options;
  const { log, store, node, advertise, publicUrl = '' } = options;
  const { workers: count = 1 } = options;
  return {
    ...(log === undefined ? {} : { log }),
    ...(store === undefined ? {} : { store }),
    ...(node === undefined ? {} : { node }),
    ...(advertise === undefined ? {} : { advertise }),
    ...(publicUrl === '' ? {} : { publicUrl }),
    workers: count,
    mode,
    host,
    port: port ?? DEFAULT_PORT,
    portChosen: port !== undefined,
    data,
    durability,
    json,
    sample: mode === 'dev' && options.sample !== false,
    strictTopics: mode === 'dev' ? options.strictTopics === true : options.autoTopics !== true,
    allowEgress,
    limits: limit,
    metrics,
  };
}
