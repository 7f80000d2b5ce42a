/** What a person, or with `--json` a program, reads of a running gateway. All wording is here. */
import type { WriteStream } from 'node:tty';
import { Problem } from '@millrace/core/problem';
import type { Notice } from './api.ts';
import { curlLine } from './http/curl.ts';
import { DEFAULT_PORT, ADMIN_KEY_FILE, type StartOptions } from './options.ts';
import { StartRefused } from './refused.ts';
import { SAMPLE_TOPIC } from './start.ts';

/** The event that people are shown how to publish. */
const TRY_TOPIC = 'orders.created';
export const TRY_EVENT = { type: TRY_TOPIC, data: { id: 42 } };
/** A person reads no more; the rest is counted. */
const LINES_PER_SECOND = 50;
/** A reader that does not read: past it lines are counted instead of kept. */
const WAITING_BYTES_MAX = 1024 * 1024;

export interface Ready {
  readonly version: string;
  readonly address: string;
  readonly port: number;
  readonly key: string | undefined;
  /** MILLRACE_KEY of the environment holds another one. */
  readonly isOtherKeySet?: boolean;
  readonly options: StartOptions;
  readonly startedMs: number;
}

export interface Screen {
  ready(ready: Ready): void;
  sampleSent(eventId: string): void;
  /** `worker`: whose it is, where there are several. */
  notice(notice: Notice, verdict?: string, worker?: number): void;
  /** Lines of deliveries that came faster than anybody could write them. */
  unprinted(count: number): void;
  workerEnded(ended: { readonly worker: number; readonly error: Error; readonly againMs: number }): void;
  workerBack(worker: number): void;
  declared(topic: string, owner: string): void;
  /** An error inside that somebody was told `internal_error` for. */
  unexpected(error: unknown): void;
  /** The end. */
  failed(error: unknown): void;
  stopping(): void;
  stopped(): void;
}

interface Streams {
  readonly json: boolean;
  readonly stdout: WriteStream | NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
}

