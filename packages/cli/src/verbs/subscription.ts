/** `millrace subscription`: who gets which events, and how. */
import type { Command } from 'commander';
import { type Call, type Cli, exampled } from '../cli.ts';
import { confirm } from '../confirm.ts';
import { EXIT } from '../exit-codes.ts';
import { type Faring, isToStream } from '../health.ts';
import { objectOf } from '../input.ts';
import { type ListOptions, listOf, showList, withListOptions } from '../lists.ts';
import { misused } from '../refusal.ts';
import {
  subscriptionBodyOf,
  type SubscriptionOptions,
  withCreationOptions,
  withSubscriptionOptions,
} from '../subscription-body.ts';
import { columnsOf, shownNew, shownRotated, shownWhole, type Subscription } from '../subscription-text.ts';
import { detailsOf } from '../text.ts';
import { type Tested, whyNot } from '../why-not.ts';

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
        columns: columnsOf(list.data, Date.now()),
        nothing: 'There are no subscriptions: millrace subscription create ID --topics "orders.*" --to URL (or --stream)',
      });
    }),
  );

  subscription
    .command('get <subscription>')
    .description('one subscription, and how it fares')
    .action(
      act<[string]>(async ({ args: [id], client, terminal }) => {
        const { body } = await client().ask<Subscription & Faring>(`GET ${at(id)}`);
        terminal.data(body, () => shownWhole(body, terminal).join('\n'));
      }),
    );

  withCreationOptions(
    subscription.command('create [subscription]').description("a new one; a webhook's signing secret is shown this once"),
  ).action(act<[string | undefined], SubscriptionOptions>(create));

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
    .action(act<[string], RotateOptions>(rotate));
}

interface RotateOptions {
  readonly overlap?: string;
  readonly secret?: string;
}

async function rotate({ args: [id], options, client, terminal }: Call<[string], RotateOptions>): Promise<void> {
  const { overlap, secret } = options;
  const json = { ...(overlap === undefined ? {} : { overlap }), ...(secret === undefined ? {} : { secret }) };
  const { body } = await client().ask<Subscription & { previousUntil: string }>(`POST ${at(id, '/rotate-secret')}`, { json });
  terminal.data(body, () => shownRotated(body, { isOwn: secret !== undefined, terminal }).join('\n'));
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
  if (!('deliver' in json))
    throw misused(
      'say where to: --to URL, or --stream for consumers that connect',
      'millrace subscription create --help has examples.',
    );
  const { body } = await client().ask<Subscription>('POST /v1/subscriptions', { json });
  terminal.data(body, () => shownNew(body, { isOwn: bringsSecret(json), terminal }).join('\n'));
  for (const warning of body.warnings ?? []) terminal.warn(`warning: ${warning}`);
  const first = isToStream(body)
    ? `Consume it under the group '${body.id}': subscribe(…, { group }) of the SDK, or POST /v1/pull`
    : `Try the endpoint: millrace subscription test ${body.id}`;
  terminal.hint(`${first}; all settings: millrace subscription get ${body.id}`);
}

function bringsSecret(json: object): boolean {
  const { deliver } = json as { readonly deliver?: { readonly webhook?: { readonly secret?: unknown } } };
  return typeof deliver?.webhook?.secret === 'string';
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

function jsonOf(text: string): unknown {
  return objectOf(`{"data":${text}}`, '--data')['data'];
}
