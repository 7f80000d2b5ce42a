/** Files of the store are for its user alone, whatever the umask is. */
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { entries, testStore, type TestStore } from './testing.ts';

const modesIn = ({ path }: TestStore): [name: string, mode: string][] =>
  readdirSync(path, { recursive: true, encoding: 'utf8' })
    .toSorted()
    .map((name) => [name, (statSync(join(path, name)).mode & 0o777).toString(8)]);

const isWindows = process.platform === 'win32' && 'Windows knows no such modes';

test('all that the store makes is readable by its user alone', { skip: isWindows }, async (context) => {
  const before = process.umask(0);
  context.after(() => process.umask(before));
  const store = testStore(context);
  const { log } = await store.open({ segmentBytes: 1 });
  for (let count = 0; count < 3; count++) await log.append(entries(1));
  await log.trim();
  const modes = modesIn(store);
  for (const name of ['lock.db', 'lock.pid', 'state.db', 'state.db-wal', 'state.db-shm'])
    assert.deepEqual(
      modes.find(([found]) => found === name),
      [name, '600'],
    );
  assert.ok(store.segments().length >= 2);
  assert.deepEqual(
    modes.filter(([name, mode]) => mode !== (name === 'segments' ? '700' : '600')),
    [],
  );
});

test(
  'what an earlier version left readable is not any more, and a directory of the user stays as it is',
  { skip: isWindows },
  async (context) => {
    const store = testStore(context);
    mkdirSync(join(store.path, 'segments'), { mode: 0o755 });
    const { log } = await store.open({ segmentBytes: 1 });
    for (let count = 0; count < 3; count++) await log.append(entries(1));
    await log.trim();
    await store.close();
    chmodSync(store.path, 0o755);
    for (const [name] of modesIn(store)) chmodSync(join(store.path, name), name === 'segments' ? 0o755 : 0o644);
    await store.open();
    assert.deepEqual(
      modesIn(store).filter(([name, mode]) => mode !== (name === 'segments' ? '755' : '600')),
      [],
    );
    assert.equal(statSync(store.path).mode & 0o777, 0o755);
  },
);
