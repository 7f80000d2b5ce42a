import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Embedded } from './embedded.ts';
import {
  DAY_MS,
  entries,
  entry,
  HOUR_MS,
  keyed,
  pages,
  positionsIn,
  positionsOf,
  readAll,
  START_MS,
  testStore,
} from './testing.ts';
import type { TestStore } from './testing.ts';

/** Every append fills its hot table: the next one goes to a new table, and the old one is sealed. */
const SEAL_EACH = { segmentBytes: 1 };

/** Twelve appends of three topics, a minute apart, most of them sealed. */
async function sealed(store: TestStore, embedded: Embedded): Promise<string[]> {
  const positions: string[] = [];
  for (let i = 0; i < 12; i++) {
    positions.push(...positionsOf(await embedded.log.append([entry({ id: `${i}`, topic: `topic.${i % 3}` })])));
    store.clock.ms += 60_000;
  }
  await embedded.log.trim();
  return positions;
}

test('a log is read across sealed files and the hot table as if it were one', async (context) => {
  const store = testStore(context);
  const embedded = await store.open(SEAL_EACH);
  const positions = await sealed(store, embedded);
  assert.equal(store.segments().length, 12);
  assert.deepEqual(await positionsIn(embedded.log), positions);
  assert.deepEqual(await positionsIn(embedded.log, { limit: 1 }), positions);
  assert.deepEqual(await positionsIn(embedded.log, { after: positions[4]!, limit: 5 }), positions.slice(5));
  assert.deepEqual(
    (await readAll(embedded.log)).map(({ event }) => event.id),
    positions.map((_, i) => `${i}`),
  );
});

test('topics are found in sealed files, few of many and most of them', async (context) => {
  const store = testStore(context);
  const embedded = await store.open({ segmentBytes: 8_000 });
  const all = Array.from({ length: 600 }, (_, i) => entry({ id: `${i}`, topic: `topic.${i % 30}` }));
  for (let i = 0; i < all.length; i += 50) await embedded.log.append(all.slice(i, i + 50));
  await embedded.log.trim();
  assert.ok(store.segments().length > 2);
  for (const topics of [
    ['topic.7'],
    ['topic.7', 'topic.11'],
    ['topic.*'],
    ['>'],
    ['topic.1', 'topic.2', 'topic.3', 'topic.4', 'topic.5', 'topic.6'],
  ]) {
    const expected = all.filter(({ event }) =>
      topics.some((topic) => topic === event.type || topic === 'topic.*' || topic === '>'),
    );
    for (const limit of [1_000, 7]) {
      const found = await readAll(embedded.log, { topics, limit });
      assert.deepEqual(
        found.map(({ event }) => event.id),
        expected.map(({ event }) => event.id),
      );
    }
  }
});

test('single events and places by time are found in sealed files', async (context) => {
  const store = testStore(context);
  const embedded = await store.open(SEAL_EACH);
  const positions = await sealed(store, embedded);
  for (const [i, position] of positions.entries()) {
    assert.equal((await embedded.log.fetch('0', position))?.event.id, `${i}`);
    const after = await embedded.log.positionAt('0', START_MS + i * 60_000);
    assert.deepEqual(await positionsIn(embedded.log, { after }), positions.slice(i));
  }
  assert.equal(await embedded.log.fetch('0', '0000000000000099'), undefined);
});

test('a place by time is found within one sealed file', async (context) => {
  const store = testStore(context);
  const embedded = await store.open({ segmentMs: DAY_MS });
  const positions: string[] = [];
  for (let i = 0; i < 40; i++) {
    positions.push(...positionsOf(await embedded.log.append(entries(3))));
    store.clock.ms += 1_000;
  }
  store.clock.ms += DAY_MS;
  await embedded.log.trim();
  assert.deepEqual(store.segments(), ['000000001-7d.db']);
  for (const i of [0, 1, 17, 38, 39]) {
    const after = await embedded.log.positionAt('0', START_MS + i * 1_000);
    assert.deepEqual(await positionsIn(embedded.log, { after }), positions.slice(i * 3));
  }
});

test('an idempotency key is known when its event was sealed, and forgotten after its window', async (context) => {
  const store = testStore(context);
  let embedded = await store.open(SEAL_EACH);
  const [first] = await embedded.log.append([keyed('k1')]);
  for (let i = 2; i < 6; i++) await embedded.log.append([keyed(`k${i}`)]);
  await embedded.log.trim();
  assert.ok(store.segments().includes('000000001-keys.db'));
  assert.ok(first?.status === 'appended');
  for (let i = 0; i < 2; i++) {
    assert.deepEqual(await embedded.log.append([keyed('k1')]), [{ ...first, status: 'duplicate', id: 'k1' }]);
    assert.deepEqual(await embedded.log.append([entry({ dedupe: { key: 'k1', digest: 'b', windowMs: 1 } })]), [
      { status: 'conflict' },
    ]);
    embedded = await store.open(SEAL_EACH);
  }
  store.clock.ms += DAY_MS;
  assert.equal((await embedded.log.append([keyed('k1')]))[0]?.status, 'appended');
  await embedded.log.trim();
  assert.deepEqual(
    store.segments().filter((name) => name.includes('keys')),
    ['000000006-keys.db'],
  );
});

