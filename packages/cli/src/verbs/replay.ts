/** `millrace replay`: the past again, for one subscription. */
import type { Command } from 'commander';
import { type Call, type Cli, exampled } from '../cli.ts';
import { confirm } from '../confirm.ts';
import type { Exit } from '../exit-codes.ts';
import { momentOf, timeOf } from '../moments.ts';
import { type Operation, sayOperation, waitFor } from '../operations.ts';
import { misused } from '../refusal.ts';
import { count } from '../text.ts';

interface ReplayOptions {
  readonly from: string;
  readonly until?: string;
  readonly to?: string;
  readonly asNew?: boolean;
  readonly rewind?: boolean;
  readonly dryRun?: boolean;
  readonly wait: boolean;
  readonly yes?: boolean;
}

export function replayVerb(program: Command, { act }: Cli): void {
  exampled(
    program
      .command('replay <subscription>')
      .description('send the events of a time again; beside what is delivered anyway')
      .requiredOption('--from <when>', 'earliest, how long ago (2h), or a time')
      .option('--until <time>', 'how long ago, or a time (default: now)')
      .option('--to <url>', 'to another endpoint, for a drill')
      .option('--as-new', 'with new ids, so that a receiver takes them again')
      .option('--rewind', 'set the subscription itself back, instead of a run beside it')
      .option('--dry-run', 'only count')
      .option('--no-wait', 'do not wait for its end')
      .option('--yes', 'do not ask before a rewind'),
    [
      'millrace replay crm-orders --from 2h --dry-run',
      'millrace replay crm-orders --from 2026-11-23T08:00:00Z --until 2026-11-23T09:00:00Z',
      'millrace replay crm-orders --from 1d --to http://127.0.0.1:3000/drill --as-new',
    ],
  ).action(act<[string], ReplayOptions>(replay));
}

async function replay(call: Call<[string], ReplayOptions>): Promise<Exit | void> {
  const {
    args: [id],
    options,
    terminal,
  } = call;
  const route = `POST /v1/subscriptions/${encodeURIComponent(id)}/replay`;
  const json = bodyOf(options);
  if (options.dryRun === true) {
    const { body } = await call.client().ask<{ readonly count: number }>(route, { json });
    return terminal.data(body, () => `${count(body.count, 'event')} would be sent`);
  }
  if (options.rewind === true) {
    await confirm(call, `Set '${id}' back to ${options.from}? Its waiting deliveries are dropped, as the events come again.`);
    const { body } = await call.client().ask(route, { json });
    return terminal.data(body, () => `${id} goes on from ${placeOf(options.from)}`);
  }
  const { body: started } = await call.client().ask<Operation>(route, { json });
  if (!options.wait) return terminal.data(started, () => sayOperation(started));
  const { operation, exit } = await waitFor(started, { ...call, client: call.client() });
  terminal.data(operation, () => sayOperation(operation));
  return exit;
}

function placeOf(from: string): string {
  if (from === 'earliest' || from === 'latest') return from === 'earliest' ? 'the earliest event there is' : 'what comes next';
  const [, many, unit] = /^([\d.]+)([a-z]+)$/.exec(from) ?? [];
  return unit === undefined ? from : `${many} ${unit} ago`;
}

function bodyOf({ from, until, to, asNew, rewind, dryRun }: ReplayOptions): object {
  if (rewind === true && (until !== undefined || to !== undefined || asNew === true))
    throw misused('--rewind sets the subscription itself back: it takes no --until, --to or --as-new');
  const nowMs = Date.now();
  return {
    from: momentOf(from, { option: '--from', nowMs }),
    ...(until === undefined ? {} : { until: timeOf(until, { option: '--until', nowMs }) }),
    ...(to === undefined ? {} : { to: { url: to } }),
    ...(asNew === true ? { asNew } : {}),
    ...(rewind === true ? { rewind } : {}),
    ...(dryRun === true ? { dryRun } : {}),
  };
}
