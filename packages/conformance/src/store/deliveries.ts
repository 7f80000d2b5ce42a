/** Parked and held deliveries: single rows, what is due, what is keyed. */
import assert from 'node:assert/strict';
import type { Behaviours } from '../behaviours.ts';
import { at, deadLetter, held, kept, LANE, OTHER_LANE, parked, same, SHARD, START_MS } from './world.ts';
import type { OpenedStores } from './world.ts';

const everyByte = Uint8Array.from({ length: 256 }, (_, i) => i);
const FOREVER_MS = Number.MAX_SAFE_INTEGER;

export const parking: Behaviours<OpenedStores> = {
  'returns a row as it was parked': async ({ ledger }) => {
    const rows = [
      parked(1),
      parked(2, { key: 'Straße 😀', cause: '', attempts: 0, size: 0 }),
      held(3),
      parked(4, { dueMs: START_MS + 75 * 3_600_000, attempts: 12, attemptsBefore: 10 }),
    ];
    await ledger.commit({ park: rows });
    for (const row of rows) same(await ledger.parked(LANE, SHARD, row.position), row);
  },

  'keeps the bytes of an event exactly, none at all as well as half a megabyte': async ({ ledger }) => {
    const bodies = [new Uint8Array(), everyByte, everyByte.subarray(100, 120), new Uint8Array(540_000).map((_, i) => i % 241)];
    const rows = bodies.map((bytes, n) => parked(n, { kept: { environment: 'stäging', app: 'Ünï 😀', bytes } }));
    await ledger.commit({ park: rows });
    for (const row of rows) same(await ledger.parked(LANE, SHARD, row.position), row);
    same((await ledger.due(LANE, SHARD, FOREVER_MS, 10)).rows, rows);
  },

  'replaces a row, also by one in the other state, and what it had is gone': async ({ ledger }) => {
    await ledger.commit({ park: [parked(1, { kept: kept(everyByte), key: 'k' })] });
    for (const row of [held(1), parked(1), held(1, { key: 'other' })]) {
      await ledger.commit({ park: [row] });
      same(await ledger.parked(LANE, SHARD, at(1)), row);
    }
  },

  'removes the rows named, parked or held, and no others': async ({ ledger }) => {
    await ledger.commit({
      park: [parked(1), held(2), parked(3), parked(1, { lane: OTHER_LANE }), parked(1, { shard: 'second' })],
    });
    await ledger.commit({ unpark: [parked(1), held(2), parked(99)] });
    assert.equal(await ledger.parked(LANE, SHARD, at(1)), undefined);
    assert.equal(await ledger.parked(LANE, SHARD, at(2)), undefined);
    same(
      [
        await ledger.parked(LANE, SHARD, at(3)),
        await ledger.parked(OTHER_LANE, SHARD, at(1)),
        await ledger.parked(LANE, 'second', at(1)),
      ],
      [parked(3), parked(1, { lane: OTHER_LANE }), parked(1, { shard: 'second' })],
    );
  },
};

