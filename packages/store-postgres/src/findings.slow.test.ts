/** What the store finds in a server that is set up so. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { Client } from 'pg';
import { testServer } from './testing.ts';
import type { PostgresOptions } from './store-postgres.ts';

const server = await testServer();
const { skip } = server;

async function codes(context: TestContext, options: Partial<PostgresOptions> = {}): Promise<string[]> {
  const { ledger } = await server.open(context, { now: Date.now, ...options });
  return ((await ledger.findings?.()) ?? []).map(({ code }) => code);
}

/** For connections that are made from then on. */
async function set(context: TestContext, setting: string, value: string): Promise<void> {
  await server.query(`ALTER SYSTEM SET ${setting} = ${value}`);
  await server.query('SELECT pg_reload_conf()');
  context.after(async () => {
    await server.query(`ALTER SYSTEM RESET ${setting}`);
    await server.query('SELECT pg_reload_conf()');
  });
  while ((await server.query(`SELECT current_setting('${setting}') AS is`))[0]?.['is'] !== value)
    // real time: the server takes a new setting in when it gets to it.
    await new Promise((resolve) => setTimeout(resolve, 10));
}

test('of a server as it comes nothing is said', { skip }, async (context) => {
  assert.deepEqual(await codes(context), []);
});

test('a server that answers before it has synced, or never syncs, is found', { skip }, async (context) => {
  await set(context, 'synchronous_commit', 'off');
  assert.deepEqual(await codes(context), ['store_synced_late']);
  await set(context, 'fsync', 'off');
  assert.deepEqual(await codes(context), ['store_never_synced', 'store_synced_late']);
});

test('a server that takes no writes is found', { skip }, async (context) => {
  const schema = server.schema();
  const { ledger, close } = await server.open(context, { schema, now: Date.now });
  assert.deepEqual(await ledger.findings?.(), []);
  await set(context, 'default_transaction_read_only', 'on');
  assert.deepEqual(
    (await ledger.findings?.())?.map(({ code, problem }) => [code, problem]),
    [['store_read_only', 'Postgres takes no writes (default_transaction_read_only)']],
  );
  await close();
});

test('connections that are nearly all taken are found, and let go again nothing is said', { skip }, async (context) => {
  const { ledger } = await server.open(context, { now: Date.now });
  const clients = Array.from({ length: 80 }, () => new Client({ connectionString: server.url }));
  await Promise.all(clients.map((client) => client.connect()));
  const [finding] = (await ledger.findings?.()) ?? [];
  await Promise.all(clients.map((client) => client.end()));
  assert.match(finding?.problem ?? '', /^8\d of the 97 connections that Postgres lets in are taken$/);
  // real time: the server's processes end when they will.
  while (((await ledger.findings?.()) ?? []).length > 0) await new Promise((resolve) => setTimeout(resolve, 10));
});

test('a clock that is off is found', { skip }, async (context) => {
  const { ledger } = await server.open(context, { now: () => Date.now() + 90_000 });
  const [finding] = (await ledger.findings?.()) ?? [];
  assert.match(finding?.problem ?? '', /^the clock of Postgres and the gateway's differ by 90 s$/);
});
