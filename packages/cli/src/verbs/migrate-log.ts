/** `millrace migrate-log`: the log of a stopped gateway moves to another one. Works on its data directory, not over HTTP. */
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { DEFAULT_DATA } from '@millrace/gateway/options';
import type { Migrated, Progress as Step } from '@millrace/gateway/migrate/migrate-log';
import { Problem } from '@millrace/core/problem';
import { type Call, type Cli, exampled } from '../cli.ts';
import { confirm } from '../confirm.ts';
import { EXIT } from '../exit-codes.ts';
import { createProgress, type Progress } from '../progress.ts';
import { Refusal } from '../refusal.ts';
import type { Terminal } from '../terminal.ts';
import { count, detailsOf } from '../text.ts';

interface Options {
  readonly from: 'embedded';
  readonly to: string;
  readonly store?: string;
  readonly stream?: string;
  readonly data: string;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
}

/** A record of progress so often at most. */
const TELL_MS = 1_000;
const UNITS: { readonly [phase in Step['phase']]: string } = { look: 'event', copy: 'event', verify: 'event', ledger: 'row' };
const SAID: { readonly [phase in Step['phase']]: string } = {
  look: 'Counting the events.',
  copy: 'Moving the events.',
  verify: 'Reading them back.',
  ledger: 'Writing subscriptions, their places and what happened.',
};

export function migrateLogVerb(program: Command, { act }: Cli): void {
  exampled(
    program
      .command('migrate-log')
      .description('move the log of a stopped gateway to another one; subscriptions go on where they were')
      .addOption(new Option('--from <log>', 'the log it is in').choices(['embedded']).makeOptionMandatory())
      .requiredOption('--to <address>', 'the log it goes to, as for start --log: nats://HOST:4222')
      .option('--store <address>', 'all else goes there, as for start --store: postgres://… (default: it stays in --data)')
      .option('--stream <name>', 'short for ?stream=NAME in the address')
      .addOption(new Option('--data <directory>', 'the data directory').env('MILLRACE_DATA').default(DEFAULT_DATA))
      .option('--dry-run', 'count what would be moved; nothing is written, and the other log is not looked at')
      .option('--yes', 'do not ask'),
    [
      'millrace migrate-log --from embedded --to nats://127.0.0.1:4222 --dry-run',
      'millrace migrate-log --from embedded --to nats://127.0.0.1:4222 --data /var/lib/millrace',
      "millrace migrate-log --from embedded --to 'nats://n1:4222,n2:4222?replicas=3' --store postgres://db/millrace --yes",
    ],
  ).action(act<[], Options>(migrate));
}

async function migrate(call: Call<readonly unknown[], Options>): Promise<void> {
  const { options, terminal, world } = call;
  const { store, dryRun = false } = options;
  const data = resolve(world.directory, options.data);
  const log = addressOf(options);
  const { migrateHere } = await import('@millrace/gateway/main');
  const telling = createTelling(terminal);
  const ending = endedBy(world.interrupted());
  try {
    const given = store === undefined ? {} : { store };
    // What speaks against it is said before anybody is asked.
    if (!dryRun) {
      await migrateHere({ data, log, ...given, dryRun: true, signal: ending });
      await confirm(call, `Move the log of ${options.data} there? It can not be moved back.`);
    }
    const result = await migrateHere({ data, log, ...given, dryRun, onProgress: telling.at, signal: ending });
    telling.end();
    say(result, options, terminal);
  } catch (error) {
    telling.end();
    throw refusalOf(error);
  }
}

function addressOf({ to, stream }: Options): string {
  if (stream === undefined) return to;
  return `${to}${to.includes('?') ? '&' : '?'}stream=${encodeURIComponent(stream)}`;
}

function endedBy(interrupted: AbortSignal): AbortSignal {
  const ending = new AbortController();
  const end = (): void =>
    ending.abort(
      new Refusal(EXIT.interrupted, 'interrupted: nothing was switched over', {
        advice: 'The same command goes on where it was. The gateway can be started on its former log, too.',
      }),
    );
  if (interrupted.aborted) end();
  else interrupted.addEventListener('abort', end, { once: true });
  return ending.signal;
}

/** A bar for people; with `--json` a record at the beginning of each phase, and one a second. */
function createTelling(terminal: Terminal): { at(step: Step): void; end(): void } {
  let phase: Step['phase'] | undefined;
  let bar: Progress | undefined;
  let startedMs = 0;
  let toldMs = 0;

  function begin(next: Step['phase']): void {
    bar?.end();
    phase = next;
    startedMs = toldMs = performance.now();
    if (terminal.json) return terminal.record({ kind: 'progress', phase, done: 0 });
    terminal.hint(SAID[next]);
    bar = createProgress(terminal, UNITS[next]);
  }

  function record({ done, part }: Step, nowMs: number): void {
    if (nowMs - toldMs < TELL_MS) return;
    toldMs = nowMs;
    const perSecond = Math.round((done * 1_000) / (nowMs - startedMs));
    const percent = part === undefined ? {} : { percent: Math.floor(part * 100) };
    terminal.record({ kind: 'progress', phase, done, perSecond, ...percent });
  }

  return {
    at(step) {
      if (step.phase !== phase) begin(step.phase);
      if (terminal.json) record(step, performance.now());
      else bar?.at(step.done, step.part);
    },
    end: () => bar?.end(),
  };
}

function say(result: Migrated, { data }: Options, terminal: Terminal): void {
  terminal.data({ kind: 'migration', ...result }, () => detailsOf(shown(result), Date.now()).join('\n'));
  if (result.state === 'planned') {
    terminal.hint(
      `${count(result.events, 'event')} would be moved. Without --dry-run it is done; the gateway stays stopped meanwhile.`,
    );
    return;
  }
  // Without who signs in: that is not for a screen.
  const { log, store } = result;
  const where = [
    data === DEFAULT_DATA ? '' : ` --data ${data}`,
    ` --log '${log}'`,
    store === undefined ? '' : ` --store '${store}'`,
  ];
  terminal.hint(`Start the gateway: millrace start${where.join('')}`);
  terminal.hint(`Nothing reads the former log any more. When you are content, delete it: state.db* and segments in ${data}.`);
}

const shown = ({ state, ...rest }: Migrated): object => ({ state: STATES[state], ...rest });

const STATES: { readonly [state in Migrated['state']]: string } = {
  planned: 'nothing was moved',
  moved: 'moved, and read back as it was',
  'already-moved': 'moved before',
};

/** What is in the way of the command rather than wrong with it. */
function refusalOf(error: unknown): unknown {
  if (error instanceof Problem && error.code === 'data_directory_locked')
    return new Refusal(EXIT.conflict, error.message, {
      code: error.code,
      advice: 'Stop the gateway first: its log must stand still while it is moved.',
    });
  if (error instanceof Problem && error.code === 'invalid_request')
    return new Refusal(EXIT.usage, error.message, { code: error.code, advice: error.advice });
  const { name, message, advice } = error as Error & { readonly advice?: string };
  return name === 'StartRefused' ? new Refusal(EXIT.usage, message, { advice }) : error;
}
