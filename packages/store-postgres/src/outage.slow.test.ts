/** What happens while Postgres is away, full of others, or read-only: quick refusals, nothing acknowledged lost, and it goes on by itself. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { Client } from 'pg';
import { openPostgres } from './store-postgres.ts';
import { at, attempt, hasCode, testProxy, testServer, untilItHolds } from './testing.ts';

const server = await testServer();
const { skip } = server;
const app = { name: 'Shop', createdMs: 1 };
const unavailable = hasCode('ledger_unavailable');

for (const [how, end] of [
  ['is stopped', () => server.stop()],
  ['crashes', () => server.crash()],
] as const) {
  test(
    `nothing acknowledged is lost when Postgres ${how} in the middle of commits, and what was in doubt is there once`,
    { skip },
    async (context) => {
      const schema = server.schema();
      const nodes = await Promise.all([1, 2, 3].map(() => server.open(context, { schema, poolMax: 2 })));
      const enough = Promise.withResolvers<void>();
      let isBack = false;
      let failures = 0;
      let commits = 0;
      const acknowledged: string[][] = nodes.map(() => []);

      /** As a recorder: one commit after the other, each until it holds. */
      async function work(node: number): Promise<void> {
        const lane = `sub${node}.0`;
        for (let n = 0; !isBack || n < 30; n++) {
          const rows = [0, 1, 2].map((i) => attempt(3 * n + i, { lane }));
          const cursor = { log: 'l', position: at(n), timeMs: n, idHash: '' };
          const commit = {
            attempts: rows,
            lanes: [{ lane, shard: 'main', cursor }],
            slots: [{ slot: 128, shard: 'main', cursor }],
          };
          failures += await untilItHolds(() => nodes[node]!.ledger.commit(commit));
          acknowledged[node]!.push(...rows.map(({ position }) => position));
          if (++commits === 60) enough.resolve();
        }
      }

      const working = Promise.all(nodes.map((_, node) => work(node)));
      await enough.promise;
      await end();
      await server.start();
      isBack = true;
      await working;
      assert.ok(failures > 0);
      for (const [node, { ledger }] of nodes.entries()) {
        assert.deepEqual(await ledger.handledAfter(`sub${node}.0`, 'main', ''), acknowledged[node]);
        const rows = await ledger.attempts({ subscription: `sub${node}`, limit: 100_000 });
        assert.equal(rows.length, acknowledged[node]!.length);
      }
      await untilItHolds(async () => void (await nodes[0]!.directory.put('app', 'default', 'shop', app)));
    },
  );
}

test('a commit whose answer was lost holds, and repeated it gives the same ledger', { skip }, async (context) => {
  const proxy = await testProxy(context, server.url);
  const { ledger } = await server.open(context, { url: proxy.url });
  const commit = {
    attempts: [attempt(1), attempt(2)],
    slots: [{ slot: 1, shard: 'main', cursor: { log: 'l', position: '1', timeMs: 1, idHash: '' } }],
  };
  const broken = proxy.breakAt('COMMIT');
  await assert.rejects(ledger.commit(commit), unavailable);
  await broken;
  const seen = async () => [await ledger.attempts({ subscription: 'sub', limit: 10 }), await ledger.slots()];
  const once = await seen();
  assert.equal(once[0]!.length, 2);
  await ledger.commit(commit);
  assert.deepEqual(await seen(), once);
});

test('where there is no Postgres, opening and every call is refused, and goes on when there is', { skip }, async (context) => {
  const schema = server.schema();
  const proxy = await testProxy(context, server.url);
  const { ledger, directory } = await server.open(context, { schema, url: proxy.url });
  for (const [away, times] of [
    [proxy.cut, {}],
    // A server that says nothing: bounded by our own clock.
    [proxy.freeze, { connectMs: 200, answerMs: 200 }],
  ] as const) {
    away();
    await assert.rejects(openPostgres({ url: proxy.url, schema, times }), unavailable);
    if (away === proxy.freeze) continue;
    for (const call of [ledger.commit({ attempts: [attempt(1)] }), ledger.lanes(), directory.get('app', 'default', 'x')])
      await assert.rejects(call, unavailable);
    const puts = await Promise.allSettled(Array.from({ length: 300 }, (_, i) => directory.put('app', 'default', `${i}`, app)));
    assert.ok(puts.every((put) => put.status === 'rejected' && unavailable(put.reason)));
  }
  proxy.restore();
  await ledger.commit({ attempts: [attempt(1)] });
  await directory.put('app', 'default', 'shop', app, 'absent');
});

