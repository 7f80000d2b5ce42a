/** `millrace delivery`: what became of events at one subscription. */
import { type Command, Option } from 'commander';
import { type Call, type Cli, exampled } from '../cli.ts';
import { type Attempt, DELIVERIES, type Delivery, newestOfAll, type Wanted } from '../deliveries.ts';
import { deliveryIdOf } from '../delivery-names.ts';
import { type ListOptions, listOf, showList, withListOptions } from '../lists.ts';
import { misused } from '../refusal.ts';
import type { Terminal } from '../terminal.ts';
import { type Column, tableOf } from '../table.ts';
import { detailsOf, plain, relative } from '../text.ts';
import { waitingFor } from '../waiting.ts';

const OUTCOMES = ['delivered', 'retry', 'dead'];

interface Whose {
  readonly subscription?: string;
}

const at = (id: string, verb = ''): string => `/v1/deliveries/${encodeURIComponent(id)}${verb}`;

export function deliveryVerbs(program: Command, { act }: Cli): void {
  const delivery = exampled(program.command('delivery').description('what became of events at a subscription'), [
    'millrace delivery list --subscription crm-orders',
    'millrace delivery list --subscription crm-orders --webhook-id msg_…',
    'millrace delivery get ID',
    'millrace delivery retry ID',
  ]);

  withListOptions(
    delivery
      .command('list [subscription]')
      .description('newest first; without --subscription those of all')
      .option('--subscription <subscription>', 'whose')
      .option('--event <id>', 'only those of this event')
      .option('--webhook-id <id>', 'only what the receiver knows by this')
      .addOption(new Option('--outcome <outcome>', 'only those whose last attempt came to this').choices(OUTCOMES)),
  ).action(act<[string | undefined], ListOptions & Wanted & Whose>(list));

  delivery
    .command('get <delivery>')
    .description('one delivery with its attempts; by its id, or as others know it: msg_…, evt_…')
    .option('--subscription <subscription>', 'of which, where it is known by another id')
    .action(
      act<[string], Whose>(async ({ args: [name], client, options: { subscription }, terminal }) => {
        const id = await deliveryIdOf(client(), name, { subscription, verb: 'get' });
        const { body } = await client().ask<Delivery>(`GET ${at(id)}`);
        terminal.data(body, () => shown(body, terminal));
      }),
    );

  delivery
    .command('retry <delivery>')
    .description('try it now, whatever became of it; the receiver sees the same webhook-id')
    .option('--subscription <subscription>', 'of which, where it is known by msg_… or evt_…')
    .action(
      act<[string], Whose>(async ({ args: [name], client, options: { subscription }, terminal }) => {
        const id = await deliveryIdOf(client(), name, { subscription, verb: 'retry' });
        const { body } = await client().ask<Delivery>(`POST ${at(id, '/retry')}`);
        terminal.data(body, () => `${body.event.id} is sent to ${body.subscription} again`);
        terminal.hint(`What came of it: millrace delivery get ${body.id}`);
      }),
    );
}

async function list({
  args: [named],
  client,
  options,
  terminal,
}: Call<[string | undefined], ListOptions & Wanted & Whose>): Promise<void> {
  const { subscription = named, event, webhookId, outcome, limit, cursor } = options;
  if (named !== undefined && named !== subscription) throw misused('the subscription is there twice');
  const place = { limit, ...(cursor === undefined ? {} : { cursor }) };
  const wanted = { event, webhookId, outcome };
  const list =
    subscription === undefined
      ? await newestOfAll(client(), place, wanted)
      : await listOf<Delivery>(client(), DELIVERIES, place, { subscription, ...wanted });
  const columns = columnsOf(list.data, { nowMs: Date.now(), ofAll: subscription === undefined });
  const isOfOne = event !== undefined || webhookId !== undefined;
  if (list.data.length > 0 || terminal.json || !isOfOne)
    return showList(terminal, list, { columns, nothing: nothingOf(subscription, outcome) });
  for (const line of await waitingFor(client(), subscription)) terminal.hint(line);
}

function nothingOf(subscription: string | undefined, outcome: string | undefined): string {
  const where = subscription === undefined ? 'at any subscription' : `at '${subscription}'`;
  return outcome === undefined ? `Nothing was tried ${where} yet.` : `No delivery ${where} came to '${outcome}' last.`;
}

function shown({ attempts, ...delivery }: Delivery, { width }: Terminal): string {
  const nowMs = Date.now();
  const columns: Column<Attempt>[] = [
    { title: 'ATTEMPT', value: ({ n }) => String(n) },
    { title: 'WHEN', value: ({ startedAt }) => startedAt },
    { title: 'OUTCOME', value: ({ outcome }) => outcome },
    { title: 'ANSWER', value: answerOf },
    { title: 'TOOK', value: ({ durationMs }) => `${durationMs.toFixed(1)} ms` },
    { title: 'IT SAID', value: ({ snippet = '' }) => plain(snippet), shrinks: 1 },
  ];
  return [...detailsOf(delivery, nowMs), '', ...tableOf(columns, attempts, width)].join('\n');
}

/** Consumers of a stream have no status to answer with. */
function answerOf({ status, cause, outcome }: Attempt): string {
  if (status !== 0) return String(status);
  return cause === '' && outcome === 'delivered' ? 'acked' : cause;
}

function columnsOf(
  rows: readonly Delivery[],
  { nowMs, ofAll }: { readonly nowMs: number; readonly ofAll: boolean },
): Column<Delivery>[] {
  const last = ({ attempts }: Delivery): Attempt | undefined => attempts.at(-1);
  const answer = (row: Delivery): string => {
    const attempt = last(row);
    return attempt === undefined ? '-' : answerOf(attempt);
  };
  const subscription: Column<Delivery> = { title: 'SUBSCRIPTION', value: (row) => row.subscription, shrinks: 5 };
  const next: Column<Delivery> = { title: 'NEXT', value: ({ nextAttemptAt }) => relative(nextAttemptAt, nowMs) };
  return [
    { title: 'WHEN', value: (row) => relative(last(row)?.startedAt, nowMs) },
    ...(ofAll ? [subscription] : []),
    { title: 'TOPIC', value: ({ event }) => event.type, shrinks: 4, drops: 2 },
    { title: 'EVENT', value: ({ event }) => event.id, shrinks: 3, isId: true },
    { title: 'OUTCOME', value: ({ outcome }) => outcome },
    { title: 'ANSWER', value: answer },
    { title: 'ATTEMPTS', value: ({ attempts }) => String(attempts.length) },
    ...(rows.some(({ nextAttemptAt }) => nextAttemptAt !== undefined) ? [next] : []),
    { title: 'WEBHOOK-ID', value: ({ webhookId = '-' }) => webhookId, shrinks: 1, drops: 1, isId: true },
    { title: 'DELIVERY', value: ({ id }) => id, shrinks: 2, isId: true },
  ];
}
