/** Lanes and slots: cursors, what is handled, what is open, and forgetting. */
import assert from 'node:assert/strict';
import type { Behaviours } from '../behaviours.ts';
import {
  at,
  attempt,
  cursor,
  deadLetter,
  held,
  LANE,
  laneRow,
  NEIGHBOUR,
  NEIGHBOUR_LANE,
  OTHER_LANE,
  parked,
  rangeLetter,
  same,
  sameRows,
  SHARD,
  snapshot,
  START_MS,
  UID,
} from './world.ts';
import type { OpenedStores } from './world.ts';

export const cursors: Behaviours<OpenedStores> = {
  'keeps one cursor per lane and shard, the latest': async ({ ledger }) => {
    const rows = [
      laneRow(1),
      laneRow(2, { shard: 'second' }),
      laneRow(3, { lane: OTHER_LANE }),
      laneRow(4, { lane: NEIGHBOUR_LANE }),
    ];
    await ledger.commit({ lanes: rows });
    sameRows(await ledger.lanes(), rows);
    await ledger.commit({ lanes: [laneRow(9)] });
    sameRows(await ledger.lanes(), [laneRow(9), ...rows.slice(1)]);
  },

  'keeps a cursor that is set back, and one before any event': async ({ ledger }) => {
    await ledger.commit({ lanes: [laneRow(9)] });
    await ledger.commit({ lanes: [laneRow(0)] });
    sameRows(await ledger.lanes(), [laneRow(0)]);
  },

  'keeps the row of a lane on no shard beside those on shards, and forgets it with the lane': async ({ ledger }) => {
    const nowhere = { lane: LANE, shard: '', cursor: { log: '', position: '', timeMs: 0, idHash: '' } };
    const rows = [nowhere, laneRow(1), laneRow(2, { lane: OTHER_LANE })];
    await ledger.commit({ lanes: rows });
    await ledger.commit({ idle: [{ lane: LANE, shard: SHARD }] });
    sameRows(await ledger.lanes(), [nowhere, laneRow(2, { lane: OTHER_LANE })]);
    await ledger.commit({ dropLanes: [LANE] });
    sameRows(await ledger.lanes(), [laneRow(2, { lane: OTHER_LANE })]);
  },

  'keeps the log a cursor belongs to': async ({ ledger }) => {
    const row = { ...laneRow(1), cursor: { ...cursor(1), log: 'another log, ünï' } };
    await ledger.commit({ lanes: [row] });
    sameRows(await ledger.lanes(), [row]);
  },

  'removes the row of a lane that is idle, on that shard, and nothing else': async ({ ledger }) => {
    await ledger.commit({ lanes: [laneRow(1), laneRow(2, { shard: 'second' })], park: [parked(5)], attempts: [attempt(3)] });
    await ledger.commit({ idle: [{ lane: LANE, shard: SHARD }] });
    sameRows(await ledger.lanes(), [laneRow(2, { shard: 'second' })]);
    same(await ledger.handledAfter(LANE, SHARD, ''), [at(3), at(5)]);
  },

  'keeps one cursor per slot and shard, the latest': async ({ ledger }) => {
    const slots = [0, 1, 127].flatMap((slot) => [SHARD, 'second'].map((shard) => ({ slot, shard, cursor: cursor(slot) })));
    await ledger.commit({ slots });
    sameRows(await ledger.slots(), slots);
    const moved = { slot: 1, shard: SHARD, cursor: cursor(999) };
    await ledger.commit({ slots: [moved] });
    sameRows(
      await ledger.slots(),
      slots.map((row) => (row.slot === 1 && row.shard === SHARD ? moved : row)),
    );
  },
};

export const handled: Behaviours<OpenedStores> = {
  'tells what was settled by an attempt, parked, held or buried, in order and once': async ({ ledger }) => {
    await ledger.commit({
      attempts: [
        attempt(9),
        attempt(2, { outcome: 'dead', cause: 'http_410' }),
        attempt(4, { outcome: 'retry' }),
        attempt(4, { n: 2 }),
      ],
      park: [parked(3), held(10)],
      bury: [deadLetter(9), deadLetter(7)],
    });
    same(await ledger.handledAfter(LANE, SHARD, ''), [2, 3, 4, 7, 9, 10].map(at));
  },

  'tells what comes after the position given': async ({ ledger }) => {
    await ledger.commit({ attempts: [1, 2, 3].map((n) => attempt(n)), park: [parked(4)] });
    same(await ledger.handledAfter(LANE, SHARD, at(2)), [at(3), at(4)]);
    same(await ledger.handledAfter(LANE, SHARD, at(4)), []);
  },

  'leaves out what has only been tried': async ({ ledger }) => {
    await ledger.commit({ attempts: [attempt(1, { outcome: 'retry' }), attempt(1, { outcome: 'retry', n: 2 })] });
    same(await ledger.handledAfter(LANE, SHARD, ''), []);
  },

  'leaves out what is no longer parked or buried and was never settled': async ({ ledger }) => {
    await ledger.commit({ park: [parked(1)], bury: [deadLetter(2)] });
    await ledger.commit({ unpark: [parked(1)], unbury: [deadLetter(2).id] });
    same(await ledger.handledAfter(LANE, SHARD, ''), []);
  },

  'leaves out the position a range begins after, whose delivery may still be open': async ({ ledger }) => {
    await ledger.commit({ bury: [rangeLetter(5, 9)] });
    same(await ledger.handledAfter(LANE, SHARD, ''), []);
  },

  'keeps lanes and shards apart': async ({ ledger }) => {
    await ledger.commit({
      attempts: [
        attempt(1),
        attempt(2, { lane: OTHER_LANE }),
        attempt(3, { shard: 'second' }),
        attempt(4, { lane: NEIGHBOUR_LANE }),
      ],
    });
    same(await ledger.handledAfter(LANE, SHARD, ''), [at(1)]);
    same(await ledger.handledAfter(LANE, 'second', ''), [at(3)]);
    same(await ledger.handledAfter(OTHER_LANE, SHARD, ''), [at(2)]);
  },
};

