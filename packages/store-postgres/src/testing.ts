/** What the tests of this package share: a server of their own, and a schema for each test. */
import { chmodSync, mkdtempSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import type { TestContext } from 'node:test';
import type { Change, Directory } from '@millrace/gateway/ports/directory';
import type { AttemptRow } from '@millrace/gateway/ports/ledger';
import { Client } from 'pg';
import { findBroker, startBroker } from '../../../scripts/brokers/find.ts';
import { openPostgres } from './store-postgres.ts';
import type { Postgres, PostgresOptions } from './store-postgres.ts';

export const START_MS = Date.UTC(2026, 10, 2, 12);
export const DAY_MS = 86_400_000;

export interface TestServer {
  readonly url: string;
  /** Why there is none; else false. Goes into the options of each test. */
  readonly skip: string | false;
  /** A name nobody has used before. */
  schema(): string;
  /** As an administrator. */
  query(text: string, values?: readonly unknown[]): Promise<Record<string, unknown>[]>;
  /** A store in a schema of its own, closed after the test. */
  open(context: TestContext, options?: Partial<PostgresOptions>): Promise<Postgres>;
  stop(): Promise<void>;
  /** As by a kill of all its processes: what it had not written is lost. */
  crash(): Promise<void>;
  /** On the same port, with the same data. */
  start(): Promise<void>;
}

/** One for a test file; it and its data are gone when the file is through. */
export async function testServer(): Promise<TestServer> {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-postgres-'));
  // The server's user must get to its data.
  chmodSync(directory, 0o755);
  const found = await findBroker('postgres', { directory });
  const { skip } = found;
  let { server } = found;
  after(() => server?.remove());
  const { url = '', port } = server ?? {};
  let schemas = 0;
  const schema = () => `test_${++schemas}`;

  return {
    url,
    skip,
    schema,
    async query(text, values = []) {
      const client = new Client({ connectionString: url });
      await client.connect();
      try {
        return (await client.query<Record<string, unknown>>(text, [...values])).rows;
      } finally {
        await client.end();
      }
    },
    async open(context, options = {}) {
      const store = await openPostgres({ url, schema: schema(), now: () => START_MS, ...options });
      context.after(() => store.close());
      return store;
    },
    stop: () => server!.stop(),
    async crash() {
      process.kill(server!.pid, 'SIGQUIT');
      await server!.stop();
    },
    async start() {
      server = await startBroker('postgres', { directory, ...(port === undefined ? {} : { port }) });
    },
  };
}

export const at = (n: number): string => String(n).padStart(16, '0');

export function attempt(n: number, change: Partial<AttemptRow> = {}): AttemptRow {
  const place = { lane: 'sub.0', shard: 'main', position: at(n) };
  const answer = {
    outcome: 'delivered',
    cause: '',
    status: 204,
    snippet: '',
    eventId: `event-${n}`,
    topic: 'orders.created',
  } as const;
  return { ...place, n: 1, startedMs: START_MS + n, durationMs: 12, ...answer, ...change };
}

export function hasCode(code: string): (error: unknown) => boolean {
  return (error) => (error as { readonly code?: unknown }).code === code;
}

/** Between a store and the server, so that a test can say what the network does. */
export interface Proxy {
  readonly url: string;
  /** Breaks all connections and refuses new ones. */
  cut(): void;
  /** Takes what is sent, passes on nothing. */
  freeze(): void;
  /** As at first. What was frozen stays broken. */
  restore(): void;
  /** New connections go to another server, as after a failover. */
  leadTo(url: string): void;
  /** Breaks the connection whose answer holds this, before the answer is through. Resolves when that has happened. */
  breakAt(answer: string): Promise<void>;
}

export async function testProxy(context: TestContext, url: string): Promise<Proxy> {
  let { hostname, port } = new URL(url);
  const sockets = new Set<Socket>();
  let mode: 'open' | 'cut' | 'frozen' = 'open';
  let breaking: { readonly answer: string; readonly done: () => void } | undefined;

  // Half open: what is frozen answers a goodbye no more than anything else.
  const proxy = createServer({ allowHalfOpen: true }, (client) => {
    if (mode === 'cut') return client.destroy();
    const server = connect({ port: Number(port), host: hostname, allowHalfOpen: true });
    const both = [client, server];
    const end = () => both.forEach((socket) => socket.destroy());
    for (const socket of both) {
      sockets.add(socket);
      socket
        .on('error', end)
        .on('end', () => mode === 'frozen' || end())
        .on('close', () => {
          sockets.delete(socket);
          end();
        });
    }
    client.on('data', (data) => mode === 'frozen' || server.write(data));
    server.on('data', (data) => {
      if (mode === 'frozen') return;
      if (breaking === undefined || !data.includes(breaking.answer)) return client.write(data);
      breaking.done();
      breaking = undefined;
      end();
    });
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const cut = () => sockets.forEach((socket) => socket.destroy());
  context.after(() => {
    proxy.close();
    cut();
  });
  const through = new URL(url);
  through.port = String((proxy.address() as AddressInfo).port);

  return {
    url: String(through),
    cut() {
      mode = 'cut';
      cut();
    },
    freeze() {
      mode = 'frozen';
    },
    restore() {
      if (mode === 'frozen') cut();
      mode = 'open';
    },
    leadTo(other) {
      ({ hostname, port } = new URL(other));
    },
    breakAt: (answer) => new Promise((done) => (breaking = { answer, done })),
  };
}

/** Everything a watcher is told; `until` resolves when it has been told something that `isLast`. */
export function listen(directory: Directory) {
  const changes: Change[] = [];
  let check = () => {};
  directory.watch((change) => {
    changes.push(change);
    check();
  });
  return {
    changes,
    until(isLast: (change: Change) => boolean): Promise<readonly Change[]> {
      return new Promise((resolve) => {
        check = () => void (changes.some(isLast) && resolve(changes));
        check();
      });
    },
  };
}

/** As the recorder does: the same commit until it holds. */
export async function untilItHolds(work: () => Promise<void>): Promise<number> {
  for (let failures = 0; ; failures++) {
    try {
      await work();
      return failures;
    } catch (error) {
      if (!hasCode('ledger_unavailable')(error)) throw error;
      // real time: a server that starts again takes some
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
