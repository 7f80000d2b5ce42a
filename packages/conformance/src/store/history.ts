/** What is kept for people: attempts and dead letters. */
import assert from 'node:assert/strict';
import type { AttemptKey, AttemptRow, DeadLetter, Ledger } from '@millrace/gateway/ports/ledger';
import type { Behaviours } from '../behaviours.ts';
import {
  at,
  attempt,
  deadLetter,
  kept,
  LANE,
  NEIGHBOUR,
  NEIGHBOUR_LANE,
  OTHER_LANE,
  rangeLetter,
  same,
  sameRows,
  SHARD,
  START_MS,
  UID,
} from './world.ts';
import type { OpenedStores } from './world.ts';

/** More than any behaviour makes: a driver that repeats a page must fail, not go on for ever. */
const ROWS_MAX = 10_000;

/** All attempts of a subscription, paged as a management page does. */
async function pageAttempts(ledger: Ledger, subscription: string, limit: number): Promise<readonly AttemptRow[]> {
  const all: AttemptRow[] = [];
  for (let before: AttemptKey | undefined; ; before = all.at(-1)!) {
    const page = await ledger.attempts({ subscription, limit, ...(before && { before }) });
    assert.ok(page.length <= limit);
    all.push(...page);
    assert.ok(all.length < ROWS_MAX, 'paging gets on');
    if (page.length < limit) return all;
  }
}

async function pageDeadLetters(ledger: Ledger, subscription: string, limit: number): Promise<readonly DeadLetter[]> {
  const all: DeadLetter[] = [];
  for (;;) {
    const page = await ledger.deadLetters({ subscription, limit, ...(all.length > 0 && { after: all.at(-1)!.id }) });
    assert.ok(page.length <= limit);
    all.push(...page);
    assert.ok(all.length < ROWS_MAX, 'paging gets on');
    if (page.length < limit) return all;
  }
}

export const attempts: Behaviours<OpenedStores> = {
  'returns an attempt as it was recorded': async ({ ledger }) => {
    const rows = [
      attempt(1, { snippet: 'Größe: 😀 "quoted" \\ \n\t', eventId: 'id with spaces ü', durationMs: 0 }),
      attempt(2, { outcome: 'retry', cause: 'http_503', status: 503, n: 3, durationMs: 15_000 }),
      attempt(3, { outcome: 'dead', cause: 'timeout', status: 0, snippet: 'x'.repeat(1_024) }),
    ];
    await ledger.commit({ attempts: rows });
    for (const row of rows) same(await ledger.attemptsOf(LANE, SHARD, row.position), [row]);
    same(await ledger.attempts({ subscription: UID, limit: 10 }), rows.toReversed());
  },

  'records the attempt whatever bytes an endpoint answers with': async ({ ledger }) => {
    const hostile = attempt(1, { snippet: 'a\u0000b\ud800c\u001b[31m' });
    await ledger.commit({ attempts: [hostile, attempt(2)] });
    const [row] = await ledger.attemptsOf(LANE, SHARD, at(1));
    same({ ...row, snippet: '' }, { ...hostile, snippet: '' });
    same(await ledger.handledAfter(LANE, SHARD, ''), [at(1), at(2)]);
  },

  'returns the attempts of one delivery, the first one first': async ({ ledger }) => {
    const rows = [1, 2, 10, 11].map((n) => attempt(5, { n, startedMs: START_MS + n, outcome: n === 11 ? 'delivered' : 'retry' }));
    await ledger.commit({
      attempts: [...rows.toReversed(), attempt(6), attempt(5, { lane: OTHER_LANE }), attempt(5, { shard: 'second' })],
    });
    same(await ledger.attemptsOf(LANE, SHARD, at(5)), rows);
  },

  'returns the attempts of one delivery in their order, also when the clock was set back between': async ({ ledger }) => {
    const rows = [3_000, 1_000, 2_000].map((ms, i) => attempt(1, { n: i + 1, startedMs: START_MS + ms, outcome: 'retry' }));
    await ledger.commit({ attempts: rows });
    same(await ledger.attemptsOf(LANE, SHARD, at(1)), rows);
  },

  'counts an attempt once, however often it is recorded': async ({ ledger }) => {
    for (let i = 0; i < 3; i++) await ledger.commit({ attempts: [attempt(1), attempt(1)] });
    same(await ledger.attemptsOf(LANE, SHARD, at(1)), [attempt(1)]);
  },

  'pages the attempts of a subscription over all its lanes, newest first': async ({ ledger }) => {
    const rows = Array.from({ length: 40 }, (_, n) =>
      attempt(n, { lane: n % 2 ? LANE : OTHER_LANE, shard: n % 3 ? SHARD : 'second' }),
    );
    await ledger.commit({ attempts: [...rows, attempt(100, { lane: NEIGHBOUR_LANE })] });
    for (const limit of [1, 7, 40, 100]) same(await pageAttempts(ledger, UID, limit), rows.toReversed());
  },

  'repeats and leaves out none where many started in one millisecond': async ({ ledger }) => {
    const rows = Array.from({ length: 30 }, (_, i) => {
      const row = { lane: i % 2 ? LANE : OTHER_LANE, n: 1 + Math.floor(i / 10), startedMs: START_MS + Math.floor(i / 15) };
      return attempt(i % 5, { ...row, outcome: 'retry' });
    });
    await ledger.commit({ attempts: rows });
    for (const limit of [1, 4, 7]) {
      const paged = await pageAttempts(ledger, UID, limit);
      sameRows(paged, rows);
      assert.deepEqual(
        paged.map(({ startedMs }) => startedMs),
        rows.map(({ startedMs }) => startedMs).toReversed(),
      );
    }
  },

  'goes on from before an attempt that is gone, or never was': async ({ ledger }) => {
    await ledger.commit({ attempts: [10, 30, 50].map((n) => attempt(n)) });
    same(await ledger.attempts({ subscription: UID, before: attempt(40), limit: 10 }), [attempt(30), attempt(10)]);
  },

  'keeps what started at or after the time of pruning': async ({ ledger }) => {
    const rows = Array.from({ length: 10 }, (_, n) => attempt(n));
    await ledger.commit({ attempts: rows });
    await ledger.pruneAttempts(START_MS + 5);
    const left = await ledger.attempts({ subscription: UID, limit: 100 });
    same(left.slice(0, 5), rows.slice(5).toReversed());
    same(await ledger.attemptsOf(LANE, SHARD, at(5)), [rows[5]]);
  },

  'drops attempts that are days older than the time of pruning': async ({ ledger }) => {
    await ledger.commit({ attempts: [attempt(1), attempt(2, { lane: NEIGHBOUR_LANE })] });
    await ledger.pruneAttempts(START_MS + 60 * 86_400_000);
    same(
      [await ledger.attempts({ subscription: UID, limit: 10 }), await ledger.attempts({ subscription: NEIGHBOUR, limit: 10 })],
      [[], []],
    );
    same(await ledger.attemptsOf(LANE, SHARD, at(1)), []);
  },

  'keeps subscriptions apart whose names begin the same': async ({ ledger }) => {
    await ledger.commit({ attempts: [attempt(1), attempt(2, { lane: NEIGHBOUR_LANE }), attempt(3, { lane: 'sub.0' })] });
    for (const [subscription, row] of [
      [UID, attempt(1)],
      [NEIGHBOUR, attempt(2, { lane: NEIGHBOUR_LANE })],
    ] as const) {
      same(await ledger.attempts({ subscription, limit: 10 }), [row]);
    }
  },
};

