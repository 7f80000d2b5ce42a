/** `millrace listen`: matching events go to a URL on this machine, as a subscription would send them. */
import { type Command, Option } from 'commander';
import { type Call, type Cli, exampled } from '../cli.ts';
import type { Exit } from '../exit-codes.ts';
import type { Followed } from '../following.ts';
import type { Forwarded } from '../forwarding.ts';
import { duration } from '../readers.ts';
import { misused } from '../refusal.ts';
import type { Terminal } from '../terminal.ts';
import { clockTime, plain, spanOf } from '../text.ts';
import { watch, type WatchOptions, withWatchOptions } from '../watching.ts';

interface ListenOptions extends WatchOptions {
  readonly to: string;
  readonly timeout: number;
}

export function listenVerb(program: Command, { act }: Cli): void {
  exampled(
    withWatchOptions(
      program
        .command('listen <topics...>')
        .description('forward events to a URL on this machine, signed as a subscription signs them')
        .requiredOption('--to <url>', 'where to; 3000 and :3000/hooks mean this machine')
        .addOption(new Option('--timeout <duration>', 'of one request').argParser(duration).default(15_000, '15s')),
    ),
    [
      'millrace listen "orders.*" --to http://127.0.0.1:3000/hooks',
      'millrace listen orders.created refunds.created --to 3000 --from 1h',
      'millrace listen ">" --to :3000/hooks --url https://events.example --key mr_…',
    ],
  ).action(act<[readonly string[]], ListenOptions>(listen));
}

async function listen(call: Call<[readonly string[]], ListenOptions>): Promise<Exit> {
  const { args, options, terminal } = call;
  const url = endpointOf(options.to);
  const { forward } = await import('../forwarding.ts');
  const { secretOf } = await import('../listen-secret.ts');
  const secret = secretOf(call);
  return watch(call, {
    onBegun() {
      terminal.record({ kind: 'listening', topics: args[0], to: url });
      terminal.hint(`${args[0].join(', ')}  →  ${url}; Ctrl-C ends.`);
    },
    async onEvent(followed, signal) {
      const result = await forward(
        followed,
        {
          url,
          secret,
          timeoutMs: options.timeout,
          onWaiting: (cause, againMs) => terminal.warn(`${url}: ${cause}; trying again in ${spanOf(againMs)}`),
        },
        signal,
      );
      if (signal.aborted && result.status === 0) return false;
      say(terminal, followed, result);
      return true;
    },
  });
}

function say(terminal: Terminal, { event, appendedAt }: Followed, { webhookId, status, cause, durationMs }: Forwarded): void {
  const good = status >= 200 && status < 300;
  const { id, type } = event;
  terminal.data(
    {
      kind: good ? 'forwarded' : 'failed',
      event: { id, type },
      webhookId,
      status,
      cause,
      durationMs: Math.round(durationMs * 10) / 10,
    },
    () => {
      const answer = terminal.style(good ? 'green' : 'red', status === 0 ? String(cause) : String(status));
      const time = terminal.style('dim', clockTime(appendedAt));
      return `${time}  ${type}  ${terminal.style('dim', plain(id))}  ${answer}  ${durationMs.toFixed(1)} ms`;
    },
  );
}

/** `3000`, `:3000/hooks`, `localhost:3000`, or a whole URL. */
function endpointOf(text: string): string {
  const [, port, path = '/'] = /^:?(\d{1,5})(\/.*)?$/.exec(text) ?? [];
  const url = URL.parse(
    port === undefined ? (/^[a-z]+:\/\//i.test(text) ? text : `http://${text}`) : `http://127.0.0.1:${port}${path}`,
  );
  if (url === null || !/^https?:$/.test(url.protocol))
    throw misused(`--to "${text.slice(0, 80)}" is no URL`, 'Write it like http://127.0.0.1:3000/hooks.');
  return url.href;
}
