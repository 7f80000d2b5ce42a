/** The seen-store of Postgres on a real one: two connections, one claim. */
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { Pool } from 'pg';
import { findBroker } from '../../scripts/brokers/find.ts';
import { postgresStore } from './millrace.ts';

const { server, skip } = await findBroker('postgres');
const pool = server === undefined ? undefined : new Pool({ connectionString: server.url, max: 8 });
// A connection that is being ended may still hear that its server stops: unheard, that would end the process.
pool?.on('error', () => undefined).on('connect', (client) => void client.on('error', () => undefined));
after(async () => {
  await pool?.end();
  await server?.remove();
});

describe('a seen-store in Postgres', { skip, timeout: 60_000 }, () => {
  const store = () => postgresStore((sql, values) => (pool as Pool).query(sql, values));

  test('lets one of many copies through, whoever comes', async () => {
    await store().claim('first', 0, 1);
    const [one, other] = [store(), store()];
    const claims = await Promise.all(
      Array.from({ length: 16 }, (_, at) => (at % 2 === 0 ? one : other).claim('a', 1_000, 2_000, 'kept')),
    );
    assert.equal(claims.filter((claim) => claim === 'claimed').length, 1);
    const found = await Promise.all(Array.from({ length: 8 }, async () => one.next?.(2_000, 3_000)));
    assert.deepEqual(
      found.filter((next) => next !== undefined).map((next) => ({ ...next })),
      [{ kept: 'kept', attempts: 2 }],
    );
    await other.done('a', 2_500);
    assert.equal(await one.claim('a', 9_000, 9_900), 'done');
    await one.claim('b', 0, 100);
    await one.release('b', 100);
    assert.equal(await other.claim('b', 50, 150), 'claimed');
  });

  test('forgets what is older than seven days', async () => {
    await store().claim('old', 0, 100);
    await store().done('old', 0);
    await store().claim('new', 700_000_000, 700_000_100);
    await store().done('new', 700_000_000);
    assert.deepEqual(await Promise.all(['old', 'new'].map((id) => store().claim(id, 700_000_001, 700_000_100))), [
      'claimed',
      'done',
    ]);
  });
});
