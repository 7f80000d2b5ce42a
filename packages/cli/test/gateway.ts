/** A real gateway, `millrace dev` as a process of its own, and endpoints of real sockets. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { TestContext } from 'node:test';

export const BIN = join(import.meta.dirname, '..', 'bin', 'millrace.js');

export interface Gateway {
  readonly address: string;
  readonly port: number;
  readonly key: string;
  readonly child: ChildProcess;
  /** Lets it end in order. */
  stop(): Promise<void>;
}

type After = Pick<TestContext, 'after'>;

/** In `directory`, so that commands run there find it by themselves. */
export async function gatewayIn(t: After, directory: string, more: readonly string[] = []): Promise<Gateway> {
  const child = spawn(process.execPath, [BIN, 'dev', '--port', '0', '--json', ...more], {
    cwd: directory,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: withoutMillrace(),
  });
  t.after(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  });
  const { address, port, key } = await lineOf(child, 'ready');
  return {
    address: String(address),
    port: Number(port),
    key: String(key),
    child,
    async stop() {
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await ended;
    },
  };
}

/** The first line of its output of this kind. What follows is read and dropped. */
async function lineOf({ stdout }: ChildProcess, kind: string): Promise<Record<string, unknown>> {
  if (stdout === null) throw new Error('its output is not read');
  return new Promise((resolve, reject) => {
    const lines = createInterface({ input: stdout });
    lines.on('line', (text) => {
      const line = JSON.parse(text) as Record<string, unknown>;
      if (line['kind'] === kind) resolve(line);
    });
    lines.on('close', () => reject(new Error(`it ended without '${kind}'`)));
  });
}

/** What the person who runs the tests has set must not be seen. */
export function withoutMillrace(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('MILLRACE_')));
}

export interface Received {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface Endpoint {
  readonly url: string;
  readonly requests: readonly Received[];
  /** Resolves with the request of this number, from 1. */
  request(number: number): Promise<Received>;
}

/** Answers as told, or 204. */
export async function endpoint(t: After, statusOf: (number: number) => number = () => 204): Promise<Endpoint> {
  const requests: Received[] = [];
  const waiting = new Set<() => void>();
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => void chunks.push(chunk));
    request.on('end', () => {
      requests.push({ headers: request.headers as Record<string, string>, body: Buffer.concat(chunks).toString() });
      response.writeHead(statusOf(requests.length)).end('said the endpoint');
      for (const wake of waiting) wake();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hooks`,
    requests,
    async request(number) {
      while (requests.length < number) await new Promise<void>((resolve) => waiting.add(resolve));
      return requests[number - 1] as Received;
    },
  };
}