export function createScreen({ json, stdout, stderr }: Streams): Screen {
  const colour = stdout.isTTY && process.env['NO_COLOR'] === undefined;
  const dim = (text: string): string => (colour ? `\u001B[2m${text}\u001B[22m` : text);
  const bold = (text: string): string => (colour ? `\u001B[1m${text}\u001B[22m` : text);
  const red = (text: string): string => (colour ? `\u001B[31m${text}\u001B[39m` : text);
  /** What a person reads is not to scroll the address away: until it stands there, lines wait. */
  let early: (() => void)[] | undefined = json ? undefined : [];
  let sample: string | undefined;
  let second = 0;
  let printed = 0;
  let unprinted = 0;
  // Whoever read us has gone; the gateway goes on.
  stdout.on('error', () => undefined);

  const write = (text: string): void => void stdout.write(`${text}\n`);

  function showEarly(): void {
    const shows = early ?? [];
    early = undefined;
    for (const show of shows) show();
  }

  const tell = (kind: string, members: object): void => write(JSON.stringify({ at: new Date().toISOString(), kind, ...members }));

  /** Of lines that come as often as deliveries. */
  function mayWrite(): boolean {
    const now = Math.floor(Date.now() / 1_000);
    if (now !== second) {
      if (unprinted > 0 && stdout.writableLength < WAITING_BYTES_MAX) sayUnprinted();
      second = now;
      printed = 0;
    }
    const fits = stdout.writableLength < WAITING_BYTES_MAX && (json || printed < LINES_PER_SECOND);
    if (fits) printed++;
    else unprinted++;
    return fits;
  }

  function sayUnprinted(): void {
    if (json) tell('unprinted', { count: unprinted });
    else write(dim(`  … and ${unprinted} more`));
    unprinted = 0;
  }

  function lineOf(notice: Extract<Notice, { eventId: string }>, verdict: string | undefined): string {
    const { topic, eventId, subscription, status, cause, durationMs, n, nextMs } = notice;
    // A consumer of a stream has no status to answer with.
    const answer = status !== 0 ? String(status) : notice.kind === 'delivered' ? 'acked' : cause;
    const next =
      notice.kind === 'delivered'
        ? ''
        : notice.kind === 'dead'
          ? red('  dead letter')
          : `  try ${n + 1} in ${waitOf(nextMs ?? 0)}`;
    const verified = verdict === undefined ? '' : verdict === 'verified' ? '  signature verified' : red(`  ${verdict}`);
    return `  ${dim(clockTime())}  ${topic}  ${dim(eventId)}  → ${subscription}  ${notice.kind === 'delivered' ? answer : red(answer)}  ${durationMs.toFixed(1)} ms${verified}${next}`;
  }

  function say(notice: Notice, verdict: string | undefined, worker: number | undefined): void {
    const of = worker === undefined ? {} : { worker };
    if ('eventId' in notice) {
      if (!mayWrite()) return;
      if (json)
        tell(notice.kind, {
          ...withoutKind(notice),
          ...of,
          ...(verdict === undefined ? {} : { verdict }),
          ...(notice.eventId === sample ? { sample: true } : {}),
        });
      else write(lineOf(notice, verdict));
      return;
    }
    // As often as somebody writes nonsense, or a receiver fails.
    if ((notice.kind === 'rejected' || notice.kind === 'reported') && !mayWrite()) return;
    if (json) tell(notice.kind, { ...withoutKind(notice), ...of });
    else write(`  ${dim(clockTime())}  ${worker === undefined ? '' : `worker ${worker}: `}${sentenceOf(notice)}`);
  }

  return {
    ready(ready) {
      const { version, address, port, key, startedMs } = ready;
      const { mode, data, durability, workers = 1 } = ready.options;
      if (json) {
        const shown = mode === 'dev' ? { key } : {};
        return tell('ready', {
          version,
          mode,
          address,
          port,
          ...shown,
          data,
          durability,
          ...(workers > 1 ? { workers } : {}),
          startedMs: Math.round(startedMs),
        });
      }
      write('');
      write(`  ${bold(`millrace ${version}`)}  ready in ${(startedMs / 1_000).toFixed(1)} s`);
      write('');
      for (const [name, value] of factsOf(ready)) write(`  ${name.padEnd(9)} ${value}`);
      write('');
      for (const [name, line] of tryLinesOf(ready)) write(`  ${name.padEnd(9)} ${line}`);
      if (mode === 'dev') write('');
      if (ready.isOtherKeySet === true) {
        write(`  ${OTHER_KEY}`);
        write('');
      }
      write(dim(`  ${ready.options.sample ? SAMPLE_COMES : LINES_COME}`));
      showEarly();
    },
    sampleSent(eventId) {
      sample = eventId;
      if (json) tell('sample', { eventId, topic: SAMPLE_TOPIC });
    },
    notice(notice, verdict, worker) {
      if (early === undefined) say(notice, verdict, worker);
      else if (early.length < LINES_PER_SECOND) early.push(() => say(notice, verdict, worker));
      else unprinted++;
    },
    unprinted: (count) => void (unprinted += count),
    workerEnded({ worker, error, againMs }) {
      const known = error instanceof Problem || error instanceof StartRefused;
      const text = known ? error.message : (error.stack ?? error.message);
      if (json) tell('worker_ended', { worker, message: text, againMs });
      else write(`  ${dim(clockTime())}  ${red(`worker ${worker} has ended; it is started again in ${waitOf(againMs)}`)}`);
      stderr.write(`${clockTime()}  worker ${worker} has ended: ${text}\n`);
    },
    workerBack(worker) {
      if (json) tell('worker_back', { worker });
      else write(`  ${dim(clockTime())}  worker ${worker} is back`);
    },
    declared(topic, owner) {
      if (json) tell('topic_declared', { topic, owner });
      else write(`  ${dim(clockTime())}  topic ${topic} declared by its first event (owner ${owner}, kept 7 days)`);
    },
    unexpected(error) {
      stderr.write(`${clockTime()}  unexpected: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    },
    failed(error) {
      showEarly();
      const known = error instanceof Problem || error instanceof StartRefused;
      const text = known ? error.message : error instanceof Error ? (error.stack ?? error.message) : String(error);
      if (json)
        tell('failed', {
          message: text,
          ...(error instanceof Problem ? { code: error.code } : {}),
          ...(known ? { advice: toDoOf(error) } : {}),
        });
      const advice = known ? toDoOf(error) : undefined;
      stderr.write(`millrace can not go on: ${text}${advice === undefined ? '' : `\n${advice}`}\n`);
    },
    stopping() {
      if (json) tell('stopping', {});
      else write(dim('  Stopping: what is under way may end. Once more stops at once.'));
    },
    stopped() {
      if (unprinted > 0) sayUnprinted();
      if (json) tell('stopped', {});
    },
  };
}

/** Whoever opens the next terminal has it there, too. */
const OTHER_KEY =
  'MILLRACE_KEY is set here, to another key than this one: where it is set, the millrace command and the examples send it instead.';

const toDoOf = (error: Problem | StartRefused): string | undefined => (error instanceof Problem ? error.toDo : error.advice);

const SAMPLE_COMES = 'A sample event goes to the built-in receiver "echo"; then a line per delivery. Ctrl-C stops.';
const LINES_COME = 'A line per delivery follows. Ctrl-C stops.';

/** The key is shown where somebody tries things out; in production it would end up in the log of the process. */
function factsOf({ address, port, key, options }: Ready): [string, string][] {
  const { mode, host, data, durability, strictTopics, allowEgress, portChosen, workers = 1 } = options;
  const notes = [
    ...(!portChosen && port !== DEFAULT_PORT ? [`port ${DEFAULT_PORT} is taken`] : []),
    ...(host === '0.0.0.0' || host === '::' ? [`listens on all addresses of this machine: ${host}`] : []),
  ];
  const kept = `${data}/${ADMIN_KEY_FILE}`;
  const shown = mode === 'dev' ? `${key}  (admin; kept in ${kept})` : `kept in ${kept}  (admin)`;
  const fsync = durability === 'fsync' ? 'every accepted event is fsynced' : 'relaxed: a power loss may take the last moments';
  return [
    ['Address', notes.length === 0 ? address : `${address}  (${notes.join('; ')})`],
    ['Key', key === undefined ? 'as you have it (the first one was removed)' : shown],
    ['Storage', storageOf(options, fsync)],
    ...(workers > 1 ? ([['Workers', `${workers} threads on this port; limits are of each`]] as [string, string][]) : []),
    ['Topics', strictTopics ? 'declared before their first event' : 'declared by their first event'],
    ...(mode === 'dev' ? [] : ([['Endpoints', ['public addresses', ...allowEgress].join(', ')]] as [string, string][])),
  ];
}

/** Passwords stay where they are. */
function storageOf({ data, log, store }: StartOptions, fsync: string): string {
  const shown = (url: string): string => url.replace(/\/\/[^@/]*@/, '//').replace(/\?.*$/, '');
  if (log === undefined) return `${data}  (embedded log; ${fsync})`;
  return `log ${shown(log)}; ${store === undefined ? `the rest in ${data}` : `the rest ${shown(store)}`}`;
}

/** Lines to paste into a shell. */
function tryLinesOf({ address, key = 'YOUR_KEY', options }: Ready): [string, string][] {
  if (options.mode !== 'dev') return [];
  const declare = `curl -sS -X PUT ${address}/v1/topics/${TRY_TOPIC} -H 'Authorization: Bearer ${key}'`;
  const publish = curlLine({ address, key, body: JSON.stringify(TRY_EVENT) });
  return [...(options.strictTopics ? ([['Declare', declare]] as [string, string][]) : []), ['Try', publish]];
}

/** To two units: 250 ms, 45s, 4m43s, 9h58m. */
function waitOf(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  const seconds = Math.round(ms / 1_000);
  if (seconds < 60) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes}m${seconds % 60}s` : `${Math.floor(minutes / 60)}h${minutes % 60}m`;
}

function clockTime(): string {
  const now = new Date();
  return new Date(now.getTime() - now.getTimezoneOffset() * 60_000).toISOString().slice(11, 23);
}

function withoutKind({ kind: _kind, ...rest }: Notice): object {
  return rest;
}

function sentenceOf(notice: Exclude<Notice, { eventId: string }>): string {
  switch (notice.kind) {
    case 'breaker_open':
      return `${notice.subscription}: its endpoint is down (${notice.cause}); deliveries wait in the log, probes go out. When it is back they go on at once after: millrace subscription test ${notice.subscription}`;
    case 'breaker_closed':
      return `${notice.subscription}: its endpoint answers again`;
    case 'bound_reached':
      return `${notice.subscription}: stands still at its bound "${notice.bound}"; nothing is lost`;
    case 'rejected':
      return `a message on ${notice.topic} can not be an event (${notice.code}: ${notice.detail}) and is delivered to nobody. Such messages: millrace topic rejects ${notice.topic}`;
    case 'reported':
      return `${notice.topic}  ${notice.event}  → ${notice.subscription}: its receiver failed after it had answered  ${notice.outcome === 'dead' ? 'dead letter' : 'tried again'}`;
    case 'retention_near':
      return `${notice.subscription}: ${notice.percent} % of the way until retention takes what it has not delivered`;
    case 'range_expired':
      return `${notice.subscription}: retention took events before they were delivered; a dead letter names the range`;
    case 'log_changed':
      return `${notice.subscription}: the log is another one than before; a dead letter names what can not be known`;
    case 'disabled':
      return notice.cause === 'gone'
        ? `${notice.subscription}: disabled, its endpoint answered 410 (gone); resume it when it is back`
        : `${notice.subscription}: disabled, as nothing was delivered for too long and all attempts failed; what it has not got stays in the log, resume it when it works`;
    case 'egress_failing':
      return `${notice.subscriptions} subscriptions can not connect at once: look at this machine's own network`;
    case 'ledger_failing':
      return `the record of deliveries can not be written (${notice.code}); it is tried again`;
    case 'left_behind':
      return `${notice.problem}. ${notice.advice}`;
    case 'log_working':
      return 'the log takes events again';
    case 'log_failing':
      if (notice.code === 'log_full')
        return 'the log is full: publishes are refused (log_full), nothing that was accepted is lost. Make room on its disk, or shorten the retention of topics';
      return `the log can not be used (${notice.code}); it is tried again`;
    case 'lease_failing':
      return notice.code === undefined
        ? 'this node renews its lease again'
        : `this node can not renew its lease (${notice.code}); it is tried again`;
    case 'lease_over':
      return 'the lease of this node is over: it sends nothing until it is renewed';
    case 'slots_taken':
      return `took ${notice.count} slots, works ${notice.now} of 128`;
    case 'slots_left':
      return `gave ${notice.count} slots back, works ${notice.now} of 128`;
    case 'slots_lost':
      return `${notice.count} slots are another node's by now; works ${notice.now} of 128`;
  }
}
