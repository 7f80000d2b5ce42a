import assert from 'node:assert/strict';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import type { AttemptRow, DeadLetter, ParkedRow } from '@millrace/gateway/ports/ledger';
import { DAY_MS, START_MS, testStore } from './testing.ts';
import type { TestStore } from './testing.ts';

const LANE = 'sub.0';
const at = (n: number) => ({ lane: LANE, shard: '0', position: String(n).padStart(16, '0') });

function attempt(n: number, startedMs = START_MS + n): AttemptRow {
  const rest = { outcome: 'delivered', cause: '', status: 200, snippet: '', eventId: `${n}`, topic: 't' } as const;
  return { ...at(n), n: 1, startedMs, durationMs: 1, ...rest };
}

function parked(n: number): ParkedRow {
  const event = { size: 1, timeMs: START_MS, idHash: '' };
  return { ...at(n), state: 'parked', dueMs: n, attempts: 1, attemptsBefore: 0, cause: 'timeout', ...event };
}

function deadLetter(n: number): DeadLetter {
  const event = { eventId: `${n}`, topic: 't', timeMs: START_MS, diedMs: START_MS };
  return { id: `dl_${n}`, ...at(n), cause: 'gone', detail: '', attempts: 1, ...event };
}

function rowsIn(store: TestStore, table: string): number {
  const db = new DatabaseSync(join(store.path, 'state.db'), { readOnly: true });
  const rows = Number(db.prepare(`SELECT count(*) AS rows FROM ${table}`).get()!['rows']);
  db.close();
  return rows;
}

test('a dropped subscription is gone at once, what it had is removed bit by bit, and one that comes with the drop stays', async (context) => {
  const store = testStore(context);
  let { ledger, log } = await store.open();
  const numbers = Array.from({ length: 1_200 }, (_, i) => i + 1);
  await ledger.commit({ attempts: numbers.map((n) => attempt(n)), park: numbers.map(parked), bury: numbers.map(deadLetter) });
  await ledger.commit({ dropSubscriptions: ['sub'], bury: [deadLetter(5_000), deadLetter(7)] });
  const left = async () => {
    assert.deepEqual(await ledger.openLanes(), []);
    assert.deepEqual(await ledger.deadLetterCounts(), [{ subscription: 'sub', count: 2 }]);
    assert.deepEqual(
      (await ledger.deadLetters({ subscription: 'sub', limit: 10 })).map(({ id }) => id),
      ['dl_5000', 'dl_7'],
    );
    assert.deepEqual([await ledger.deadLetter('dl_8'), (await ledger.deadLetter('dl_7'))?.id], [undefined, 'dl_7']);
    assert.deepEqual(await ledger.attempts({ subscription: 'sub', limit: 10 }), []);
    assert.deepEqual(await ledger.handledAfter(LANE, '0', ''), [at(7).position, at(5_000).position]);
  };
  await left();
  ({ ledger, log } = await store.open());
  await log.trim();
  await left();
  await store.close();
  assert.deepEqual(
    ['parked', 'dead_letters', 'forgotten'].map((table) => rowsIn(store, table)),
    [0, 2, 0],
  );
});

test('attempts are kept by day and dropped by day', async (context) => {
  const store = testStore(context);
  let { ledger } = await store.open();
  await ledger.commit({
    attempts: [0, 1, 2, 3].flatMap((day) => [attempt(day, START_MS + day * DAY_MS), attempt(10 + day, START_MS + day * DAY_MS)]),
  });
  await ledger.pruneAttempts(START_MS + 2 * DAY_MS);
  ({ ledger } = await store.open());
  const rows = await ledger.attempts({ subscription: 'sub', limit: 10 });
  assert.deepEqual(
    rows.map(({ eventId }) => eventId),
    ['13', '3', '12', '2'],
  );
  assert.deepEqual(
    (await ledger.attempts({ subscription: 'sub', before: rows[1]!, limit: 1 })).map(({ eventId }) => eventId),
    ['12'],
  );
  assert.deepEqual(await ledger.attemptsOf(LANE, '0', at(1).position), []);
  await ledger.commit({ attempts: [attempt(1)] });
  assert.equal((await ledger.attemptsOf(LANE, '0', at(1).position)).length, 1);
});

test('a kept event that is a view into a large buffer is stored alone', async (context) => {
  const store = testStore(context);
  const { ledger } = await store.open();
  const page = new Uint8Array(5_000_000).fill(9);
  const kept = { environment: 'default', app: 'shop', bytes: page.subarray(100, 110) };
  await ledger.commit({ park: [{ ...parked(1), kept }], bury: [{ ...deadLetter(2), kept }] });
  assert.deepEqual((await ledger.parked(LANE, '0', at(1).position))?.kept?.bytes, new Uint8Array(10).fill(9));
  assert.deepEqual((await ledger.deadLetter('dl_2'))?.kept?.bytes, new Uint8Array(10).fill(9));
});
