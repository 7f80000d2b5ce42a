import assert from 'node:assert/strict';
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { openEmbedded } from './embedded.ts';
import type { Embedded } from './embedded.ts';
import { entries, entry, keyed, pages, positionsIn, positionsOf, START_MS, temporaryDirectory, testStore } from './testing.ts';
import type { TestStore } from './testing.ts';

/** Five events in sealed files, with a key each, and five in the hot table. */
async function halfSealed(store: TestStore): Promise<string[]> {
  const positions: string[] = [];
  let embedded = await store.open({ segmentBytes: 1 });
  for (let i = 0; i < 5; i++) positions.push(...positionsOf(await embedded.log.append([keyed(`k${i}`, { bytes: 40_000 })])));
  await embedded.log.trim();
  embedded = await store.open();
  positions.push(...positionsOf(await embedded.log.append(entries(5))));
  await store.close();
  return positions;
}

const SECOND = '000000002-7d.db';
const DAMAGES: Readonly<Record<string, (path: string) => void>> = {
  missing: (path) => rmSync(path),
  truncated: (path) => truncateSync(path, 20_000),
  empty: (path) => truncateSync(path, 0),
  longer: (path) => appendFileSync(path, 'more'),
  'garbage of the same size': (path) => writeFileSync(path, readFileSync(path).fill(0xa5)),
  'another log’s file': (path) => copyFileSync(join(path, '..', '000000003-7d.db'), path),
};

for (const [what, damage] of Object.entries(DAMAGES)) {
  test(`a sealed file that is ${what} stops the start, by name, until a person sets it aside`, async (context) => {
    const store = testStore(context);
    const positions = await halfSealed(store);
    damage(join(store.path, 'segments', SECOND));
    for (let i = 0; i < 2; i++) {
      await assert.rejects(
        store.open(),
        (error: Error & { code: string }) => error.code === 'data_directory_damaged' && error.message.includes(SECOND),
      );
    }
    const embedded = await store.open({ damaged: 'set-aside' });
    assert.deepEqual(
      embedded.setAside.map(({ file, records }) => [file, records]),
      [[SECOND, 1]],
    );
    assert.equal(existsSync(join(store.path, 'set-aside', SECOND)), what !== 'missing');
    await reportsLossOf(embedded, positions, positions[1]!);
    await reportsLossOf(await store.open(), positions, positions[1]!);
  });
}

async function reportsLossOf({ log }: Embedded, positions: readonly string[], lost: string): Promise<void> {
  const [page] = await pages(log);
  assert.deepEqual(
    page!.records.map(({ position }) => position),
    positions.filter((position) => position !== lost),
  );
  assert.equal(page!.expired?.last.position, lost);
  assert.equal(page!.expired?.count, 1);
}

test('damage inside a sealed file is told to who reads there, and found by the start that may set it aside', async (context) => {
  const store = testStore(context);
  await halfSealed(store);
  const path = join(store.path, 'segments', SECOND);
  const bytes = readFileSync(path);
  // Not the first page and no overflow page: the b-tree of the events or its index.
  for (let page = 1; page < bytes.length / 16_384; page++) bytes.fill(0xff, page * 16_384, page * 16_384 + 64);
  writeFileSync(path, bytes);
  await assert.rejects(
    store.open().then(({ log }) => pages(log)),
    (error: Error) => error.message.includes(SECOND),
  );
  const embedded = await store.open({ damaged: 'set-aside' });
  assert.deepEqual(
    embedded.setAside.map(({ file }) => file),
    [SECOND],
  );
  assert.equal((await positionsIn(embedded.log)).length, 9);
});

test('a lost keys file is set aside without a loss of events', async (context) => {
  const store = testStore(context);
  const positions = await halfSealed(store);
  rmSync(join(store.path, 'segments', '000000002-keys.db'));
  await assert.rejects(store.open(), { code: 'data_directory_damaged' });
  const embedded = await store.open({ damaged: 'set-aside' });
  assert.deepEqual(
    embedded.setAside.map(({ file, records }) => [file, records]),
    [['000000002-keys.db', 0]],
  );
  assert.deepEqual(await positionsIn(embedded.log), positions);
  assert.equal((await embedded.log.append([keyed('k0')]))[0]?.status, 'duplicate');
});