test('a hot table is sealed by its age, also when nothing more is appended', async (context) => {
  const store = testStore(context);
  const embedded = await store.open({ segmentMs: HOUR_MS });
  await embedded.log.append(entries(3));
  await embedded.log.trim();
  assert.deepEqual(store.segments(), []);
  store.clock.ms += HOUR_MS;
  await embedded.log.trim();
  assert.deepEqual(store.segments(), ['000000001-7d.db']);
});

test('topics of different retention go to files of their own and their space returns one by one', async (context) => {
  const store = testStore(context);
  const embedded = await store.open({ segmentMs: HOUR_MS });
  const lives = { short: HOUR_MS / 2, daily: DAY_MS, long: 365 * DAY_MS };
  for (const [topic, retentionMs] of Object.entries(lives))
    await embedded.log.declareTopic({ environment: 'default', topic, retentionMs });
  const all = entries(30).map((each, i) => entry({ id: each.event.id, topic: Object.keys(lives)[i % 3]! }));
  const positions = positionsOf(await embedded.log.append(all));
  store.clock.ms += HOUR_MS;
  await embedded.log.trim();
  assert.deepEqual(store.segments(), ['000000001-1d.db', '000000001-1y.db']);
  store.clock.ms += DAY_MS;
  await embedded.log.trim();
  assert.deepEqual(store.segments(), ['000000001-1y.db']);
  const [page] = await pages(embedded.log);
  assert.deepEqual(
    page!.records.map(({ position }) => position),
    positions.filter((_, i) => i % 3 === 2),
  );
  assert.deepEqual(page!.expired, { last: { position: positions[28], timeMs: START_MS }, firstTimeMs: START_MS, count: 20 });
});

test('the oldest files go first when all events take more than the size limit', async (context) => {
  const store = testStore(context);
  const embedded = await store.open({ ...SEAL_EACH, maxBytes: 700_000 });
  const positions: string[] = [];
  for (let i = 0; i < 10; i++) positions.push(...positionsOf(await embedded.log.append([entry({ id: `${i}`, bytes: 100_000 })])));
  await embedded.log.trim();
  const left = await positionsIn(embedded.log);
  assert.ok(left.length > 2 && left.length < 8);
  assert.deepEqual(left, positions.slice(-left.length));
  const [page] = await pages(embedded.log);
  assert.equal(page!.expired?.count, 10 - left.length);
  assert.equal((await embedded.log.bounds('0')).first?.position, left[0]);
  assert.equal(await embedded.log.fetch('0', positions[0]!), undefined);
});

test('what a size limit took is gone for readers of the tail too', async (context) => {
  const store = testStore(context);
  const embedded = await store.open({ ...SEAL_EACH, maxBytes: 1, tailBytes: 2 ** 24 });
  const positions = positionsOf(await embedded.log.append([entry({ id: '1' })]));
  await embedded.log.trim();
  const [page] = await pages(embedded.log);
  assert.deepEqual([page!.records.length, page!.expired?.last.position], [0, positions[0]]);
});

test('appends and reads go on while a large table is sealed', async (context) => {
  const store = testStore(context);
  const embedded = await store.open({ segmentBytes: 4 * 2 ** 20 });
  const positions: string[] = [];
  for (let i = 0; i < 24; i++) {
    positions.push(...positionsOf(await embedded.log.append(entries(256, { bytes: 1_000 }))));
    assert.equal(
      (await pages(embedded.log, { after: positions.at(-257) ?? '', limit: 1_000 })).flatMap(({ records }) => records).length,
      256,
    );
  }
  await embedded.log.trim();
  assert.deepEqual(await positionsIn(embedded.log, { limit: 1_000 }), positions);
});

test('a full disk while sealing leaves everything where it was, and the next trim seals', async (context) => {
  for (const at of ['building', 'built', 'synced', 'renamed', 'listing'] as const) {
    const store = testStore(context);
    const embedded = await store.open({ segmentMs: HOUR_MS, fault: { at, what: 'full', times: 2 } });
    const positions = positionsOf(await embedded.log.append(entries(20)));
    store.clock.ms += HOUR_MS;
    // The first attempt is the thread's own, at the age of the table; it tells nobody.
    await assert.rejects(embedded.log.trim(), { code: 'log_full' });
    assert.deepEqual(store.segments(), []);
    assert.deepEqual(await positionsIn(embedded.log), positions);
    positions.push(...positionsOf(await embedded.log.append(entries(1))));
    await embedded.log.trim();
    assert.deepEqual(store.segments(), ['000000001-7d.db']);
    assert.deepEqual(await positionsIn(embedded.log), positions);
  }
});

test('closing while a table is being sealed loses nothing', async (context) => {
  const store = testStore(context);
  let embedded = await store.open({ segmentBytes: 100_000 });
  const positions = positionsOf(await embedded.log.append(entries(2_000, { bytes: 500 })));
  embedded = await store.open();
  assert.deepEqual(await positionsIn(embedded.log, { limit: 1_000 }), positions);
  await embedded.log.trim();
  assert.deepEqual(await positionsIn(embedded.log, { limit: 1_000 }), positions);
  assert.deepEqual(store.segments(), ['000000001-7d.db']);
});