test('calls on a connection that froze end, and the pool makes others', { skip }, async (context) => {
  const proxy = await testProxy(context, server.url);
  const { ledger } = await server.open(context, { url: proxy.url, poolMax: 2, times: { connectMs: 300, answerMs: 300 } });
  await Promise.all([ledger.lanes(), ledger.lanes()]);
  proxy.freeze();
  const calls = await Promise.allSettled([
    ...Array.from({ length: 6 }, () => ledger.lanes()),
    ledger.commit({ attempts: [attempt(1)] }),
  ]);
  assert.ok(calls.every((call) => call.status === 'rejected' && unavailable(call.reason)));
  proxy.restore();
  await ledger.commit({ attempts: [attempt(1)] });
});

test('a standby refuses writes with what to look at, and is still read', { skip }, async (context) => {
  const schema = server.schema();
  const user = `${schema}_user`;
  await server.query(`CREATE ROLE ${user} LOGIN`);
  await server.query(`CREATE SCHEMA ${schema} AUTHORIZATION ${user}`);
  const url = server.url.replace('millrace@', `${user}@`);
  const { ledger, directory } = await server.open(context, { url, schema });
  await directory.put('app', 'default', 'shop', app);
  // For connections made from now on it is as a standby: only reading.
  await server.query(`ALTER ROLE ${user} SET default_transaction_read_only = on`);
  await server.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '${user}'`);
  const refused = (error: Error & { code: string; advice?: string }) => unavailable(error) && /primary/.test(error.advice ?? '');
  // Those that were cut off say so first.
  await assert.rejects(
    untilAdvised(() => ledger.commit({ attempts: [attempt(1)] })),
    refused,
  );
  await assert.rejects(directory.put('app', 'default', 'shop', app), refused);
  assert.equal((await directory.get('app', 'default', 'shop'))?.version, 1);
  assert.deepEqual(await ledger.handledAfter('sub.0', 'main', ''), []);
  assert.equal((await (await server.open(context, { url, schema })).directory.get('app', 'default', 'shop'))?.version, 1);
  await server.query(`ALTER ROLE ${user} RESET default_transaction_read_only`);
  await untilItHolds(() => ledger.commit({ attempts: [attempt(1)] }));
});

/** The first refusal that comes from the server and has an advice. */
async function untilAdvised(work: () => Promise<void>): Promise<void> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if ((error as { advice?: string }).advice !== undefined) throw error;
    }
  }
}

test('a server with no connection left refuses with what to do, and calls go on when there is one', { skip }, async (context) => {
  const schema = server.schema();
  const user = `${schema}_user`;
  await server.query(`CREATE ROLE ${user} LOGIN`);
  await server.query(`CREATE SCHEMA ${schema} AUTHORIZATION ${user}`);
  const { ledger } = await server.open(context, { url: server.url.replace('millrace@', `${user}@`), schema });
  await server.query(`ALTER ROLE ${user} CONNECTION LIMIT 0`);
  await server.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '${user}'`);
  await assert.rejects(
    untilAdvised(() => ledger.commit({ attempts: [attempt(1)] })),
    (error: Error & { advice: string }) => unavailable(error) && /max_connections/.test(error.advice),
  );
  await server.query(`ALTER ROLE ${user} CONNECTION LIMIT -1`);
  await ledger.commit({ attempts: [attempt(1)] });
});

test('a statement that takes too long is ended by the server, and its commit with it', { skip }, async (context) => {
  const schema = server.schema();
  const { ledger } = await server.open(context, { schema, times: { statementMs: 300 } });
  const holder = new Client({ connectionString: server.url });
  await holder.connect();
  context.after(() => holder.end());
  await holder.query('BEGIN');
  await holder.query(`LOCK TABLE ${schema}.slot_cursors`);
  const cursor = { log: 'l', position: '1', timeMs: 1, idHash: '' };
  const commit = { attempts: [attempt(1)], slots: [{ slot: 1, shard: 'main', cursor }] };
  await assert.rejects(ledger.commit(commit), unavailable);
  assert.deepEqual(await ledger.handledAfter('sub.0', 'main', ''), []);
  await holder.query('ROLLBACK');
  await ledger.commit(commit);
  assert.equal((await ledger.slots()).length, 1);
});

