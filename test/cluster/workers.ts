/** `millrace start --workers N` as a real process, asked over a connection of its own for every request. */
import { request } from 'node:http';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Line, ready, type Running, startProcess } from '../../packages/gateway/test/process.ts';

const FAULT = join(import.meta.dirname, 'worker-fault.ts');

// oxlint-disable-next-line typescript/no-explicit-any -- answers of every shape
type Json = any;

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
  readonly json: Json;
}

export interface WorkersProcess {
  readonly running: Running;
  readonly address: string;
  readonly key: string;
  /** As a good client does: what is being moved to another worker, or was cut off with one, is asked for again. */
  ask(route: string, json?: unknown, headers?: Readonly<Record<string, string>>): Promise<Answer>;
  /** Once, whatever comes of it. */
  askOnce(route: string, json?: unknown, headers?: Readonly<Record<string, string>>): Promise<Answer>;
  /** All lines of this kind so far. */
  lines(kind: string): readonly Line[];
  /** Until each of them has its part of the slots. */
  balanced(): Promise<void>;
  /** An error nobody expected, in one of them. */
  fault(): void;
}

interface Options {
  readonly data: string;
  readonly workers: number;
  readonly port?: number;
  readonly more?: readonly string[];
  readonly environment?: NodeJS.ProcessEnv;
}

const LEASE_MS = 1_500;

export async function startWorkersProcess(
  t: Pick<TestContext, 'after'>,
  { data, workers, port = 0, more = [], environment = {} }: Options,
): Promise<WorkersProcess> {
  const own = ['--data', data, '--port', String(port), '--workers', String(workers)];
  const running = startProcess(
    t,
    ['start', '--json', '--auto-topics', '--allow-egress', 'loopback', '--limit', `leaseMs=${LEASE_MS}`, ...own, ...more],
    { NODE_OPTIONS: `--import=${FAULT}`, TEST_WORKERS: String(workers), ...environment },
  );
  const { address, key } = await ready(running, data);
  const lines = (kind: string): Line[] =>
    running.output.stdout.split('\n').flatMap((text) => {
      const line = text.startsWith('{') && text.endsWith('}') ? (JSON.parse(text) as Line) : undefined;
      return line?.kind === kind ? [line] : [];
    });
  const askOnce: WorkersProcess['askOnce'] = (route, json, headers) => askAt(address, key, { route, json, headers });
  return {
    running,
    address,
    key,
    askOnce,
    lines,
    async ask(route, json, headers) {
      for (;;) {
        const answer = await askOnce(route, json, headers).catch((error: { readonly code?: string }) => {
          if (error.code !== 'ECONNRESET') throw error;
          return undefined;
        });
        if (answer !== undefined && answer.status !== 503) return answer;
        // real time: what it waits for happens in another process
        await sleep(Number(answer?.headers['retry-after'] ?? 0) * 1_000);
      }
    },
    async balanced() {
      const part = Math.floor(128 / workers);
      const isFair = (worker: number): boolean => {
        const now = ['slots_taken', 'slots_left', 'slots_lost']
          .flatMap(lines)
          .filter((line) => line['worker'] === worker)
          .toSorted((a, b) => String(a['at']).localeCompare(String(b['at'])))
          .at(-1)?.['now'] as number | undefined;
        return now === part || now === part + 1;
      };
      await running.line(() => Array.from({ length: workers }, (_, at) => at + 1).every(isFair));
    },
    fault: () => void running.child.kill('SIGUSR2'),
  };
}

function askAt(
  address: string,
  key: string,
  {
    route,
    json,
    headers = {},
  }: { readonly route: string; readonly json?: unknown; readonly headers?: Readonly<Record<string, string>> | undefined },
): Promise<Answer> {
  const [method = '', path = ''] = route.split(' ');
  const body = json === undefined ? undefined : JSON.stringify(json);
  return new Promise((resolve, reject) => {
    const asked = request(address + path, {
      method,
      agent: false,
      headers: {
        authorization: `Bearer ${key}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
        ...headers,
      },
    });
    asked.on('error', reject);
    asked.on('response', (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('error', reject);
      response.on('end', () => {
        const isJson = /json/.test(response.headers['content-type'] ?? '');
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers as Record<string, string>,
          text,
          json: isJson ? JSON.parse(text) : undefined,
        });
      });
    });
    asked.end(body);
  });
}
