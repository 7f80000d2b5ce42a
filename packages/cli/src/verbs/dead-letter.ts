/** `millrace dead-letter`: deliveries that were given up. One, or all that a filter finds. */
import { type Command, Option } from 'commander';
import { type Call, type Cli, exampled } from '../cli.ts';
import type { Client } from '../client.ts';
import { confirm } from '../confirm.ts';
import { EXIT, type Exit } from '../exit-codes.ts';
import { eachOf, type List, type ListOptions, listOf, showList, withListOptions } from '../lists.ts';
import { timeOf } from '../moments.ts';
import { type Operation, sayOperation, waitFor } from '../operations.ts';
import { cursorOf, placeIn } from '../places.ts';
import { misused } from '../refusal.ts';
import type { Column } from '../table.ts';
import { count, detailsOf, relative } from '../text.ts';

interface DeadLetter {
  readonly id: string;
  readonly subscription: string;
  readonly cause: string;
  /** How the endpoint answered: for admin keys. */
  readonly detail?: string;
  readonly attempts: number;
  readonly event?: { readonly id: string; readonly type: string };
  readonly range?: { readonly count?: number };
  readonly diedAt: string;
  readonly holdsKey?: string;
}

interface BulkOptions {
  readonly subscription?: string;
  readonly cause?: string;
  readonly topic?: string;
  readonly since?: string;
  readonly until?: string;
  readonly all?: boolean;
  readonly dryRun?: boolean;
  readonly wait: boolean;
  readonly yes?: boolean;
}

type Verb = 'redrive' | 'discard';

const at = (id: string, verb = ''): string => `/v1/dead-letters/${encodeURIComponent(id)}${verb}`;

export function deadLetterVerbs(program: Command, { act }: Cli): void {
  const letter = exampled(program.command('dead-letter').description('deliveries that were given up'), [
    'millrace dead-letter list --subscription crm-orders',
    'millrace dead-letter redrive --subscription crm-orders --cause refused --dry-run',
    'millrace dead-letter redrive --all',
    'millrace dead-letter discard dl_…',
  ]);

  withListOptions(
    letter
      .command('list [subscription]')
      .description('oldest first; without --subscription those of all, one subscription after the other')
      .option('--subscription <subscription>', 'whose'),
  ).action(
    act<[string | undefined], ListOptions & { subscription?: string }>(async ({ args: [named], client, options, terminal }) => {
      const { subscription = named } = options;
      if (named !== undefined && named !== subscription) throw misused('the subscription is there twice');
      const list =
        subscription === undefined
          ? await ofAll(client(), options)
          : await listOf<DeadLetter>(client(), 'GET /v1/dead-letters', options, { subscription });
      const data = list.data.toSorted((a, b) => (a.diedAt < b.diedAt ? -1 : a.diedAt > b.diedAt ? 1 : 0));
      showList(terminal, { ...list, data }, { columns: columnsOf(data, Date.now()), nothing: 'There are no dead letters.' });
    }),
  );

  letter
    .command('get <dead-letter>')
    .description('one dead letter: why, after how many attempts')
    .action(
      act<[string]>(async ({ args: [id], client, terminal }) => {
        const { body } = await client().ask<DeadLetter>(`GET ${at(id)}`);
        terminal.data(body, () => detailsOf(body, Date.now()).join('\n'));
      }),
    );

  for (const [verb, what] of [
    ['redrive', 'deliver again, with a fresh schedule'],
    ['discard', 'remove for good'],
  ] as const) {
    withFilter(letter.command(`${verb} [dead-letter]`).description(`${what}: one, or all that a filter finds`)).action(
      act<[string | undefined], BulkOptions>(async (call) => {
        const [id] = call.args;
        return id === undefined ? many(verb, call) : one(verb, id, call);
      }),
    );
  }
}

function withFilter(command: Command): Command {
  return command
    .option('--subscription <subscription>', 'all of this subscription')
    .addOption(new Option('--all', 'of all subscriptions').conflicts('subscription'))
    .option('--cause <cause>', 'only those given up for this')
    .option('--topic <topic>', 'only those of this topic')
    .option('--since <time>', 'only those given up since: how long ago, or a time')
    .option('--until <time>', 'only those given up until: how long ago, or a time')
    .option('--dry-run', 'only count')
    .option('--no-wait', 'do not wait for its end')
    .option('--yes', 'do not ask');
}

async function one(verb: Verb, id: string, call: Call<readonly unknown[], BulkOptions>): Promise<Exit | void> {
  const { subscription, cause, topic, since, until, all, dryRun } = call.options;
  if ([subscription, cause, topic, since, until, all].some((given) => given !== undefined))
    throw misused('name one dead letter, or a filter, not both');
  if (dryRun === true) {
    const { body } = await call.client().ask<DeadLetter>(`GET ${at(id)}`);
    return call.terminal.data({ count: 1 }, () => `1 dead letter would be ${pastOf(verb)} (${body.cause})`);
  }
  if (verb === 'discard') await confirm(call, `Discard the dead letter ${id} for good?`);
  const { body } = await call.client().ask<{ readonly id: string } | undefined>(`POST ${at(id, `/${verb}`)}`);
  const delivery = body?.id;
  call.terminal.data({ [pastOf(verb)]: id, delivery }, () => `${pastOf(verb)} ${id}`);
  if (delivery !== undefined) call.terminal.hint(`What came of it: millrace delivery get ${delivery}`);
}

