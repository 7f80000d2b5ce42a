import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkServer, migrate, SCHEMA_VERSION } from './migrate.ts';
import { openPostgres } from './store-postgres.ts';
import { attempt, hasCode, testServer } from './testing.ts';

const server = await testServer();
const { skip, url } = server;

for (let from = 0; from < SCHEMA_VERSION; from++) {
  test(`a schema of version ${from} becomes the present one and keeps what it holds`, { skip }, async (context) => {
    const schema = server.schema();
    assert.equal(await migrate({ url, schema, to: from }), 0);
    if (from >= 1)
      await server.query(`INSERT INTO ${schema}.directory VALUES ('app', 'default', 'shop', 7, '{"name":"Shop","createdMs":1}')`);
    if (from >= 2) {
      await server.query(`INSERT INTO ${schema}.lanes (lane, shard, subscription) VALUES ('sub.0', 'main', 'sub')`);
      await server.query(`INSERT INTO ${schema}.lane_cursors VALUES (1, 'log', '0042', 5, 'hash')`);
    }
    const store = await server.open(context, { schema });
    assert.deepEqual(
      (await store.directory.list('app', { limit: 10 })).map(({ id, version }) => [id, version]),
      from >= 1 ? [['shop', 7]] : [],
    );
    const cursor = { log: 'log', position: '0042', timeMs: 5, idHash: 'hash' };
    assert.deepEqual(await store.ledger.lanes(), from >= 2 ? [{ lane: 'sub.0', shard: 'main', cursor }] : []);
    await store.directory.put('app', 'default', 'other', { name: 'Other', createdMs: 2 }, 'absent');
    await store.ledger.commit({ attempts: [attempt(1)] });
    const place = { log: 'log', topics: [], ends: {} };
    const claims = [{ id: 'k', digest: 'd', windowMs: 1_000, token: 't', place }];
    assert.deepEqual(await store.claims.claim(claims), [{ status: 'claimed' }]);
    assert.equal(await migrate({ url, schema }), SCHEMA_VERSION);
  });
}

test('nodes that start at once make the schema once', { skip }, async (context) => {
  const schema = server.schema();
  const stores = await Promise.all(Array.from({ length: 6 }, () => server.open(context, { schema, poolMax: 2 })));
  await Promise.all(stores.map(({ ledger }, i) => ledger.commit({ attempts: [attempt(i)] })));
  assert.equal((await stores[0]!.ledger.attempts({ subscription: 'sub', limit: 10 })).length, 6);
  const versions = await server.query(`SELECT version::int FROM ${schema}.migrations ORDER BY version`);
  assert.deepEqual(
    versions.map(({ version }) => version),
    Array.from({ length: SCHEMA_VERSION }, (_, i) => i + 1),
  );
});

test('nodes that start at once bring an old schema forward once', { skip }, async () => {
  const schema = server.schema();
  await migrate({ url, schema, to: 1 });
  await Promise.all([1, 2, 3, 4].map(() => migrate({ url, schema })));
  assert.equal(await migrate({ url, schema }), SCHEMA_VERSION);
});

test('a schema of a newer version is refused, with what to do, and left as it is', { skip }, async () => {
  const schema = server.schema();
  await migrate({ url, schema });
  await server.query(`INSERT INTO ${schema}.migrations VALUES (${SCHEMA_VERSION + 1})`);
  for (const opening of [() => openPostgres({ url, schema }), () => migrate({ url, schema })]) {
    await assert.rejects(opening, (error: Error & { code: string; advice: string }) => {
      assert.equal(error.code, 'schema_newer');
      assert.match(error.message, new RegExp(`${schema} .* version ${SCHEMA_VERSION + 1}`));
      assert.match(error.advice, /newer one/);
      return true;
    });
  }
});

test('a migration that fails leaves nothing behind, and is done when it can be', { skip }, async (context) => {
  const schema = server.schema();
  await migrate({ url, schema, to: 1 });
  await server.query(`CREATE TABLE ${schema}.slot_cursors (in_the_way int)`);
  await assert.rejects(migrate({ url, schema }), hasCode('internal_error'));
  assert.equal((await server.query(`SELECT to_regclass('${schema}.lanes') AS lanes`))[0]?.['lanes'], null);
  await server.query(`DROP TABLE ${schema}.slot_cursors`);
  await server.open(context, { schema });
});

test('a user without the right to create schemas uses one that was made for it', { skip }, async (context) => {
  const schema = server.schema();
  await server.query(`CREATE ROLE ${schema}_user LOGIN`);
  const theirs = url.replace('millrace@', `${schema}_user@`);
  await assert.rejects(openPostgres({ url: theirs, schema }), (error: Error & { code: string; advice: string }) => {
    assert.match(error.advice, /CREATE SCHEMA/);
    return true;
  });
  await server.query(`CREATE SCHEMA ${schema} AUTHORIZATION ${schema}_user`);
  const { ledger } = await server.open(context, { url: theirs, schema });
  await ledger.commit({ attempts: [attempt(1)] });
});

test('what is no name of a schema is refused before anything is asked', async () => {
  for (const schema of ['', 'a"b', 'a b', 'A', '1a', 'a;drop', 'x'.repeat(41)]) {
    await assert.rejects(openPostgres({ url: 'postgres://127.0.0.1:1/none', schema }), hasCode('invalid_request'));
  }
});

test('a database or a user that is not there is named, with what to look at', { skip }, async () => {
  await assert.rejects(
    openPostgres({ url: url.replace(/\/postgres$/, '/nowhere') }),
    (error: Error & { code: string; advice: string }) =>
      error.code === 'ledger_unavailable' && /nowhere/.test(error.message) && /Create the database/.test(error.advice),
  );
});

test('a server that is too old is refused by its version', () => {
  for (const good of [140_000, 150_004, 180_001]) checkServer(good);
  assert.throws(() => checkServer(130_012), /version 13; it must be 14 or newer/);
});
