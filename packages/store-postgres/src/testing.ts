/** What the tests of this package share: a server of their own, and a schema for each test. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import type { TestContext } from 'node:test';
import type { AttemptRow } from '@millrace/gateway/ports/ledger';
import pg from 'pg';
import { BrokerUnavailable } from '../../../scripts/brokers/broker.ts';
import type { StartedBroker } from '../../../scripts/brokers/broker.ts';
import { postgres } from '../../../scripts/brokers/postgres.ts';
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
  /** On the same port, with the same data. */
  start(): Promise<void>;
}

/** One for a test file; it and its data are gone when the file is through. */
export async function testServer(): Promise<TestServer> {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-postgres-'));
  // The server's user must get to its data.
  chmodSync(directory, 0o755);
  const begin = (port?: number) => postgres.start({ cache: directory, directory, ...(port === undefined ? {} : { port }) });
  let server: StartedBroker | undefined;
  let skip: string | false = false;
  try {
    server = await begin();
  } catch (error) {
    if (!(error instanceof BrokerUnavailable)) throw error;
    skip = `${error.message}. ${error.advice}`;
  }
  after(async () => {
    await server?.stop();
    rmSync(directory, { recursive: true, force: true });
  });
  const { url = '', port } = server ?? {};
  let schemas = 0;
  const schema = () => `test_${++schemas}`;

  return {
    url,
    skip,
    schema,
    async query(text, values = []) {
      const client = new pg.Client({ connectionString: url });
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
    async start() {
      server = await begin(port);
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

export interface Signal<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
}