test('closing, which may be done twice, waits for what is under way; later calls are refused', { skip }, async (context) => {
  const { ledger, directory, close } = await server.open(context);
  const calls = [ledger.commit({ attempts: [attempt(1)] }), ...Array.from({ length: 50 }, () => ledger.lanes())];
  await Promise.all([close(), close()]);
  await Promise.all(calls);
  await assert.rejects(ledger.commit({ attempts: [attempt(2)] }), unavailable);
  await assert.rejects(directory.put('app', 'default', 'shop', app), unavailable);
});

test('closing ends though the server says nothing any more', { skip }, async (context) => {
  const proxy = await testProxy(context, server.url);
  const { ledger, close } = await server.open(context, { url: proxy.url, times: { connectMs: 300, answerMs: 300 } });
  await Promise.all([ledger.lanes(), ledger.lanes()]);
  proxy.freeze();
  const late = ledger.commit({ attempts: [attempt(1)] });
  await Promise.all([close(), assert.rejects(late, unavailable)]);
});

const noMount = skip === false && process.getuid?.() !== 0 ? 'a small disk of its own is mounted, which takes root' : skip;

test(
  'a full disk is told as it is, nothing acknowledged is lost, and commits go on when there is space',
  { skip: noMount },
  async (context) => {
    const schema = server.schema();
    const disk = smallDisk(context, '24m');
    await server.query(`CREATE TABLESPACE ${schema} LOCATION '${disk}'`);
    const user = `${schema}_user`;
    await server.query(`CREATE ROLE ${user} LOGIN`);
    await server.query(`ALTER ROLE ${user} SET default_tablespace = ${schema}`);
    await server.query(`GRANT CREATE ON TABLESPACE ${schema} TO ${user}`);
    await server.query(`CREATE SCHEMA ${schema} AUTHORIZATION ${user}`);
    const { ledger, directory, close } = await server.open(context, { url: server.url.replace('millrace@', `${user}@`), schema });
    // Chance can't be compressed.
    const bytes = randomBytes(500_000);
    const row = {
      lane: 'sub.0',
      shard: 'main',
      state: 'parked',
      dueMs: 1,
      attempts: 1,
      attemptsBefore: 0,
      cause: 'timeout',
      size: 1,
      timeMs: 1,
      idHash: '',
    } as const;
    const park = (n: number) =>
      ledger.commit({ park: [{ ...row, position: at(n), kept: { environment: 'e', app: 'a', bytes } }] });
    let acknowledged = 0;
    await assert.rejects(async () => {
      for (;;) {
        await park(acknowledged);
        acknowledged++;
      }
    }, hasCode('ledger_full'));
    assert.ok(acknowledged > 10);
    await assert.rejects(
      directory.put('app', 'default', 'large', { name: bytes.toString('hex'), createdMs: 1 }),
      hasCode('ledger_full'),
    );
    assert.equal((await ledger.handledAfter('sub.0', 'main', '')).length, acknowledged);
    execFileSync('mount', ['-o', 'remount,size=48m', disk]);
    await park(acknowledged);
    await directory.put('app', 'default', 'large', { name: bytes.toString('hex'), createdMs: 1 });
    assert.equal((await ledger.handledAfter('sub.0', 'main', '')).length, acknowledged + 1);
    await close();
    await server.query(`DROP SCHEMA ${schema} CASCADE`);
    await server.query(`DROP TABLESPACE ${schema}`);
  },
);

function smallDisk(context: TestContext, size: string): string {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-postgres-disk-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size},mode=0700`, 'tmpfs', directory]);
  context.after(() => {
    // Lazily, as the server may still have it open when a test has failed.
    execFileSync('umount', ['--lazy', directory]);
    rmdirSync(directory);
  });
  execFileSync('chown', ['postgres', directory]);
  return directory;
}
