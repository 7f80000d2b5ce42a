/** `millrace subscription`: who gets which events, and how. */
import type { Command } from 'commander';
import { type Call, type Cli, exampled } from '../cli.ts';
import { confirm } from '../confirm.ts';
import { EXIT } from '../exit-codes.ts';
import { objectOf } from '../input.ts';
import { type ListOptions, listOf, showList, withListOptions } from '../lists.ts';
import { misused } from '../refusal.ts';
import { subscriptionBodyOf, type SubscriptionOptions, withSubscriptionOptions } from '../subscription-body.ts';
import type { Terminal } from '../terminal.ts';
import { type Column, detailsOf, plain, relative } from '../text.ts';

interface Subscription {
  readonly id: string;
  readonly app: string;
  readonly topics: readonly string[];
  readonly deliver: { readonly webhook?: { readonly url: string } };
  readonly filter?: object;
  readonly ordering: string;
  readonly state: string;
  readonly createdAt: string;
  readonly secret?: string;
  readonly warnings?: readonly string[];
}

interface Tested {
  readonly delivered: boolean;
  readonly webhookId: string;
  readonly status: number;
  readonly cause: string;
  readonly durationMs: number;
  /** How the answer begins; without an answer, what the system said. Shown to admin keys. */
  readonly snippet?: string;
}

const at = (id: string, verb = ''): string => `/v1/subscriptions/${encodeURIComponent(id)}${verb}`;

export function subscriptionVerbs(program: Command, { act }: Cli): void {
  const subscription = exampled(program.command('subscription').description('who gets which events, and how'), [
    'millrace subscription create crm-orders --topics "orders.*" --to http://127.0.0.1:3000/hooks',
    'millrace subscription create crm-big --topics "orders.*" --filter \'{"data":{"amount":[{"numeric":[">",100]}]}}\' --to …',
    'millrace subscription test crm-orders',
    'millrace subscription get crm-orders',
  ]);

  withListOptions(subscription.command('list').description('all subscriptions')).action(
    act<[], ListOptions>(async ({ client, options, terminal }) => {
      const list = await listOf<Subscription>(client(), 'GET /v1/subscriptions', options);
      showList(terminal, list, {
        columns: columnsAt(Date.now()),
        nothing: 'There are no subscriptions: millrace subscription create ID --topics "orders.*" --to URL',
      });
    }),
  );

  subscription
    .command('get <subscription>')
    .description('one subscription, and how it fares')
    .action(
      act<[string]>(async ({ args: [id], client, terminal }) => {
        const { body } = await client().ask<Subscription>(`GET ${at(id)}`);
        terminal.data(body, () => detailsOf(body, Date.now()).join('\n'));
      }),
    );

  withSubscriptionOptions(
    subscription.command('create [subscription]').description('a new one; its signing secret is shown this once'),
  )
    .option('--from <when>', 'where it begins: latest (default), earliest, 2h ago as 2h, or a time')
    .action(act<[string | undefined], SubscriptionOptions>(create));

  withSubscriptionOptions(
    subscription.command('update <subscription>').description('change what is named, keep the rest'),
  ).action(
    act<[string], SubscriptionOptions>(async ({ args: [id], options, client, terminal, world }) => {
      const json = await subscriptionBodyOf(options, world);
      if (Object.keys(json).length === 0)
        throw misused('say what to change', 'millrace subscription update --help lists the options.');
      const { body } = await client().ask<Subscription>(`PATCH ${at(id)}`, { json });
      const { warnings = [], ...shown } = body;
      terminal.data(body, () => detailsOf(shown, Date.now()).join('\n'));
      for (const warning of warnings) terminal.warn(`warning: ${warning}`);
    }),
  );

  subscription
    .command('delete <subscription>')
    .description('with its waiting deliveries and dead letters')
    .option('--yes', 'do not ask')
    .action(
      act<[string], { yes?: boolean }>(async (call) => {
        const [id] = call.args;
        await confirm(call, `Delete '${id}' with its waiting deliveries and dead letters?`);
        await call.client().ask(`DELETE ${at(id)}`);
        call.terminal.data({ deleted: id }, () => `deleted ${id}`);
      }),
    );

  for (const [verb, what] of [
    ['pause', 'nothing is sent until it is resumed; nothing is lost'],
    ['resume', 'go on where it stopped; also what was disabled, or waits for its endpoint'],
  ] as const) {
    subscription
      .command(`${verb} <subscription>`)
      .description(what)
      .action(
        act<[string]>(async ({ args: [id], client, terminal }) => {
          const { body } = await client().ask<Subscription>(`POST ${at(id, `/${verb}`)}`);
          terminal.data(body, () => `${id} is ${body.state}`);
        }),
      );
  }

  subscription
    .command('test <subscription>')
    .description('send one signed test event now; exit code 1 where it is not taken')
    .option('--topic <topic>', 'its type (default millrace.test)')
    .option('--data <json>', 'its data')
    .action(act<[string], { topic?: string; data?: string }>(test));

  subscription
    .command('rotate-secret <subscription>')
    .description('a new signing secret; the old one goes on signing for the overlap')
    .option('--overlap <duration>', 'both sign so long (default 24h)')
    .option('--secret <text>', 'bring your own')
    .action(
      act<[string], { overlap?: string; secret?: string }>(async ({ args: [id], options, client, terminal }) => {
        const { overlap, secret } = options;
        const json = { ...(overlap === undefined ? {} : { overlap }), ...(secret === undefined ? {} : { secret }) };
        const { body } = await client().ask<Subscription & { previousUntil?: string }>(`POST ${at(id, '/rotate-secret')}`, {
          json,
        });
        const { secret: made, previousUntil } = body;
        terminal.data(body, () => detailsOf({ id, secret: made, previousUntil }, Date.now()).join('\n'));
        terminal.hint('The secret is shown this once.');
      }),
    );
}

