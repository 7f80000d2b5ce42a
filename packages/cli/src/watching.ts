/** What `tail` and `listen` share: topics and a place on the command line, the state of the connection said aloud. */
import { type Command, Option } from 'commander';
import type { Call } from './cli.ts';
import { EXIT, type Exit } from './exit-codes.ts';
import type { Followed, Gap } from './following.ts';
import { momentOf } from './moments.ts';
import { wholeNumber } from './readers.ts';
import { misused } from './refusal.ts';
import type { Terminal } from './terminal.ts';
import { spanOf } from './text.ts';

export interface WatchOptions {
  readonly from?: string;
  readonly cursor?: string;
  readonly count?: number;
}

export function withWatchOptions(command: Command): Command {
  return command
    .option('--from <when>', 'latest (default), earliest, how long ago (2h), or a time')
    .addOption(new Option('--cursor <cursor>', 'go on where an earlier call ended').conflicts('from'))
    .addOption(new Option('--count <n>', 'end after so many events').argParser(wholeNumber(1, Number.MAX_SAFE_INTEGER)));
}

interface Watching {
  /** Told once, when the place in the log is fixed: what is published from then on is seen. */
  readonly onBegun: () => void;
  /** Called one after the other. False: it was interrupted, and the event is to come again. */
  readonly onEvent: (event: Followed, signal: AbortSignal) => Promise<boolean>;
}

/** Until Ctrl-C, or `--count` events. */
export async function watch(
  { args: [topics], options, terminal, world, client }: Call<[readonly string[]], WatchOptions>,
  { onBegun, onEvent }: Watching,
): Promise<Exit> {
  const { follow } = await import('./following.ts');
  const signal = world.interrupted();
  const place = placeOf(topics, options);
  let { cursor } = place;
  let left = options.count ?? Infinity;
  for await (const step of follow(client(), place, signal)) {
    if (step.kind === 'lost') sayLost(terminal, step);
    else if (step.kind === 'back') sayBack(terminal);
    else if (step.kind === 'begun') {
      // With another beginning, events may stand in the same answer.
      if (place.from === undefined) cursor ??= step.cursor;
      onBegun();
    } else {
      if (step.gap !== undefined) sayGap(terminal, step.gap);
      for (const [at, event] of step.events.entries()) {
        if (!(await onEvent(event, signal))) break;
        await terminal.drained();
        left--;
        if (at === step.events.length - 1) ({ cursor } = step);
        if (left === 0) return EXIT.ok;
        if (signal.aborted) break;
      }
      if (step.events.length === 0) ({ cursor } = step);
    }
    if (signal.aborted) break;
  }
  if (cursor !== undefined) terminal.hint(`\nGo on from here: --cursor ${cursor}`);
  return EXIT.interrupted;
}

function placeOf(
  topics: readonly string[],
  { from, cursor }: WatchOptions,
): { readonly topics: readonly string[]; readonly from?: string; readonly cursor?: string } {
  if (topics.some((topic) => topic.trim() === '')) throw misused('a topic must not be empty');
  return {
    topics: topics.length === 0 ? ['>'] : topics,
    ...(from === undefined ? {} : { from: momentOf(from, { option: '--from', nowMs: Date.now() }) }),
    ...(cursor === undefined ? {} : { cursor }),
  };
}

function sayLost(terminal: Terminal, { why, againMs }: { readonly why: string; readonly againMs: number }): void {
  terminal.record({ kind: 'lost', why, againMs: Math.round(againMs) });
  terminal.warn(`connection lost: ${why}; trying again in ${spanOf(againMs)}`);
}

function sayBack(terminal: Terminal): void {
  terminal.record({ kind: 'back' });
  terminal.warn('connected again; going on where it stopped');
}

/** What was lost for this reader is said, never passed over. */
function sayGap(terminal: Terminal, gap: Gap): void {
  terminal.record({ kind: 'gap', ...gap });
  const many = gap.count === undefined ? 'events' : gap.count === 1 ? 'one event' : `${gap.count} events`;
  terminal.warn(
    gap.cause === 'expired'
      ? `gap: ${many} can not be shown: retention removed them before they were read here`
      : 'gap: the log is another one than before; going on by time, what came in between may be missing or come again',
  );
}
