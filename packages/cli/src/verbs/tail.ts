/** `millrace tail`: events as they come in. */
import type { Command } from 'commander';
import { type Cli, exampled } from '../cli.ts';
import type { Followed } from '../following.ts';
import type { Terminal } from '../terminal.ts';
import { clockTime, cut, plain, textOf } from '../text.ts';
import { watch, type WatchOptions, withWatchOptions } from '../watching.ts';

/** Of a payload, for people: more than any terminal shows in a line. */
const SHOWN_BYTES_MAX = 4_096;

export function tailVerb(program: Command, { act }: Cli): void {
  exampled(withWatchOptions(program.command('tail [topics...]').description('events as they come in (default: all topics)')), [
    'millrace tail',
    'millrace tail "orders.*" --from 1h',
    'millrace tail orders.created --json | jq .event.data',
  ]).action(
    act<[readonly string[]], WatchOptions>((call) => {
      const { terminal, args } = call;
      return watch(call, {
        onBegun: () => terminal.hint(`Events of ${args[0].join(', ') || 'all topics'}; Ctrl-C ends.`),
        async onEvent(followed) {
          // A record would be written anew: the line as it came keeps the payload's bytes.
          terminal.raw(() => lineOf(followed, terminal), followed.json);
          return true;
        },
      });
    }),
  );
}

function lineOf({ event, appendedAt }: Followed, terminal: Terminal): string {
  const key = event.extensions?.['partitionkey'];
  const head = `${terminal.style('dim', clockTime(appendedAt))}  ${terminal.style('bold', event.type)}  ${terminal.style('dim', plain(event.id))}`;
  const known = `${clockTime(appendedAt)}  ${event.type}  ${event.id}`.length;
  const rest = `${key === undefined ? '' : `  key ${plain(String(key))}`}  ${payloadOf(event)}`;
  return head + cut(rest, Math.max(10, terminal.width - known));
}

function payloadOf({ data, datacontenttype = '' }: Followed['event']): string {
  if (data === undefined) return '';
  const isText = datacontenttype === '' || /json|text|xml|urlencoded/i.test(datacontenttype);
  return isText ? plain(textOf(data.subarray(0, SHOWN_BYTES_MAX))) : `${data.length} bytes of ${plain(datacontenttype)}`;
}
