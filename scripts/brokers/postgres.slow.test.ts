import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { Client } from 'pg';
import { BrokerUnavailable } from './broker.ts';
import type { StartedBroker } from './broker.ts';
import { postgres } from './postgres.ts';

const skip = await postgres
  .prepare('', () => {})
  .then(
    () => false as const,
    (error: unknown) => {
      if (error instanceof BrokerUnavailable) return `${error.message}. ${error.advice}`;
      throw error;
    },
  );

/** Each in a directory that only its owner may enter, as mkdtemp makes it; `again` is in the first one's. */
async function start(
  context: TestContext,
  again?: { directory: string; port: number },
): Promise<StartedBroker & { directory: string }> {
  const directory = again?.directory ?? mkdtempSync(join(tmpdir(), 'millrace-broker-'));
  try {
    const broker = await postgres.start({ cache: '', directory, ...(again === undefined ? {} : { port: again.port }) });
    context.after(() => broker.stop());
    return { ...broker, directory };
  } finally {
    context.after(() => remove(directory));
  }
}

function remove(directory: string): void {
  const elsewhere = join(directory, 'postgres-data');
  if (existsSync(elsewhere)) rmSync(readFileSync(elsewhere, 'utf8').trim(), { recursive: true, force: true });
  rmSync(directory, { recursive: true, force: true });
}

async function connect({ url }: StartedBroker): Promise<Client> {
  const client = new Client({ connectionString: url });
  client.on('error', () => {});
  await client.connect();
  return client;
}

test('a server answers as soon as it is started, and keeps its data when it is stopped', { skip }, async (context) => {
  const first = await start(context);
  const client = await connect(first);
  await client.query('CREATE TABLE kept AS SELECT 42 AS number');
  const { rows } = await client.query<{ fsync: string }>('SHOW fsync');
  assert.equal(rows[0]?.fsync, 'on');
  // With a client that stays: it must not wait for it.
  await first.stop();
  await first.stop();
  await assert.rejects(connect(first), /ECONNREFUSED/);
  const again = await start(context, first);
  assert.equal(again.url, first.url);
  const other = await connect(again);
  assert.deepEqual((await other.query('SELECT number FROM kept')).rows, [{ number: 42 }]);
  await other.end();
});

test('two servers stand side by side; a port that is taken is refused where it was asked for', { skip }, async (context) => {
  const one = await start(context);
  const other = await start(context);
  assert.notEqual(one.port, other.port);
  const third = mkdtempSync(join(tmpdir(), 'millrace-broker-'));
  await assert.rejects(start(context, { directory: third, port: one.port }), /could not bind|in use/i);
});
