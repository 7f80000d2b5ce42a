import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hasCode, listen, testProxy, testServer } from './testing.ts';

const server = await testServer();
const { skip } = server;
const app = (name: string) => ({ name, createdMs: 1 });

test('a value comes back as it was: order of members, numbers, U+0000, and depth', { skip }, async (context) => {
  const { directory } = await server.open(context);
  const deep = JSON.parse(`${'['.repeat(5_000)}${']'.repeat(5_000)}`) as unknown;
  const value = { ...app('a\u0000b\u0001'), z: 1, a: [1e21, 0.1, -0, 'x\u0000'], '\u0000': '', deep };
  await directory.put('app', 'default', 'shop', value);
  assert.equal(JSON.stringify((await directory.get('app', 'default', 'shop'))?.value), JSON.stringify(value));
});

test('ids may hold U+0000, and stand in their order', { skip }, async (context) => {
  const { directory } = await server.open(context);
  const ids = ['a', 'a\u0000', 'a\u0000b', 'a\u0001', 'a\u0001\u0001', 'a\u0002'];
  for (const id of ids.toReversed()) await directory.put('app', 'default', id, app(id), 'absent');
  const listed = await directory.list('app', { limit: 10 });
  assert.deepEqual(
    listed.map(({ id, value }) => [id, value.name]),
    ids.map((id) => [id, id]),
  );
  const after = { environment: 'default', id: 'a\u0000' };
  assert.deepEqual(
    (await directory.list('app', { after, limit: 2 })).map(({ id }) => id),
    ['a\u0000b', 'a\u0001'],
  );
});

test('one change that can not be stored fails alone, of all that were asked for together', { skip }, async (context) => {
  const { directory } = await server.open(context);
  // Chance, so that it can't be compressed to what an index takes.
  const tooLong = Array.from({ length: 20_000 }, (_, i) => String.fromCodePoint(0x4e00 + ((i * i * 7_919) % 20_000))).join('');
  const ids = ['a', 'b', tooLong, 'c'];
  const puts = await Promise.allSettled(ids.map((id) => directory.put('app', 'default', id, app('x'))));
  assert.deepEqual(
    puts.map(({ status }) => status),
    ['fulfilled', 'fulfilled', 'rejected', 'fulfilled'],
  );
  assert.ok(puts[2]?.status === 'rejected' && hasCode('internal_error')(puts[2].reason));
  assert.equal((await directory.list('app', { limit: 10 })).length, 3);
});

test('who has put something finds it told, whichever node changed what before', { skip }, async (context) => {
  const schema = server.schema();
  const [one, other] = await Promise.all([server.open(context, { schema }), server.open(context, { schema })]);
  const { changes } = listen(one.directory);
  for (let i = 0; i < 20; i++) {
    await other.directory.put('app', 'default', 'shop', app(`other ${i}`));
    await one.directory.put('app', 'default', 'shop', app(`one ${i}`));
    assert.deepEqual(
      changes.map(({ now }) => now?.version),
      Array.from({ length: 2 * (i + 1) }, (_, n) => n + 1),
    );
  }
});

test('changes of many nodes are told to all, each once and in one order', { skip }, async (context) => {
  const schema = server.schema();
  const nodes = await Promise.all([1, 2, 3].map(() => server.open(context, { schema, poolMax: 3 })));
  const heard = nodes.map(({ directory }) => listen(directory));
  await Promise.all(
    nodes.flatMap(({ directory }) => Array.from({ length: 40 }, (_, i) => directory.put('app', 'default', `${i % 5}`, app('x')))),
  );
  await nodes[0]!.directory.put('app', 'default', 'last', app('last'));
  const told = await Promise.all(heard.map((watcher) => watcher.until(({ id }) => id === 'last')));
  for (const changes of told) {
    assert.equal(changes.length, 121);
    assert.deepEqual(changes, told[0]);
    const versions = changes.filter(({ id }) => id === '3').map(({ now }) => now?.version);
    assert.deepEqual(
      versions,
      Array.from({ length: 24 }, (_, i) => i + 1),
    );
  }
});

test('a value far larger than a notification is told to other nodes', { skip }, async (context) => {
  const schema = server.schema();
  const [one, other] = await Promise.all([server.open(context, { schema }), server.open(context, { schema })]);
  const watcher = listen(other.directory);
  const put = await one.directory.put('app', 'default', 'ü'.repeat(250), app('é'.repeat(300_000)));
  assert.deepEqual((await watcher.until(() => true))[0]?.now, put);
});

test(
  'what changed while a node was cut off is told when it is back, deletions too, each once and in order',
  { skip },
  async (context) => {
    const schema = server.schema();
    const proxy = await testProxy(context, server.url);
    const [far, near] = [await server.open(context, { schema, url: proxy.url }), await server.open(context, { schema })];
    const watcher = listen(far.directory);
    await near.directory.put('app', 'default', 'before', app('1'));
    await watcher.until(({ id }) => id === 'before');
    proxy.cut();
    await near.directory.put('app', 'default', 'shop', app('1'));
    await near.directory.put('app', 'default', 'shop', app('2'));
    await near.directory.delete('app', 'default', 'shop');
    await near.directory.delete('app', 'default', 'before');
    for (let i = 0; i < 150; i++) await near.directory.put('app', 'default', `many ${i}`, app(''));
    await assert.rejects(far.directory.get('app', 'default', 'shop'), hasCode('ledger_unavailable'));
    proxy.restore();
    await near.directory.put('app', 'default', 'last', app('1'));
    const changes = await watcher.until(({ id }) => id === 'last');
    assert.deepEqual(
      changes.map(({ id, now }) => `${id} ${now?.version ?? 'gone'}`),
      [
        'before 1',
        'shop 1',
        'shop 2',
        'shop gone',
        'before gone',
        ...Array.from({ length: 150 }, (_, i) => `many ${i} 1`),
        'last 1',
      ],
    );
  },
);

