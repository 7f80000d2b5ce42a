/** The real process for tests: started on a directory of its own and port 0, read line by line. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

const BIN = join(import.meta.dirname, '..', '..', 'cli', 'bin', 'millrace.js');

export interface Line {
  readonly kind: string;
  readonly [member: string]: unknown;
}

export interface Running {
  readonly child: ChildProcess;
  /** Resolves with the first line of NDJSON that is so, printed already or yet to come; rejects when the process ends without it. */
  line(isSo: (line: Line) => boolean): Promise<Line>;
  /** Resolves with the output so far once it holds this. */
  text(part: string): Promise<string>;
  readonly output: { readonly stdout: string; readonly stderr: string };
  /** Exit code, or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals | null>;
}

export interface Ready {
  readonly address: string;
  readonly key: string;
  readonly curl: string;
  ask(route: string, json?: unknown): Promise<{ readonly status: number; readonly json: Json }>;
}

// oxlint-disable-next-line typescript/no-explicit-any -- answers of every shape
type Json = any;

export function temporary(t: Pick<TestContext, 'after'>): string {
  const path = mkdtempSync(join(tmpdir(), 'millrace-start-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

export function startProcess(
  t: Pick<TestContext, 'after'>,
  args: readonly string[],
  environment: NodeJS.ProcessEnv = {},
): Running {
  const {
    MILLRACE_PORT: _port,
    MILLRACE_DATA: _data,
    MILLRACE_HOST: _host,
    MILLRACE_DURABILITY: _durability,
    ...inherited
  } = process.env;
  const child = spawn(process.execPath, [BIN, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...inherited, ...environment },
  });
  const output = { stdout: '', stderr: '' };
  const waiting = new Set<() => void>();
  let over = false;
  const wake = (): void => {
    for (const one of waiting) one();
  };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.on('data', (chunk) => {
      output[name] += String(chunk);
      wake();
    });
  }
  const ended = new Promise<number | NodeJS.Signals | null>((resolve) => {
    child.on('close', (code, signal) => {
      over = true;
      resolve(code ?? signal);
      wake();
    });
  });
  t.after(async () => {
    child.kill('SIGKILL');
    await ended;
  });

  async function found<T>(find: () => T | undefined): Promise<T> {
    for (;;) {
      const result = find();
      if (result !== undefined) return result;
      if (over) throw new Error(`the process ended without it:\n${output.stdout}${output.stderr}`);
      await new Promise<void>((resolve) => waiting.add(resolve));
    }
  }

  return {
    child,
    output,
    ended,
    line: (isSo) => found(() => linesOf(output.stdout).find(isSo)),
    text: (part) => found(() => (output.stdout.includes(part) ? output.stdout : undefined)),
  };
}

function linesOf(text: string): Line[] {
  return text.split('\n').flatMap((line) => (line.startsWith('{') && line.endsWith('}') ? [JSON.parse(line) as Line] : []));
}

/** Waits until it takes requests. In production the key is in its file alone: `data` is where. */
export async function ready(running: Running, data = ''): Promise<Ready> {
  const told = (await running.line(({ kind }) => kind === 'ready')) as unknown as Omit<Ready, 'key'> & { key?: string };
  const { address, curl, key = readFileSync(join(data, 'admin-key'), 'utf8').trim() } = told;
  return {
    address,
    key,
    curl,
    async ask(route, json) {
      const [method = '', path = ''] = route.split(' ');
      const response = await fetch(address + path, {
        method,
        headers: { authorization: `Bearer ${key}`, ...(json === undefined ? {} : { 'content-type': 'application/json' }) },
        ...(json === undefined ? {} : { body: JSON.stringify(json) }),
      });
      const text = await response.text();
      return { status: response.status, json: text === '' ? undefined : JSON.parse(text) };
    },
  };
}
