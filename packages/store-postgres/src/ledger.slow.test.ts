import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DeadLetter, ParkedRow } from '@millrace/gateway/ports/ledger';
import { at, attempt, hasCode, START_MS, testServer } from './testing.ts';

const server = await testServer();
const { skip } = server;
const FOREVER_MS = Number.MAX_SAFE_INTEGER;

function parked(n: number, change: Partial<ParkedRow> = {}): ParkedRow {
  const event = { size: 1, timeMs: START_MS, idHash: '' };
  const place = { lane: 'sub.0', shard: 'main', position: at(n) };
  return { ...place, state: 'parked', dueMs: n, attempts: 1, attemptsBefore: 0, cause: 'timeout', ...event, ...change };
}

function deadLetter(n: number, change: Partial<DeadLetter> = {}): DeadLetter {
  const event = { eventId: `${n}`, topic: 't', timeMs: START_MS, diedMs: START_MS };
  const place = { lane: 'sub.0', shard: 'main', position: at(n) };
  return { id: `dl_${n}`, ...place, cause: 'gone', detail: '', attempts: 1, ...event, ...change };
}

test('U+0000 and halves of surrogates are no reason to refuse a commit, wherever they stand', { skip }, async (context) => {
  const { ledger } = await server.open(context);
  const odd = 'a\u0000b\u0001c\u0001\u0001';
  const kept = { environment: odd, app: odd, bytes: Uint8Array.of(0, 1, 255) };
  const cursor = { log: odd, position: '1', timeMs: 1, idHash: odd };
  const rows = {
    attempts: [attempt(1, { lane: 'o\u0000.0', cause: odd, snippet: `${odd}\ud800`, eventId: odd, topic: odd })],
    park: [parked(2, { lane: 'o\u0000.0', shard: odd, key: odd, cause: odd, idHash: odd, kept })],
    bury: [deadLetter(3, { id: odd, lane: 'o\u0000.0', detail: odd, eventId: odd, topic: odd, holdsKey: odd, kept })],
    lanes: [{ lane: 'o\u0000.0', shard: odd, cursor }],
    slots: [{ slot: 1, shard: odd, cursor }],
  };
  await ledger.commit(rows);
  assert.deepEqual(await ledger.attempts({ subscription: 'o\u0000', limit: 10 }), rows.attempts);
  const [row] = (await ledger.due('o\u0000.0', odd, FOREVER_MS, 10)).rows;
  assert.deepEqual({ ...row, kept: { ...row!.kept!, bytes: new Uint8Array(row!.kept!.bytes) } }, rows.park[0]);
  const letter = await ledger.deadLetter(odd);
  assert.deepEqual({ ...letter, kept: { ...letter!.kept!, bytes: new Uint8Array(letter!.kept!.bytes) } }, rows.bury[0]);
  assert.deepEqual([await ledger.lanes(), await ledger.slots()], [rows.lanes, rows.slots]);
  await ledger.commit({ park: [parked(9, { lane: 'half\ud800.0', key: '\udfff', cause: '\ud800' })] });
  assert.equal((await ledger.openLanes()).length, 2);
});

test('the largest numbers there are come back as they were', { skip }, async (context) => {
  const { ledger } = await server.open(context);
  const most = Number.MAX_SAFE_INTEGER;
  const rows = [
    parked(1, { dueMs: most, timeMs: most, size: most, attempts: 2 ** 32 }),
    parked(2, { dueMs: -1, timeMs: -(2 ** 40) }),
  ];
  await ledger.commit({ park: rows });
  assert.deepEqual(await ledger.due('sub.0', 'main', most, 10), { rows: rows.toReversed() });
});

test('a commit is repeated with some of it there and some not', { skip }, async (context) => {
  const { ledger } = await server.open(context);
  await ledger.commit({ attempts: [attempt(1), attempt(2)], park: [parked(5)] });
  await ledger.commit({ attempts: [attempt(2), attempt(3), attempt(3)], park: [parked(5), parked(6), parked(6, { dueMs: 9 })] });
  assert.deepEqual(
    (await ledger.attempts({ subscription: 'sub', limit: 10 })).map(({ position }) => position),
    [at(3), at(2), at(1)],
  );
  assert.deepEqual((await ledger.due('sub.0', 'main', 9, 10)).rows, [parked(5), parked(6, { dueMs: 9 })]);
});

