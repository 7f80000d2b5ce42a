/** A subscription out of options, as the API takes it: a file first, what is named on the command line over it. */
import { type Command, Option } from 'commander';
import { objectOf, readObject } from './input.ts';
import { momentOf } from './moments.ts';
import { duration, headers, positiveNumber, wholeNumber, words } from './readers.ts';
import { misused } from './refusal.ts';
import type { World } from './world.ts';

export interface SubscriptionOptions {
  readonly file?: string;
  readonly app?: string;
  readonly topics?: readonly string[];
  readonly filter?: string;
  readonly to?: string;
  readonly signature?: string;
  readonly secret?: string;
  readonly timeout?: number;
  readonly body?: string;
  readonly bodyJson?: string;
  readonly header?: Readonly<Record<string, string>>;
  readonly stream?: true;
  readonly ackWait?: number;
  readonly retry?: readonly string[];
  readonly ordering?: string;
  readonly onDead?: string;
  readonly concurrency?: number;
  readonly rate?: number | 'none';
  readonly breaker?: string;
  readonly disableAfter?: string;
  readonly from?: string;
}

export function withSubscriptionOptions(command: Command): Command {
  return command
    .option('--file <path>', 'a JSON file with all of it (- is standard input); options below win over it')
    .addOption(new Option('--topics <patterns>', 'such as orders.*,refunds.>; with commas').argParser(words))
    .option('--filter <json>', 'an event pattern; {} takes the filter away')
    .option('--to <url>', 'the endpoint')
    .addOption(new Option('--signature <kind>', 'how it is signed (default standard)').choices(['standard', 'simple']))
    .option('--secret <text>', 'bring your own; without it a new subscription gets one, shown once')
    .addOption(new Option('--timeout <duration>', 'of one attempt (default 15s)').argParser(duration))
    .addOption(new Option('--body <form>', "the event's data, or the whole CloudEvent (default data)").choices(['data', 'event']))
    .addOption(
      new Option('--body-json <form>', 'simple: as it was sent, or as JSON.stringify writes it').choices([
        'as-sent',
        'canonical',
      ]),
    )
    .addOption(new Option('--header <pair>', "'Name: value' for every delivery; repeatable").argParser(headers))
    .addOption(
      new Option('--ack-wait <duration>', 'stream: what is not acked within it comes again (default 30s)').argParser(duration),
    )
    .addOption(
      new Option('--retry <waits>', 'such as 5s,5m,1h; with commas: one attempt more than there are waits').argParser(words),
    )
    .addOption(
      new Option('--on-dead <what>', 'with ordering key: release the key behind a dead letter, or hold it').choices([
        'release',
        'hold',
      ]),
    )
    .addOption(
      new Option('--concurrency <n>', 'deliveries at once (default 16; of a stream, over all its consumers, 64)').argParser(
        wholeNumber(1, 100_000),
      ),
    )
    .addOption(
      new Option('--rate <n>', 'deliveries per second, or none').argParser((text) =>
        text === 'none' ? text : positiveNumber(text),
      ),
    )
    .addOption(new Option('--breaker <what>', 'on, or off: never stop trying').choices(['on', 'off']))
    .option('--disable-after <duration>', 'of nothing but failures (default 5d), or never');
}

/** What can not be changed afterwards. */
export function withCreationOptions(command: Command): Command {
  return withSubscriptionOptions(
    command
      .option('--stream', 'a consumer group instead of an endpoint: consumers connect, or pull, and ack (without --to)')
      .option('--app <app>', "whose it is (default: the key's own app)")
      .addOption(new Option('--ordering <kind>', 'key: the events of one key in order').choices(['none', 'key']))
      .option('--from <when>', 'where it begins: latest (default), earliest, 2h ago as 2h, or a time'),
  );
}

/** Only what was named. */
export async function subscriptionBodyOf(options: SubscriptionOptions, world: World): Promise<Record<string, unknown>> {
  const file = options.file === undefined ? {} : await readObject(options.file, world);
  const { app, topics, filter, retry, ordering, onDead, concurrency, rate, breaker, disableAfter, from } = options;
  return {
    ...file,
    ...named({ app, topics, ordering, onDead, concurrency }),
    ...(filter === undefined ? {} : { filter: filterOf(filter) }),
    ...deliverOf(options, file['deliver']),
    ...(retry === undefined ? {} : { retry: { ...(file['retry'] as object | undefined), schedule: retry } }),
    ...(rate === undefined ? {} : { ratePerSecond: rate === 'none' ? null : rate }),
    ...(breaker === undefined ? {} : { breaker: breaker === 'off' ? false : {} }),
    ...(disableAfter === undefined ? {} : { disableAfter: disableAfter === 'never' ? false : disableAfter }),
    ...(from === undefined ? {} : { from: momentOf(from, { option: '--from', nowMs: Date.now() }) }),
  };
}

interface Delivering {
  readonly webhook?: object;
  readonly stream?: object;
}

/** To one of both: what says webhook and what says stream do not go together. */
function deliverOf(options: SubscriptionOptions, before: unknown): { readonly deliver?: Delivering } {
  const inFile = (before ?? {}) as Delivering;
  const webhook = webhookOf(options);
  const stream = named({ ackWait: options.ackWait });
  const toStream = options.stream ? '--stream' : options.ackWait === undefined ? undefined : '--ack-wait';
  const toWebhook = Object.entries(WEBHOOK_OPTIONS).find(
    ([name]) => options[name as keyof SubscriptionOptions] !== undefined,
  )?.[1];
  if (toStream !== undefined && toWebhook !== undefined)
    throw misused(`${toStream} is of a stream and ${toWebhook} of a webhook: a subscription is one of both`, ONE_OF_BOTH);
  if (toStream !== undefined && inFile.webhook !== undefined)
    throw misused(`${toStream} is of a stream, and the file has deliver.webhook`, ONE_OF_BOTH);
  if (toWebhook !== undefined && inFile.stream !== undefined)
    throw misused(`${toWebhook} is of a webhook, and the file has deliver.stream`, ONE_OF_BOTH);
  if (toStream !== undefined) return { deliver: { ...inFile, stream: { ...inFile.stream, ...stream } } };
  if (Object.keys(webhook).length === 0) return {};
  return { deliver: { ...inFile, webhook: { ...inFile.webhook, ...webhook } } };
}

const ONE_OF_BOTH = 'With --stream consumers connect; with --to the gateway sends to an endpoint.';

/** Option by member. No breaker is about consumers: they come for what they want. */
const WEBHOOK_OPTIONS = {
  to: '--to',
  signature: '--signature',
  secret: '--secret',
  timeout: '--timeout',
  body: '--body',
  bodyJson: '--body-json',
  header: '--header',
  breaker: '--breaker',
} as const satisfies Partial<Record<keyof SubscriptionOptions, string>>;

function webhookOf({ to, signature, secret, timeout, body, bodyJson, header }: SubscriptionOptions): Record<string, unknown> {
  return named({ url: to, signature, secret, timeoutMs: timeout, body, json: bodyJson, headers: header });
}

function filterOf(text: string): unknown {
  const filter = objectOf(text, '--filter');
  return Object.keys(filter).length === 0 ? null : filter;
}

function named(members: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined));
}