export const due: Behaviours<OpenedStores> = {
  'returns what is due by then, earliest first, and when the next one is': async ({ ledger }) => {
    await ledger.commit({
      park: [
        parked(1, { dueMs: START_MS + 300 }),
        parked(2, { dueMs: START_MS + 100 }),
        parked(3, { dueMs: START_MS + 301 }),
        parked(4, { dueMs: START_MS + 900 }),
      ],
    });
    const { rows, nextDueMs } = await ledger.due(LANE, SHARD, START_MS + 300, 10);
    same(
      rows.map(({ position }) => position),
      [at(2), at(1)],
    );
    assert.equal(nextDueMs, START_MS + 301);
  },

  'takes a time with a fraction of a millisecond': async ({ ledger }) => {
    await ledger.commit({ park: [parked(1, { dueMs: START_MS + 300 }), parked(2, { dueMs: START_MS + 301 })] });
    const { rows, nextDueMs } = await ledger.due(LANE, SHARD, START_MS + 300.5, 10);
    same([rows.map(({ position }) => position), nextDueMs], [[at(1)], START_MS + 301]);
  },

  'tells when the first is due where none is yet': async ({ ledger }) => {
    await ledger.commit({ park: [parked(1, { dueMs: START_MS + 300 }), parked(2, { dueMs: START_MS + 200 })] });
    same(await ledger.due(LANE, SHARD, START_MS, 10), { rows: [], nextDueMs: START_MS + 200 });
  },

  'returns no more than the limit and tells when the first of the rest is due': async ({ ledger }) => {
    await ledger.commit({ park: Array.from({ length: 50 }, (_, n) => parked(50 - n, { dueMs: START_MS + n })) });
    const { rows, nextDueMs } = await ledger.due(LANE, SHARD, START_MS + 100, 20);
    same(
      rows.map(({ dueMs }) => dueMs),
      Array.from({ length: 20 }, (_, n) => START_MS + n),
    );
    assert.equal(nextDueMs, START_MS + 20);
  },

  'tells the same due time again where several share it and one had no room': async ({ ledger }) => {
    await ledger.commit({ park: [1, 2, 3].map((n) => parked(n, { dueMs: START_MS })) });
    const { rows, nextDueMs } = await ledger.due(LANE, SHARD, START_MS, 2);
    assert.deepEqual([rows.length, nextDueMs], [2, START_MS]);
  },

  'has no next due time when everything was returned': async ({ ledger }) => {
    await ledger.commit({ park: [parked(1), parked(2)] });
    same(await ledger.due(LANE, SHARD, FOREVER_MS, 2), { rows: [parked(1), parked(2)] });
  },

  'leaves out held rows, other lanes and other shards': async ({ ledger }) => {
    await ledger.commit({ park: [held(1), parked(2, { lane: OTHER_LANE }), parked(3, { shard: 'second' })] });
    same(await ledger.due(LANE, SHARD, FOREVER_MS, 10), { rows: [] });
    same(await ledger.due(LANE, 'second', FOREVER_MS, 10), { rows: [parked(3, { shard: 'second' })] });
  },

  'follows a row whose due time changed': async ({ ledger }) => {
    await ledger.commit({ park: [parked(1, { dueMs: START_MS + 10 }), parked(2, { dueMs: START_MS + 20 })] });
    await ledger.commit({ park: [parked(1, { dueMs: START_MS + 30 })] });
    same(
      (await ledger.due(LANE, SHARD, FOREVER_MS, 10)).rows.map(({ position }) => position),
      [at(2), at(1)],
    );
  },

  'returns rows due at once, whatever the time': async ({ ledger }) => {
    await ledger.commit({ park: [parked(1, { dueMs: 0 })] });
    same((await ledger.due(LANE, SHARD, 0, 1)).rows, [parked(1, { dueMs: 0 })]);
  },
};

export const keyed: Behaviours<OpenedStores> = {
  'tells all that blocks or waits for a key, by position': async ({ ledger }) => {
    await ledger.commit({
      park: [held(9, { key: 'b' }), parked(2, { key: 'a' }), held(5, { key: 'a' }), parked(3)],
      bury: [deadLetter(4, { holdsKey: 'c' }), deadLetter(1)],
    });
    same(await ledger.keyed(LANE, SHARD), [
      { position: at(2), key: 'a', state: 'parked' },
      { position: at(4), key: 'c', state: 'dead' },
      { position: at(5), key: 'a', state: 'held' },
      { position: at(9), key: 'b', state: 'held' },
    ]);
  },

  'keeps keys apart that look alike': async ({ ledger }) => {
    const keys = ['a', 'A', 'a ', 'é', 'e\u0301', '😀', '__proto__', '0', '00', ''];
    await ledger.commit({ park: keys.map((key, n) => held(n, { key })) });
    assert.deepEqual(
      (await ledger.keyed(LANE, SHARD)).map(({ key }) => key),
      keys,
    );
  },

  'leaves out other lanes and shards, and what is no longer there': async ({ ledger }) => {
    await ledger.commit({
      park: [held(1), held(2, { lane: OTHER_LANE }), held(3, { shard: 'second' })],
      bury: [deadLetter(4, { holdsKey: 'k' })],
    });
    await ledger.commit({ unpark: [held(1)], unbury: [deadLetter(4).id] });
    same(await ledger.keyed(LANE, SHARD), []);
  },

  'leaves out a delivery that was parked again without its key, as a redrive does': async ({ ledger }) => {
    await ledger.commit({ bury: [deadLetter(1, { holdsKey: 'k' })] });
    await ledger.commit({ unbury: [deadLetter(1).id], park: [parked(1)] });
    same(await ledger.keyed(LANE, SHARD), []);
  },
};
