import assert from 'node:assert/strict';
import { test } from 'node:test';
import { attempt, DAY_MS, START_MS, testServer } from './testing.ts';

const server = await testServer();
const { skip } = server;

async function partitionsIn(schema: string): Promise<string[]> {
  const rows = await server.query(
    `SELECT inhrelid::regclass::text AS name, pg_get_expr(relpartbound, oid) AS bound FROM pg_inherits JOIN pg_class ON oid = inhrelid
     WHERE inhparent = '${schema}.attempts'::regclass ORDER BY 1`,
  );
  assert.ok(rows.every(({ bound }) => !String(bound).includes('DEFAULT')));
  return rows.map(({ name }) => String(name).replace(`${schema}.attempts_`, ''));
}

test('attempts are kept by day: yesterday, today and three days are made ahead', { skip }, async (context) => {
  const schema = server.schema();
  await server.open(context, { schema });
  assert.deepEqual(await partitionsIn(schema), ['20261101', '20261102', '20261103', '20261104', '20261105']);
});

test('an attempt of any day is taken, whatever the clocks of the nodes say', { skip }, async (context) => {
  const schema = server.schema();
  const { ledger } = await server.open(context, { schema });
  const rows = [0, START_MS - 400 * DAY_MS, START_MS - DAY_MS / 2 - 1, START_MS, START_MS + 90 * DAY_MS].map((startedMs, i) =>
    attempt(i, { startedMs }),
  );
  await ledger.commit({ attempts: rows });
  assert.deepEqual(await ledger.attempts({ subscription: 'sub', limit: 10 }), rows.toReversed());
  assert.ok((await partitionsIn(schema)).includes('19700101'));
});

test('a commit that needs a day that is not there is whole all the same', { skip }, async (context) => {
  const { ledger } = await server.open(context);
  const cursor = { log: 'l', position: '1', timeMs: 1, idHash: '' };
  const lanes = [{ lane: 'sub.0', shard: 'main', cursor }];
  await ledger.commit({ attempts: [attempt(1), attempt(2, { startedMs: START_MS + 40 * DAY_MS })], lanes });
  assert.equal((await ledger.attempts({ subscription: 'sub', limit: 10 })).length, 2);
  assert.deepEqual(await ledger.lanes(), lanes);
});

test('nodes that need the same new day at once make it once', { skip }, async (context) => {
  const schema = server.schema();
  const nodes = await Promise.all([1, 2, 3, 4].map(() => server.open(context, { schema })));
  const startedMs = START_MS + 30 * DAY_MS;
  await Promise.all(nodes.map(({ ledger }, i) => ledger.commit({ attempts: [attempt(i, { startedMs: startedMs + i })] })));
  assert.equal((await nodes[0]!.ledger.attempts({ subscription: 'sub', limit: 10 })).length, 4);
});

test('days are dropped whole once they are over, and made ahead anew', { skip }, async (context) => {
  const schema = server.schema();
  let nowMs = START_MS;
  const { ledger } = await server.open(context, { schema, now: () => nowMs });
  await ledger.commit({ attempts: [0, 1, 2].map((day) => attempt(day, { startedMs: START_MS + day * DAY_MS })) });
  nowMs = START_MS + 2 * DAY_MS;
  await ledger.pruneAttempts(nowMs);
  assert.deepEqual(await partitionsIn(schema), ['20261103', '20261104', '20261105', '20261106', '20261107'].with(0, '20261103'));
  assert.deepEqual(
    (await ledger.attempts({ subscription: 'sub', limit: 10 })).map(({ eventId }) => eventId),
    ['event-2'],
  );
});

test('a day that another node dropped is made again for an attempt that comes late', { skip }, async (context) => {
  const schema = server.schema();
  const [one, other] = await Promise.all([server.open(context, { schema }), server.open(context, { schema })]);
  const late = attempt(1, { startedMs: START_MS - 20 * DAY_MS });
  await one.ledger.commit({ attempts: [late] });
  await other.ledger.pruneAttempts(START_MS - 10 * DAY_MS);
  assert.deepEqual(await one.ledger.attemptsOf('sub.0', 'main', late.position), []);
  await one.ledger.commit({ attempts: [late] });
  assert.deepEqual(await other.ledger.attemptsOf('sub.0', 'main', late.position), [late]);
});

test('days are dropped beside commits, and none of these is lost', { skip }, async (context) => {
  const schema = server.schema();
  const { ledger } = await server.open(context, { schema });
  const old = Array.from({ length: 20 }, (_, i) => attempt(1_000 + i, { startedMs: START_MS - (100 + i) * DAY_MS }));
  await ledger.commit({ attempts: old });
  const commits = Array.from({ length: 100 }, (_, i) => ledger.commit({ attempts: [attempt(i)] }));
  await Promise.all([...commits, ledger.pruneAttempts(START_MS - 10 * DAY_MS)]);
  assert.equal((await ledger.attempts({ subscription: 'sub', limit: 1_000 })).length, 100);
});