interface Found {
  readonly subscription: string;
  readonly count: number;
}

async function many(verb: Verb, call: Call<readonly unknown[], BulkOptions>): Promise<Exit | void> {
  const { options, terminal } = call;
  const client = call.client();
  if (options.subscription === undefined && options.all !== true)
    throw misused(`say which: an id, --subscription ID, or --all`, `millrace dead-letter ${verb} --help has examples.`);
  const filter = filterOf(options);
  const found: Found[] = [];
  for await (const subscription of subscriptionsOf(client, options)) {
    const { body } = await client.ask<{ readonly count: number }>(`POST /v1/dead-letters/${verb}`, {
      json: { subscription, ...filter, dryRun: true },
    });
    if (body.count > 0) found.push({ subscription, count: body.count });
  }
  const sum = found.reduce((total, one) => total + one.count, 0);
  if (options.dryRun === true)
    return terminal.data({ count: sum, subscriptions: found }, () =>
      [`${count(sum, 'dead letter')} would be ${pastOf(verb)}`, ...found.map((of) => `  ${of.subscription}  ${of.count}`)].join(
        '\n',
      ),
    );
  if (sum === 0) return terminal.data({ operations: [] }, () => 'no dead letters found');
  if (verb === 'discard') await confirm(call, `Discard ${count(sum, 'dead letter')} for good?`);
  return run(verb, { filter, found }, call);
}

async function run(
  verb: Verb,
  { filter, found }: { readonly filter: object; readonly found: readonly Found[] },
  call: Call<readonly unknown[], BulkOptions>,
): Promise<Exit> {
  const client = call.client();
  const operations: Operation[] = [];
  let exit: Exit = EXIT.ok;
  for (const { subscription } of found) {
    const { body } = await client.ask<Operation>(`POST /v1/dead-letters/${verb}`, { json: { subscription, ...filter } });
    const ended = call.options.wait ? await waitFor(body, { ...call, client }) : { operation: body, exit: EXIT.ok };
    operations.push(ended.operation);
    call.terminal.line(sayOperation(ended.operation));
    if (ended.exit !== EXIT.ok) exit = ended.exit;
    if (exit === EXIT.interrupted) break;
  }
  call.terminal.record({ operations });
  return exit;
}

function filterOf({ cause, topic, since, until }: BulkOptions): object {
  const nowMs = Date.now();
  return {
    ...(cause === undefined ? {} : { cause }),
    ...(topic === undefined ? {} : { topic }),
    ...(since === undefined ? {} : { since: timeOf(since, { option: '--since', nowMs }) }),
    ...(until === undefined ? {} : { until: timeOf(until, { option: '--until', nowMs }) }),
  };
}

async function* subscriptionsOf(client: Client, { subscription }: BulkOptions): AsyncGenerator<string> {
  if (subscription !== undefined) return yield subscription;
  for await (const { id } of eachOf<{ readonly id: string }>(client, 'GET /v1/subscriptions')) yield id;
}

/**
 * A list of the API is of one subscription: here one after the other, until the limit. `next` names the subscription at which
 * to go on, and the place in its list.
 */
async function ofAll(client: Client, { limit, cursor }: ListOptions): Promise<List<DeadLetter>> {
  const [from = null, place = null] = cursor === undefined ? [] : placeIn(cursor, 2);
  const data: DeadLetter[] = [];
  let next: string | null = null;
  for await (const subscription of subscriptionsOf(client, { wait: false })) {
    if (from !== null && subscription < from) continue;
    if (data.length === limit) {
      next = cursorOf([subscription, null]);
      break;
    }
    const left = { limit: limit - data.length, ...(subscription === from && place !== null ? { cursor: place } : {}) };
    const list = await listOf<DeadLetter>(client, 'GET /v1/dead-letters', left, { subscription });
    data.push(...list.data);
    if (list.next === null) continue;
    next = cursorOf([subscription, list.next]);
    break;
  }
  return { data, next };
}

function pastOf(verb: Verb): string {
  return verb === 'redrive' ? 'redriven' : 'discarded';
}

function columnsOf(rows: readonly DeadLetter[], nowMs: number): Column<DeadLetter>[] {
  const holds: Column<DeadLetter> = { title: 'HOLDS KEY', value: ({ holdsKey = '-' }) => holdsKey, shrinks: 4 };
  const lost = (range: DeadLetter['range']): string => `${range?.count ?? 'unknown'} events`;
  return [
    { title: 'DIED', value: ({ diedAt }) => relative(diedAt, nowMs) },
    { title: 'SUBSCRIPTION', value: ({ subscription }) => subscription, shrinks: 4 },
    { title: 'CAUSE', value: ({ cause }) => cause },
    { title: 'ATTEMPTS', value: ({ attempts }) => String(attempts), drops: 2 },
    ...(rows.some(({ holdsKey }) => holdsKey !== undefined) ? [holds] : []),
    { title: 'TOPIC', value: ({ event, range }) => event?.type ?? lost(range), shrinks: 3, drops: 1 },
    { title: 'EVENT', value: ({ event }) => event?.id ?? '-', shrinks: 1, isId: true },
    { title: 'WHY', value: ({ detail = '-' }) => detail, shrinks: 5, most: 40, least: 20 },
    { title: 'DEAD LETTER', value: ({ id }) => id, shrinks: 2, isId: true },
  ];
}