export const deadLetters: Behaviours<OpenedStores> = {
  'returns a dead letter as it was buried': async ({ ledger }) => {
    const rows = [
      deadLetter(1),
      deadLetter(2, { detail: 'Größe 😀\n"x"', holdsKey: 'ké', kept: kept(Uint8Array.from({ length: 256 }, (_, i) => i)) }),
      deadLetter(3, { holdsKey: '', kept: kept(new Uint8Array()), attempts: 0 }),
      rangeLetter(4, 9),
      rangeLetter(0, 3, { position: '', range: { through: at(3), throughTimeMs: START_MS } }),
    ];
    await ledger.commit({ bury: rows });
    for (const row of rows) same(await ledger.deadLetter(row.id), row);
    sameRows(await ledger.deadLetters({ subscription: UID, limit: 10 }), rows);
  },

  'keeps the bytes of the largest event': async ({ ledger }) => {
    const row = deadLetter(1, { kept: kept(new Uint8Array(540_000).map((_, i) => i % 239)) });
    await ledger.commit({ bury: [row] });
    same(await ledger.deadLetter(row.id), row);
  },

  'pages the dead letters of a subscription over all its lanes, by id': async ({ ledger }) => {
    const rows = Array.from({ length: 25 }, (_, n) =>
      deadLetter(n, { id: `dl_${(n * 7) % 25}`, lane: n % 2 ? LANE : OTHER_LANE }),
    );
    await ledger.commit({ bury: [...rows, deadLetter(1, { id: 'dl_neighbour', lane: NEIGHBOUR_LANE })] });
    const byId = rows.toSorted((a, b) => (a.id < b.id ? -1 : 1));
    for (const limit of [1, 4, 25, 100]) same(await pageDeadLetters(ledger, UID, limit), byId);
  },

  'goes on after a dead letter that is gone meanwhile': async ({ ledger }) => {
    await ledger.commit({ bury: ['dl_a', 'dl_b', 'dl_c'].map((id, n) => deadLetter(n, { id })) });
    await ledger.commit({ unbury: ['dl_b'] });
    assert.deepEqual(
      (await ledger.deadLetters({ subscription: UID, after: 'dl_b', limit: 10 })).map(({ id }) => id),
      ['dl_c'],
    );
  },

  'replaces a dead letter, and what it had is gone': async ({ ledger }) => {
    await ledger.commit({ bury: [deadLetter(1, { holdsKey: 'k', kept: kept(Uint8Array.of(1)) })] });
    await ledger.commit({ bury: [deadLetter(1, { cause: 'expired' })] });
    same(await ledger.deadLetters({ subscription: UID, limit: 10 }), [deadLetter(1, { cause: 'expired' })]);
    same(await ledger.deadLetterCounts(), [{ subscription: UID, count: 1 }]);
  },

  'counts dead letters by subscription, where there are any': async ({ ledger }) => {
    await ledger.commit({
      bury: [deadLetter(1), deadLetter(2, { lane: OTHER_LANE }), deadLetter(3, { lane: NEIGHBOUR_LANE }), rangeLetter(4, 9)],
    });
    sameRows(await ledger.deadLetterCounts(), [
      { subscription: UID, count: 3 },
      { subscription: NEIGHBOUR, count: 1 },
    ]);
    await ledger.commit({ unbury: [deadLetter(3, { lane: NEIGHBOUR_LANE }).id, deadLetter(1).id] });
    sameRows(await ledger.deadLetterCounts(), [{ subscription: UID, count: 2 }]);
  },

  'removes dead letters by id': async ({ ledger }) => {
    await ledger.commit({ bury: [deadLetter(1), deadLetter(2)] });
    await ledger.commit({ unbury: [deadLetter(1).id, 'dl_none'] });
    assert.equal(await ledger.deadLetter(deadLetter(1).id), undefined);
    same(await ledger.deadLetters({ subscription: UID, limit: 10 }), [deadLetter(2)]);
  },
};
