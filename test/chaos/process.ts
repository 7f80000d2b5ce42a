/** The gateway as a process of its own: started, listened to line by line, killed by its id. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { atEnd } from './clean-up.ts';

const BIN = join(import.meta.dirname, '..', '..', 'packages', 'cli', 'bin', 'millrace.js');
/** How a gateway is started. Everything else here holds for any arguments whose first line of NDJSON is of the kind `ready`. */
const START = ({ port, data }: { readonly port: number; readonly data: string }): readonly string[] =>
  `start --json --port ${port} --allow-egress loopback --auto-topics --data`.split(' ').concat(data);

/** Told for every delivery: not worth keeping. */
const OF_DELIVERIES = /"kind":"(?:delivered|retry|dead|unprinted)"/;
const LINES_MAX = 1_000;
const STDERR_CHARS_MAX = 65_536;

export interface Line {
  readonly kind: string;
  readonly [member: string]: unknown;
}

export interface Ready {
  readonly address: string;
  readonly key: string;
  /** Since it was started. */
  readonly afterMs: number;
}

export interface Ended {
  /** Exit code, or the signal that ended it. */
  readonly how: number | NodeJS.Signals | null;
  readonly stderr: string;
}

export interface Gateway {
  readonly pid: number;
  /** Rejects when it ends before. */
  readonly ready: Promise<Ready>;
  /** What `ready` resolved with, once it has. */
  readonly now: Ready | undefined;
  readonly ended: Promise<Ended>;
  readonly isOver: boolean;
  /** Its lines, but for those of deliveries; the last LINES_MAX. */
  readonly lines: readonly Line[];
  /** The next line of this kind. */
  line(kind: string): Promise<Line>;
  signal(name: NodeJS.Signals): void;
}

export interface StartOptions {
  readonly port: number;
  readonly data: string;
  readonly environment?: NodeJS.ProcessEnv;
  /** Where its admin key is, if not in its own data. */
  readonly keyData?: string;
  /** Told of each line that `lines` keeps. */
  readonly onLine?: (line: Line) => void;
}

/**
 * Node itself and not the shell's `node`: `bin/millrace.js` starts itself again on Node 26 where it runs on another one,
 * and then a kill would only meet the first of two processes.
 */
export function startGateway({ port, data, environment = {}, keyData = data, onLine }: StartOptions): Gateway {
  const startedAt = performance.now();
  const child = spawn(process.execPath, [BIN, ...START({ port, data })], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...withoutOurs(process.env), ...environment },
  });
  const kill = (): void => void child.kill('SIGKILL');
  const forget = atEnd(kill);
  const lines: Line[] = [];
  const listeners = new Set<(line: Line) => void>(onLine === undefined ? [] : [onLine]);
  const ready = Promise.withResolvers<Ready>();
  ready.promise.catch(() => undefined);
  let now: Ready | undefined;
  let stderr = '';
  let isOver = false;

  onLines(child.stdout, (text) => {
    if (OF_DELIVERIES.test(text) || !text.startsWith('{')) return;
    const line = JSON.parse(text) as Line;
    lines.push(line);
    if (lines.length > LINES_MAX) lines.shift();
    if (line.kind === 'ready') {
      now = { address: String(line['address']), key: keyIn(keyData), afterMs: performance.now() - startedAt };
      ready.resolve(now);
    }
    for (const listener of listeners) listener(line);
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr = (stderr + text).slice(-STDERR_CHARS_MAX)));

  const ended = new Promise<Ended>((resolve) => {
    child.on('error', (error) => (stderr += String(error)));
    child.on('close', (code, signal) => {
      forget();
      isOver = true;
      ready.reject(new Error(`the gateway ended (${signal ?? code}) before it was ready\n${stderr}`));
      resolve({ how: code ?? signal, stderr });
    });
  });

  return {
    pid: child.pid ?? 0,
    ready: ready.promise,
    get now() {
      return now;
    },
    ended,
    get isOver() {
      return isOver;
    },
    lines,
    line: (kind) =>
      new Promise((resolve) => {
        const listener = (line: Line): void => {
          if (line.kind !== kind) return;
          listeners.delete(listener);
          resolve(line);
        };
        listeners.add(listener);
      }),
    signal: (name) => void child.kill(name),
  };
}

/** In production it is in its file alone. */
function keyIn(data: string): string {
  return readFileSync(join(data, 'admin-key'), 'utf8').trim();
}

function onLines(stream: NodeJS.ReadableStream, take: (line: string) => void): void {
  let rest = '';
  stream.setEncoding('utf8').on('data', (text: string) => {
    const parts = (rest + text).split('\n');
    rest = parts.pop() ?? '';
    for (const part of parts) take(part);
  });
}

/** What the person who runs this has set for gateways of theirs is not meant for ours. */
function withoutOurs(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !name.startsWith('MILLRACE_')));
}