async function create({
  args: [id],
  options,
  client,
  terminal,
  world,
}: Call<[string | undefined], SubscriptionOptions>): Promise<void> {
  const json = { ...(await subscriptionBodyOf(options, world)), ...(id === undefined ? {} : { id }) };
  if (!('topics' in json))
    throw misused('say which topics: --topics "orders.*"', 'millrace subscription create --help has examples.');
  if (!('deliver' in json)) throw misused('say where to: --to URL', 'millrace subscription create --help has examples.');
  const { body } = await client().ask<Subscription>('POST /v1/subscriptions', { json });
  terminal.data(body, () => shownNew(body, terminal));
  for (const warning of body.warnings ?? []) terminal.warn(`warning: ${warning}`);
  terminal.hint(`Try the endpoint: millrace subscription test ${body.id}; all settings: millrace subscription get ${body.id}`);
}

/** What is never shown again stands first; what was chosen, below it. */
function shownNew({ id, secret, app, topics, filter, deliver, ordering }: Subscription, { style }: Terminal): string {
  const chosen = { app, topics, filter, endpoint: deliver.webhook?.url, ordering: ordering === 'none' ? undefined : ordering };
  return [
    `${style('green', 'created')} ${id}`,
    '',
    style('bold', `secret  ${secret}`),
    'The secret is shown this once: keep it where secrets are kept. The receiver verifies deliveries with it.',
    '',
    ...detailsOf(chosen, Date.now()),
  ].join('\n');
}

async function test({
  args: [id],
  options: { topic, data },
  client,
  terminal,
}: Call<[string], { topic?: string; data?: string }>): Promise<1 | undefined> {
  const json = { ...(topic === undefined ? {} : { topic }), ...(data === undefined ? {} : { data: jsonOf(data) }) };
  const { body } = await client().ask<Tested>(`POST ${at(id, '/test')}`, { json });
  const { delivered, status, cause, durationMs, webhookId } = body;
  terminal.data(body, () => {
    const answer = `${status === 0 ? 'no answer' : status}  ${durationMs.toFixed(1)} ms  ${webhookId}`;
    return delivered
      ? terminal.style('green', `delivered  ${answer}`)
      : terminal.style('red', `not delivered (${cause})  ${answer}`);
  });
  if (delivered) return undefined;
  for (const line of whyNot(id, body)) terminal.hint(line);
  return EXIT.unexpected;
}

/** By the cause of an attempt: what there was instead of an answer, and what to look at. */
const NO_ANSWER: Readonly<Record<string, readonly [what: string, advice: string]>> = {
  refused: ['connection refused', 'Nothing listens there: start the receiver, then test again.'],
  unreachable: ['no way to that address', 'Look at the network between the gateway and the endpoint.'],
  connect_timeout: ['no connection in time', 'Look at the network between the gateway and the endpoint.'],
  dns: ['its name leads nowhere', 'Look at the name in the address.'],
  tls: ['no TLS with it', 'Look at its certificate.'],
  timeout: ['no whole answer in time', 'Let it answer first and work afterwards, or give it longer: --timeout.'],
  reset: ['the connection broke', 'Look at what the receiver logs.'],
  protocol: ['what came is not HTTP', 'Look at what listens there.'],
  blocked_address: ['the gateway does not send there', 'Start the gateway with --allow-egress for that address.'],
};
const SNIPPET_CHARS = 400;

/** What came instead of a good answer, and the next command. */
function whyNot(id: string, { status, cause, snippet = '' }: Tested): string[] {
  const said = plain(snippet.slice(0, SNIPPET_CHARS));
  const again = `millrace subscription test ${id}`;
  if (status !== 0) return [...(said === '' ? [] : [`It answered: ${said}`]), `When the receiver takes it: ${again}`];
  const [what, advice] = NO_ANSWER[cause] ?? [cause, 'Look at what the receiver logs.'];
  return [
    `No answer: ${what}${said === '' ? '' : ` (${said})`}. ${advice}`,
    `Again: ${again}; to another address: millrace subscription update ${id} --to URL`,
  ];
}

function jsonOf(text: string): unknown {
  return objectOf(`{"data":${text}}`, '--data')['data'];
}

function columnsAt(nowMs: number): Column<Subscription>[] {
  return [
    { title: 'SUBSCRIPTION', value: ({ id }) => id },
    { title: 'APP', value: ({ app }) => app, shrinks: true },
    { title: 'STATE', value: ({ state }) => state },
    { title: 'TOPICS', value: ({ topics }) => topics.join(','), shrinks: true },
    { title: 'ENDPOINT', value: ({ deliver }) => deliver.webhook?.url ?? '-', shrinks: true },
    { title: 'CREATED', value: ({ createdAt }) => relative(createdAt, nowMs) },
  ];
}
