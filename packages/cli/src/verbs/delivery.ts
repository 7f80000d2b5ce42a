/** `millrace delivery`: what became of events at one subscription. */
import type { Command } from 'commander';
import { type Cli, exampled } from '../cli.ts';
import { type ListOptions, listOf, showList, withListOptions } from '../lists.ts';
import { misused } from '../refusal.ts';
import type { Terminal } from '../terminal.ts';
import { type Column, detailsOf, plain, relative, tableOf } from '../text.ts';

interface Attempt {
  readonly n: number;
  readonly startedAt: string;
  readonly durationMs: number;
  readonly outcome: string;
  readonly cause: string;
  readonly status: number;
  readonly snippet?: string;
}

interface Delivery {
  readonly id: string;
  readonly subscription: string;
  /** As the receiver has it; absent once retention took the event. */
  readonly webhookId?: string;
  readonly event: { readonly id: string; readonly type: string };
  readonly outcome: string;
  readonly attempts: readonly Attempt[];
  readonly nextAttemptAt?: string;
}

interface Wanted {
  readonly subscription?: string;
  readonly event?: string;
  readonly webhookId?: string;
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
      .description('newest first')
      .option('--subscription <subscription>', 'whose')
      .option('--event <id>', 'only those of this event')
      .option('--webhook-id <id>', 'only what the receiver knows by this'),
  ).action(
    act<[string | undefined], ListOptions & Wanted>(async ({ args: [named], client, options, terminal }) => {
      const { subscription = named, event, webhookId } = options;
      if (subscription === undefined)
        throw misused('say whose: --subscription ID', 'millrace subscription list shows what there is.');
      if (named !== undefined && named !== subscription) throw misused('the subscription is there twice');
      const list = await listOf<Delivery>(client(), 'GET /v1/deliveries', options, { subscription, event, webhookId });
      const nothing =
        event === undefined && webhookId === undefined
          ? `Nothing was delivered to '${subscription}' yet.`
          : `No such delivery to '${subscription}': attempts are kept for seven days.`;
      showList(terminal, list, { columns: columnsAt(Date.now()), nothing });
    }),
  );

  delivery
    .command('get <delivery>')
    .description('one delivery with its attempts')
    .action(
      act<[string]>(async ({ args: [id], client, terminal }) => {
        const { body } = await client().ask<Delivery>(`GET ${at(id)}`);
        terminal.data(body, () => shown(body, terminal));
      }),
    );

  delivery
    .command('retry <delivery>')
    .description('try it now, whatever became of it; the receiver sees the same webhook-id')
    .action(
      act<[string]>(async ({ args: [id], client, terminal }) => {
        const { body } = await client().ask<Delivery>(`POST ${at(id, '/retry')}`);
        terminal.data(body, () => `${body.event.id} is sent to ${body.subscription} again`);
        terminal.hint(`What came of it: millrace delivery get ${body.id}`);
      }),
    );
}

function shown({ attempts, ...delivery }: Delivery, { width }: Terminal): string {
  const nowMs = Date.now();
  const columns: Column<Attempt>[] = [
    { title: 'ATTEMPT', value: ({ n }) => String(n) },
    { title: 'WHEN', value: ({ startedAt }) => startedAt },
    { title: 'OUTCOME', value: ({ outcome }) => outcome },
    { title: 'ANSWER', value: answerOf },
    { title: 'TOOK', value: ({ durationMs }) => `${durationMs.toFixed(1)} ms` },
    { title: 'IT SAID', value: ({ snippet = '' }) => plain(snippet), shrinks: true },
  ];
  return [...detailsOf(delivery, nowMs), '', ...tableOf(columns, attempts, width)].join('\n');
}

function answerOf({ status, cause }: Attempt): string {
  return status === 0 ? cause : String(status);
}

function columnsAt(nowMs: number): Column<Delivery>[] {
  const last = ({ attempts }: Delivery): Attempt | undefined => attempts.at(-1);
  return [
    { title: 'WHEN', value: (row) => relative(last(row)?.startedAt, nowMs) },
    { title: 'TOPIC', value: ({ event }) => event.type, shrinks: true },
    { title: 'EVENT', value: ({ event }) => event.id, shrinks: true },
    { title: 'OUTCOME', value: ({ outcome }) => outcome },
    {
      title: 'ANSWER',
      value(row) {
        const attempt = last(row);
        return attempt === undefined ? '-' : answerOf(attempt);
      },
    },
    { title: 'ATTEMPTS', value: ({ attempts }) => String(attempts.length) },
    { title: 'WEBHOOK-ID', value: ({ webhookId = '-' }) => webhookId },
    { title: 'DELIVERY', value: ({ id }) => id },
  ];
}