test('what a crash left of a sealing is removed, what nobody knows is set aside', async (context) => {
  const store = testStore(context);
  const positions = await halfSealed(store);
  const segments = join(store.path, 'segments');
  copyFileSync(join(segments, SECOND), join(segments, '000000006-7d.db.sealing'));
  copyFileSync(join(segments, SECOND), join(segments, '000000006-7d.db'));
  copyFileSync(join(segments, SECOND), join(segments, '000000099-7d.db'));
  const embedded = await store.open();
  assert.deepEqual(
    embedded.setAside.map(({ file }) => file),
    ['000000099-7d.db'],
  );
  assert.deepEqual(readdirSync(join(store.path, 'set-aside')), ['000000099-7d.db']);
  assert.equal(store.segments().filter((name) => name.startsWith('000000006')).length, 0);
  assert.deepEqual(await positionsIn(embedded.log), positions);
});

test('a file that retention took off the list just before a crash is removed at start', async (context) => {
  const store = testStore(context);
  await halfSealed(store);
  const segments = join(store.path, 'segments');
  const saved = join(store.path, 'saved.db');
  copyFileSync(join(segments, SECOND), saved);
  const embedded = await store.open({ maxBytes: 1 });
  await embedded.log.trim();
  await store.close();
  renameSync(saved, join(segments, SECOND));
  const db = new DatabaseSync(join(store.path, 'state.db'));
  db.prepare('INSERT INTO doomed VALUES (?)').run(SECOND);
  db.close();
  assert.deepEqual((await store.open()).setAside, []);
  assert.ok(!existsSync(join(segments, SECOND)));
});

test('a torn write at the end of the write-ahead log costs nothing that was acknowledged', async (context) => {
  const store = testStore(context);
  const embedded = await store.open();
  const positions = positionsOf(await embedded.log.append(entries(50, { bytes: 1_000 })));
  // What a power loss leaves: the files as they are at this instant, the last frame half written.
  const copy = temporaryDirectory();
  context.after(() => copy.remove());
  for (const name of ['state.db', 'state.db-wal']) copyFileSync(join(store.path, name), join(copy.path, name));
  appendFileSync(join(copy.path, 'state.db-wal'), new Uint8Array(10_000).fill(0x5a));
  const restored = await openEmbedded({ directory: copy.path, now: () => START_MS, tailBytes: 0 });
  assert.deepEqual(await positionsIn(restored.log), positions);
  await restored.close();
});

test('a state.db that is garbage, foreign, newer or gone is refused and left as it is', async (context) => {
  const store = testStore(context);
  await halfSealed(store);
  const path = join(store.path, 'state.db');
  const saved = readFileSync(path);
  const refused = async (code: string, bytes: Uint8Array) => {
    writeFileSync(path, bytes);
    await assert.rejects(store.open(), { code });
    assert.deepEqual(new Uint8Array(readFileSync(path)), new Uint8Array(bytes));
  };
  await refused('data_directory_damaged', Buffer.from(saved).fill(0x11));
  await refused('data_directory_damaged', Buffer.from(saved).subarray(0, 30_000));
  // user_version is at byte 60 of the header, application_id at byte 68.
  const newer = Buffer.from(saved);
  newer.writeUInt32BE(99, 60);
  await refused('data_directory_newer', newer);
  const foreign = Buffer.from(saved);
  foreign.writeUInt32BE(1, 68);
  await refused('data_directory_damaged', foreign);
  rmSync(path);
  await assert.rejects(store.open(), { code: 'data_directory_damaged' });
  writeFileSync(path, saved);
  assert.equal((await positionsIn((await store.open()).log)).length, 10);
});

test('in relaxed mode offsets skip ahead after an unclean stop, and only then', async (context) => {
  const store = testStore(context);
  const offsetsOf = async (embedded: Embedded) => positionsOf(await embedded.log.append([entry()])).map(Number);
  const crashed = temporaryDirectory();
  context.after(() => crashed.remove());
  const relaxed = { durability: 'relaxed' } as const;
  assert.deepEqual(await offsetsOf(await store.open(relaxed)), [1]);
  const embedded = await store.open(relaxed);
  assert.deepEqual(await offsetsOf(embedded), [2]);
  for (const name of ['state.db', 'state.db-wal']) copyFileSync(join(store.path, name), join(crashed.path, name));
  assert.deepEqual(await offsetsOf(await store.open()), [3]);

  const restarted = await openEmbedded({ directory: crashed.path, now: () => START_MS });
  const { end, last } = await restarted.log.bounds('0');
  assert.deepEqual([Number(last!.position), Number(end)], [2, 1_000_002]);
  assert.deepEqual(await offsetsOf(restarted), [1_000_003]);
  const [page] = await pages(restarted.log, { after: '0000000000001500' });
  assert.deepEqual(
    page!.records.map(({ position }) => Number(position)),
    [1_000_003],
  );
  await restarted.close();
});
