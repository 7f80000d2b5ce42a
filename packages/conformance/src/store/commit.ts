/** A commit as a whole: atomic, idempotent, in its order, as large as it may be. */
import assert from 'node:assert/strict';
import type { Commit } from '@millrace/gateway/ports/ledger';
import { gap } from '../behaviours.ts';
import type { Behaviours } from '../behaviours.ts';
import {
  at,
  attempt,
  cursor,
  deadLetter,
  held,
  kept,
  LANE,
  laneRow,
  NEIGHBOUR_LANE,
  OTHER_LANE,
  parked,
  same,
  sameRows,
  SHARD,
  snapshot,
  UID,
} from './world.ts';
import type { OpenedStores } from './world.ts';

/** Something of everything that adds. */
const everything: Commit = {
  attempts: [attempt(1), attempt(2, { outcome: 'retry', cause: 'timeout', status: 0 }), attempt(3, { lane: NEIGHBOUR_LANE })],
  park: [parked(2), held(4), parked(5, { lane: OTHER_LANE, key: 'k' })],
  bury: [deadLetter(6), deadLetter(7, { holdsKey: 'k', kept: kept(Uint8Array.of(1, 2)) })],
  lanes: [laneRow(1), laneRow(3, { lane: NEIGHBOUR_LANE })],
  slots: [{ slot: 5, shard: SHARD, cursor: cursor(9) }],
};

/** Something of everything that takes away from `everything`. */
const taking: Commit = {
  dropLanes: [OTHER_LANE],
  unpark: [parked(2)],
  unbury: [deadLetter(6).id],
  idle: [{ lane: LANE, shard: SHARD }],
};

export const commits: Behaviours<OpenedStores> = {
  'is empty at first': async ({ ledger }) => {
    sameRows(
      [...(await ledger.lanes()), ...(await ledger.slots()), ...(await ledger.openLanes()), ...(await ledger.deadLetterCounts())],
      [],
    );
    same(await ledger.due(LANE, SHARD, Number.MAX_SAFE_INTEGER, 10), { rows: [] });
    same(
      [await ledger.handledAfter(LANE, SHARD, ''), await ledger.keyed(LANE, SHARD), await ledger.attemptsOf(LANE, SHARD, at(1))],
      [[], [], []],
    );
    assert.equal(await ledger.parked(LANE, SHARD, at(1)), undefined);
    assert.equal(await ledger.deadLetter('dl_none'), undefined);
  },

  'takes a commit of nothing': async ({ ledger }) => {
    const before = await snapshot(ledger);
    await ledger.commit({});
    await ledger.commit({
      attempts: [],
      park: [],
      unpark: [],
      bury: [],
      unbury: [],
      lanes: [],
      idle: [],
      slots: [],
      dropLanes: [],
      dropSubscriptions: [],
    });
    same(await snapshot(ledger), before);
  },

  'takes removals of what is not there': async ({ ledger }) => {
    await ledger.commit({ ...taking, dropSubscriptions: ['nobody'] });
    sameRows(await ledger.lanes(), []);
  },

  'gives the same ledger when a commit is repeated': async ({ ledger }) => {
    for (const commit of [everything, taking, { ...everything, dropSubscriptions: [UID] }]) {
      await ledger.commit(commit);
      const once = await snapshot(ledger);
      await ledger.commit(commit);
      same(await snapshot(ledger), once);
    }
  },

  'applies drops and removals before what is added, within one commit': async ({ ledger }) => {
    await ledger.commit(everything);
    await ledger.commit({
      ...everything,
      unpark: [parked(2), held(4)],
      unbury: [deadLetter(6).id],
      idle: [{ lane: LANE, shard: SHARD }],
      dropLanes: [OTHER_LANE],
      dropSubscriptions: [UID],
    });
    const all = await snapshot(ledger);
    await ledger.commit(everything);
    same(all, await snapshot(ledger));
  },

  'drops what was there before and keeps what comes with the drop': async ({ ledger }) => {
    await ledger.commit(everything);
    await ledger.commit({
      dropSubscriptions: [UID],
      lanes: [laneRow(50)],
      park: [parked(51)],
      attempts: [attempt(52)],
      bury: [deadLetter(53)],
    });
    same(await ledger.handledAfter(LANE, SHARD, ''), [at(51), at(52), at(53)]);
    sameRows(await ledger.lanes(), [laneRow(50), laneRow(3, { lane: NEIGHBOUR_LANE })]);
  },

  'shows all of a commit or nothing to who reads meanwhile': async ({ ledger }) => {
    const lanes = Array.from({ length: 500 }, (_, i) => laneRow(i, { lane: `uid${i}.0` }));
    const committed = ledger.commit({ lanes });
    const seen = await Promise.all(Array.from({ length: 20 }, () => ledger.lanes()));
    await committed;
    assert.ok(seen.every((rows) => rows.length === 0 || rows.length === 500));
    assert.equal((await ledger.lanes()).length, 500);
  },

  'applies commits that are under way together, each whole': async ({ ledger }) => {
    await Promise.all(
      Array.from({ length: 50 }, (_, i) => ledger.commit({ lanes: [laneRow(i, { lane: `uid${i}.0` })], park: [parked(i)] })),
    );
    assert.equal((await ledger.lanes()).length, 50);
    assert.equal((await ledger.openLanes())[0]?.parked, 50);
  },

  'lets the later of two commits count': async ({ ledger }) => {
    for (let i = 1; i <= 20; i++) await ledger.commit({ lanes: [laneRow(i)] });
    sameRows(await ledger.lanes(), [laneRow(20)]);
  },

  'takes 8,192 rows in one commit': async ({ ledger }) => {
    const rows = Array.from({ length: 2_048 }, (_, i) => i + 1);
    const lanes = rows.map((n) => laneRow(n, { lane: `uid${n}.0` }));
    await ledger.commit({
      attempts: rows.map((n) => attempt(n)),
      park: rows.map((n) => parked(10_000 + n)),
      bury: rows.map((n) => deadLetter(20_000 + n)),
      lanes,
    });
    assert.equal((await ledger.handledAfter(LANE, SHARD, '')).length, 3 * 2_048);
    assert.equal((await ledger.lanes()).length, 2_048);
  },

  'takes 32 MB in one commit': async ({ ledger }) => {
    const bytes = new Uint8Array(540_000).map((_, i) => i % 253);
    const rows = Array.from({ length: 60 }, (_, i) => parked(i, { kept: kept(bytes) }));
    await ledger.commit({ park: rows });
    same(await ledger.parked(LANE, SHARD, at(59)), rows[59]);
  },

  'keeps all it has acknowledged when it is opened again': async ({ ledger, reopen }, context) => {
    if (reopen === undefined) return context.skip(gap('these stores forget when they are closed'));
    await ledger.commit(everything);
    const before = await snapshot(ledger);
    const { ledger: again } = await reopen();
    same(await snapshot(again), before);
    await again.commit(taking);
    sameRows(await again.lanes(), [laneRow(3, { lane: NEIGHBOUR_LANE })]);
  },

  'shows a commit to every node once it is answered': async ({ ledger, peer }, context) => {
    if (peer === undefined) return context.skip(gap('these stores belong to one node'));
    const other = (await peer()).ledger;
    await ledger.commit(everything);
    same(await snapshot(other), await snapshot(ledger));
  },
};