test('a connection that was frozen without a word is noticed, and nothing is missed', { skip }, async (context) => {
  const schema = server.schema();
  const proxy = await testProxy(context, server.url);
  const times = { connectMs: 300, answerMs: 300 };
  const [far, near] = [await server.open(context, { schema, url: proxy.url, times }), await server.open(context, { schema })];
  const watcher = listen(far.directory);
  proxy.freeze();
  await near.directory.put('app', 'default', 'shop', app('1'));
  await near.directory.delete('app', 'default', 'shop');
  await assert.rejects(far.directory.get('app', 'default', 'shop'), hasCode('ledger_unavailable'));
  proxy.restore();
  assert.deepEqual(
    (await watcher.until(({ now }) => now === undefined)).map(({ now }) => now?.version),
    [1, undefined],
  );
});

test('a put whose answer was lost is told, as it is there', { skip }, async (context) => {
  const schema = server.schema();
  const proxy = await testProxy(context, server.url);
  const { directory } = await server.open(context, { schema, url: proxy.url });
  const watcher = listen(directory);
  const broken = proxy.breakAt('COMMIT');
  await assert.rejects(directory.put('app', 'default', 'shop', app('1')), hasCode('ledger_unavailable'));
  await broken;
  const [change] = await watcher.until(() => true);
  assert.deepEqual(change?.now, await directory.get('app', 'default', 'shop'));
  await assert.rejects(directory.put('app', 'default', 'shop', app('1'), 'absent'), hasCode('already_exists'));
});

test('a database that went back to an earlier state is a failure of this node, told once', { skip }, async (context) => {
  for (const back of [
    'UPDATE {}.directory_clock SET seq = 1',
    `UPDATE {}.directory_clock SET token = 'another'; UPDATE {}.changes SET token = 'another'`,
    `UPDATE {}.directory_clock SET seq = 9; UPDATE {}.changes SET token = 'another'`,
  ]) {
    const schema = server.schema();
    const failures: Error[] = [];
    const failed = Promise.withResolvers<void>();
    const onFailure = (error: Error) => failed.resolve(void failures.push(error));
    const { directory } = await server.open(context, { schema, onFailure });
    for (const name of ['1', '2']) await directory.put('app', 'default', 'shop', app(name));
    await server.query(back.replaceAll('{}', schema));
    await failed.promise;
    assert.match(failures[0]!.message, /earlier state.*started again/);
  }
});

for (const who of ['this node', 'another node']) {
  test(`a database that went back is noticed though ${who} changes it on and the numbers catch up`, { skip }, async (context) => {
    const schema = server.schema();
    const failed = Promise.withResolvers<Error>();
    const { directory } = await server.open(context, { schema, onFailure: failed.resolve });
    const { changes } = listen(directory);
    for (const name of ['1', '2']) await directory.put('app', 'default', 'shop', app(name));
    await server.query(
      `WITH gone AS (DELETE FROM ${schema}.changes WHERE seq = 2)
        UPDATE ${schema}.directory_clock SET seq = 1, token = (SELECT token FROM ${schema}.changes WHERE seq = 1)`,
    );
    const by = who === 'this node' ? directory : (await server.open(context, { schema })).directory;
    // In one transaction: the first gets the number that was told already, the second one that follows it.
    await Promise.all(['a', 'b'].map((id) => by.put('app', 'default', id, app(id))));
    assert.match((await failed.promise).message, /earlier state.*started again/);
    assert.equal(changes.length, 2, 'nothing is told on top of what does not hold');
  });
}

test('changes that were pruned before a node has seen them are a failure of this node', { skip }, async (context) => {
  const schema = server.schema();
  const proxy = await testProxy(context, server.url);
  const failed = Promise.withResolvers<Error>();
  await server.open(context, { schema, url: proxy.url, onFailure: failed.resolve });
  const near = await server.open(context, { schema });
  proxy.cut();
  await near.directory.put('app', 'default', 'shop', app('1'));
  await server.query(`UPDATE ${schema}.changes SET at = at - interval '2 days'`);
  await near.ledger.pruneAttempts(0);
  await near.directory.put('app', 'default', 'shop', app('2'));
  proxy.restore();
  assert.match((await failed.promise).message, /gone before this node has seen them/);
});

test('a notification from somebody else that means nothing does no harm', { skip }, async (context) => {
  const schema = server.schema();
  const { directory } = await server.open(context, { schema, onFailure: (error) => assert.fail(error) });
  const near = await server.open(context, { schema });
  const watcher = listen(directory);
  for (const payload of ['', 'x', '-1', '999999 x', 'NaN'])
    await server.query(`SELECT pg_notify('millrace_${schema}_changes', $1)`, [payload]);
  const put = await near.directory.put('app', 'default', 'shop', app('1'));
  assert.deepEqual((await watcher.until(() => true))[0]?.now, put);
});