test('commits that touch the same rows in other orders do not stop each other', { skip }, async (context) => {
  const schema = server.schema();
  const nodes = await Promise.all([server.open(context, { schema }), server.open(context, { schema })]);
  const slot = (n: number) => ({ slot: n, shard: 'main', cursor: { log: 'l', position: at(n), timeMs: 1, idHash: '' } });
  const lane = (n: number) => ({ ...slot(n), lane: `sub.${n}` });
  const numbers = Array.from({ length: 50 }, (_, i) => i);
  for (let round = 0; round < 20; round++) {
    await Promise.all(
      nodes.flatMap(({ ledger }) =>
        [numbers, numbers.toReversed()].map((order) =>
          ledger.commit({
            park: order.map((n) => parked(n, { lane: `sub.${n % 7}` })),
            bury: order.map((n) => deadLetter(n)),
            lanes: order.map(lane),
            slots: order.map(slot),
          }),
        ),
      ),
    );
  }
  assert.equal((await nodes[0].ledger.lanes()).length, 50);
});

test(
  'a dropped subscription is gone at once, what it had is removed later, and what came with the drop stays',
  { skip },
  async (context) => {
    const schema = server.schema();
    const { ledger } = await server.open(context, { schema });
    const numbers = Array.from({ length: 2_500 }, (_, i) => i + 1);
    await ledger.commit({
      attempts: numbers.map((n) => attempt(n)),
      park: numbers.map((n) => parked(n)),
      bury: numbers.map((n) => deadLetter(n)),
    });
    await ledger.commit({ dropSubscriptions: ['sub'], bury: [deadLetter(5_000), deadLetter(7)] });
    const left = async () => {
      assert.deepEqual(await ledger.openLanes(), []);
      assert.deepEqual(await ledger.deadLetterCounts(), [{ subscription: 'sub', count: 2 }]);
      assert.deepEqual([await ledger.deadLetter('dl_8'), (await ledger.deadLetter('dl_7'))?.id], [undefined, 'dl_7']);
      assert.deepEqual(await ledger.attempts({ subscription: 'sub', limit: 10 }), []);
      assert.deepEqual(await ledger.handledAfter('sub.0', 'main', ''), [at(7), at(5_000)]);
    };
    await left();
    await server.query(`UPDATE ${schema}.forgotten SET at = at - interval '1 hour'`);
    await ledger.pruneAttempts(0);
    await left();
    const [counts] = await server.query(
      `SELECT (SELECT count(*)::int FROM ${schema}.parked) AS parked, (SELECT count(*)::int FROM ${schema}.dead_letters) AS dead,
       (SELECT count(*)::int FROM ${schema}.forgotten) AS forgotten`,
    );
    assert.deepEqual(counts, { parked: 0, dead: 2, forgotten: 0 });
  },
);

test('a subscription that one node drops while others commit for it is whole or gone', { skip }, async (context) => {
  const schema = server.schema();
  const [one, other] = await Promise.all([server.open(context, { schema }), server.open(context, { schema })]);
  const cursor = { log: 'l', position: '1', timeMs: 1, idHash: '' };
  for (let round = 0; round < 30; round++) {
    const rows = {
      attempts: [attempt(1)],
      park: [parked(2)],
      bury: [deadLetter(3)],
      lanes: [{ lane: 'sub.0', shard: 'main', cursor }],
    };
    await Promise.all([one.ledger.commit(rows), other.ledger.commit({ dropSubscriptions: ['sub'] }), one.ledger.commit(rows)]);
    const seen = [
      (await one.ledger.attempts({ subscription: 'sub', limit: 10 })).length,
      (await one.ledger.openLanes()).length,
      (await one.ledger.deadLetters({ subscription: 'sub', limit: 10 })).length,
      (await one.ledger.lanes()).length,
    ];
    assert.ok([0, 4].includes(seen.reduce((sum, n) => sum + n, 0)), seen.join());
  }
});

test('a failure in the middle of a commit leaves nothing of it', { skip }, async (context) => {
  const schema = server.schema();
  const { ledger } = await server.open(context, { schema });
  await server.query(`ALTER TABLE ${schema}.dead_letters ADD CHECK (cause <> 'never')`);
  // Of the kind that is repeated too: it must come to an end.
  for (const bad of [
    { bury: [deadLetter(3, { cause: 'never' })] },
    { lanes: [{ lane: 'sub.0', shard: 'main', cursor: { log: null as never, position: '', timeMs: 1, idHash: '' } }] },
  ]) {
    await assert.rejects(ledger.commit({ attempts: [attempt(1)], park: [parked(2)], ...bad }), hasCode('internal_error'));
    assert.deepEqual(await ledger.handledAfter('sub.0', 'main', ''), []);
  }
});