export const openLanes: Behaviours<OpenedStores> = {
  'counts what is open per lane and shard, with the earliest due time': async ({ ledger }) => {
    await ledger.commit({
      park: [
        parked(1, { dueMs: START_MS + 500, size: 10 }),
        parked(2, { dueMs: START_MS + 100, size: 20 }),
        held(3, { size: 40 }),
        parked(4, { lane: OTHER_LANE }),
        held(5, { shard: 'second' }),
      ],
      lanes: [laneRow(1), laneRow(1, { lane: NEIGHBOUR_LANE })],
    });
    sameRows(await ledger.openLanes(), [
      { lane: LANE, shard: SHARD, parked: 2, parkedBytes: 30, held: 1, nextDueMs: START_MS + 100 },
      { lane: OTHER_LANE, shard: SHARD, parked: 1, parkedBytes: parked(4).size, held: 0, nextDueMs: parked(4).dueMs },
      { lane: LANE, shard: 'second', parked: 0, parkedBytes: 0, held: 1 },
    ]);
  },

  'forgets a lane when nothing of it is open any more': async ({ ledger }) => {
    await ledger.commit({ park: [parked(1), held(2)], bury: [deadLetter(3)] });
    await ledger.commit({ unpark: [parked(1)] });
    sameRows(await ledger.openLanes(), [{ lane: LANE, shard: SHARD, parked: 0, parkedBytes: 0, held: 1 }]);
    await ledger.commit({ unpark: [held(2)] });
    sameRows(await ledger.openLanes(), []);
  },

  'counts a row once, however often it is replaced': async ({ ledger }) => {
    for (const dueMs of [START_MS + 9, START_MS + 7, START_MS + 8])
      await ledger.commit({ park: [parked(1, { dueMs, size: 5 })] });
    sameRows(await ledger.openLanes(), [
      { lane: LANE, shard: SHARD, parked: 1, parkedBytes: 5, held: 0, nextDueMs: START_MS + 8 },
    ]);
  },
};

export const forgetting: Behaviours<OpenedStores> = {
  'forgets the rows and parked deliveries of a dropped lane, not its attempts and dead letters': async ({ ledger }) => {
    await ledger.commit({
      lanes: [laneRow(1), laneRow(2, { shard: 'second' }), laneRow(3, { lane: OTHER_LANE })],
      park: [parked(4), held(5), parked(6, { shard: 'second' }), parked(7, { lane: OTHER_LANE })],
      attempts: [attempt(8)],
      bury: [deadLetter(9, { holdsKey: 'k' })],
    });
    await ledger.commit({ dropLanes: [LANE] });
    sameRows(await ledger.lanes(), [laneRow(3, { lane: OTHER_LANE })]);
    assert.deepEqual(
      (await ledger.openLanes()).map(({ lane }) => lane),
      [OTHER_LANE],
    );
    same(await ledger.handledAfter(LANE, SHARD, ''), [at(8), at(9)]);
    same(await ledger.keyed(LANE, SHARD), [{ position: at(9), key: 'k', state: 'dead' }]);
    same(await ledger.attemptsOf(LANE, SHARD, at(8)), [attempt(8)]);
    same(await ledger.deadLetter(deadLetter(9).id), deadLetter(9, { holdsKey: 'k' }));
  },

  'forgets everything of a dropped subscription': async ({ ledger }) => {
    await ledger.commit({
      lanes: [laneRow(1), laneRow(2, { lane: OTHER_LANE }), laneRow(3, { shard: 'second' })],
      park: [parked(4), held(5, { lane: OTHER_LANE })],
      attempts: [attempt(6), attempt(7, { lane: OTHER_LANE })],
      bury: [deadLetter(8), deadLetter(9, { lane: OTHER_LANE })],
    });
    await ledger.commit({ dropSubscriptions: [UID] });
    sameRows([...(await ledger.lanes()), ...(await ledger.openLanes()), ...(await ledger.deadLetterCounts())], []);
    same(
      [await ledger.attempts({ subscription: UID, limit: 10 }), await ledger.deadLetters({ subscription: UID, limit: 10 })],
      [[], []],
    );
    same([await ledger.handledAfter(LANE, SHARD, ''), await ledger.handledAfter(OTHER_LANE, SHARD, '')], [[], []]);
    assert.equal(await ledger.deadLetter(deadLetter(8).id), undefined);
  },

  'forgets nothing of a subscription or lane whose name begins the same or looks like it': async ({ ledger }) => {
    const names = [NEIGHBOUR_LANE, 'subX1.0', 'SUB_1.0', 'sub_.0', `x${LANE}`];
    await ledger.commit({
      lanes: names.map((lane, i) => laneRow(i, { lane })),
      park: names.map((lane, i) => parked(i, { lane })),
      attempts: names.map((lane, i) => attempt(i, { lane })),
      bury: names.map((lane, i) => deadLetter(i, { lane })),
    });
    const before = await snapshot(ledger, names);
    await ledger.commit({
      dropLanes: [LANE, UID, NEIGHBOUR, 'sub%'],
      dropSubscriptions: [UID, 'sub', 'sub%', 'sub_1x', NEIGHBOUR_LANE],
    });
    same(await snapshot(ledger, names), before);
  },
};
