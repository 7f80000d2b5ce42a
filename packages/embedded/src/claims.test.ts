/** Claims of the embedded store that are its own; what they share with other stores is in embedded.slow.test.ts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DatabaseSync } from 'node:sqlite';
import { join } from 'node:path';
import type { Claim } from '@millrace/gateway/ports/claims';
import { DAY_MS, entries, hasCode, testStore } from './testing.ts';

function claim(id: string, token: string, windowMs = DAY_MS): Claim {
  return { id, digest: 'a', windowMs, token, place: { log: 'l', topics: ['orders.created'], ends: { main: '' } } };
}

const statuses = (answers: readonly { readonly status: string }[]) => answers.map(({ status }) => status);

test('a store whose own log settles keys has no table of claims; one is made by the first', async (t) => {
  const store = testStore(t);
  const tables = () => {
    const db = new DatabaseSync(join(store.path, 'state.db'), { readOnly: true });
    const found = db.prepare("SELECT name FROM sqlite_schema WHERE name = 'claims'").all().length;
    db.close();
    return found;
  };
  await (await store.open()).log.append(entries(1));
  await store.close();
  assert.equal(tables(), 0);
  await (await store.open()).claims.claim([claim('k', 't1')]);
  await store.close();
  assert.equal(tables(), 1);
});

test('a claim for which there is no space is refused each time, and made when there is', async (t) => {
  const store = testStore(t);
  const { log, claims } = await store.open({ maxPageCount: 60 });
  await assert.rejects(async () => {
    for (;;) await log.append(entries(50, { bytes: 2_000 }));
  }, hasCode('log_full'));
  const many = Array.from({ length: 4_096 }, (_, i) => claim(`k${i}`, 't1'));
  for (let i = 0; i < 2; i++) await assert.rejects(claims.claim(many), hasCode('ledger_full'));
  const { claims: again } = await store.open();
  assert.ok((await again.claim(many)).every(({ status }) => status === 'claimed'));
});

test('windows and ages go by the wall clock of the process', async (t) => {
  const store = testStore(t);
  const { claims } = await store.open();
  await claims.claim([claim('k', 't1', 1_000)]);
  store.clock.ms += 999;
  const [open] = await claims.claim([claim('k', 't2', 1_000)]);
  assert.ok(open?.status === 'open');
  assert.deepEqual([open.ageMs, open.heldMs], [999, 999]);
  await claims.prune();
  assert.deepEqual(statuses(await claims.claim([claim('k', 't2', 1_000)])), ['open']);
  store.clock.ms += 1;
  assert.deepEqual(statuses(await claims.claim([claim('k', 't2', 1_000)])), ['claimed']);
});
