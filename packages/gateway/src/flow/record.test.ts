/** The recorder: what happened becomes durable in order, together, and for certain. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Problem } from '@millrace/core/problem';
import { createMemoryLedger } from '@millrace/memory/ledger';
import { createHandClock, settle } from '../../test/clock.ts';
import { LIMITS, type Limits } from '../limits.ts';
import type { AttemptRow, Commit, DeadLetter, LaneRow, Ledger, ParkedRow, SlotRow } from '../ports/ledger.ts';
import { createRecorder } from './record.ts';

const at = (position: string, lane = 'sub1.p0') => ({ lane, shard: 'a', position });
const parked = (position: string, dueMs = 1, lane = 'sub1.p0'): ParkedRow => ({
  ...at(position, lane),
  state: 'parked',
  dueMs,
  attempts: 1,
  attemptsBefore: 0,
  cause: 'http_500',
  size: 10,
  timeMs: 0,
  idHash: 'x',
});
const attempt = (position: string, lane = 'sub1.p0'): AttemptRow => ({
  ...at(position, lane),
  n: 1,
  startedMs: 1,
  durationMs: 1,
  outcome: 'delivered',
  cause: '',
  status: 200,
  snippet: '',
  eventId: position,
  topic: 't',
});
const letter = (id: string, position = '1', lane = 'sub1.p0'): DeadLetter => ({
  ...at(position, lane),
  id,
  cause: 'http_400',
  detail: '',
  attempts: 1,
  eventId: 'e',
  topic: 't',
  timeMs: 0,
  diedMs: 0,
});
const cursor = (position: string) => ({ log: 'l', position, timeMs: 0, idHash: '' });
const lane = (position: string, name = 'sub1.p0'): LaneRow => ({ lane: name, shard: 'a', cursor: cursor(position) });

/** A memory ledger that keeps what was committed, and fails or waits as long as the test says. */
function made({ limits = {}, highWater = () => [] }: { limits?: Partial<Limits>; highWater?: () => readonly SlotRow[] } = {}) {
  const clock = createHandClock();
  const memory = createMemoryLedger();
  const commits: Commit[] = [];
  const trouble: (string | undefined)[] = [];
  const gate = { wait: Promise.resolve(), fail: undefined as Error | undefined, afterwards: undefined as Error | undefined };
  let rooms = 0;
  const ledger: Ledger = {
    ...memory,
    async commit(commit) {
      commits.push(commit);
      await gate.wait;
      if (gate.fail !== undefined) throw gate.fail;
      await memory.commit(commit);
      if (gate.afterwards !== undefined) throw gate.afterwards;
    },
  };
  const recorder = createRecorder({
    ledger,
    clock,
    limits: { ...LIMITS, ...limits },
    onTrouble: (code) => trouble.push(code),
    onRoom: () => rooms++,
    highWater,
  });
  return { recorder, clock, ledger, commits, trouble, gate, rooms: () => rooms };
}

/** Shuts the gate; opens when called. */
function shut(gate: { wait: Promise<void> }): () => void {
  const { promise, resolve } = Promise.withResolvers<void>();
  gate.wait = promise;
  return resolve;
}

test('what is added in one turn is one commit, and it is durable no sooner than that has held', async () => {
  const { recorder, commits, gate } = made();
  const open = shut(gate);
  const durable: string[] = [];
  recorder.add({ attempt: attempt('1') }, () => durable.push('1'));
  recorder.add({ attempt: attempt('2'), park: parked('2') }, () => durable.push('2'));
  assert.equal(commits.length, 0, 'never in the stack of who adds');
  await settle();
  assert.equal(commits.length, 1);
  assert.deepEqual(durable, []);
  assert.ok(!recorder.isFull);
  open();
  await settle();
  assert.deepEqual(durable, ['1', '2']);
});

test('while one commit is under way the next fills up, and they follow one another', async () => {
  const { recorder, commits, gate } = made();
  const open = shut(gate);
  const durable: string[] = [];
  for (const position of ['1', '2', '3']) {
    recorder.add({ attempt: attempt(position) }, () => durable.push(position));
    await settle();
  }
  assert.equal(commits.length, 1);
  open();
  await settle();
  assert.deepEqual(
    commits.map(({ attempts }) => attempts?.map(({ position }) => position)),
    [['1'], ['2', '3']],
  );
  assert.deepEqual(durable, ['1', '2', '3']);
});

test('a full commit is closed and the rest goes with the next, in order', async () => {
  const { recorder, commits } = made({ limits: { commitRows: 2 } });
  for (const position of ['1', '2', '3', '4', '5']) recorder.add({ attempt: attempt(position) });
  await recorder.settled();
  assert.deepEqual(
    commits.map(({ attempts }) => attempts?.length),
    [2, 2, 1],
  );
});

test('of several changes to one row in one commit the last one counts', async () => {
  const { recorder, ledger, commits } = made();
  recorder.add({ park: parked('1', 5) });
  recorder.add({ unpark: at('1') });
  recorder.add({ unpark: at('2') });
  recorder.add({ park: parked('2', 5) });
  recorder.add({ park: parked('2', 9) });
  recorder.add({ lane: lane('1') });
  recorder.add({ lane: lane('2') });
  recorder.add({ bury: letter('dl_1') });
  recorder.add({ unbury: 'dl_1' });
  recorder.add({ idle: { lane: 'sub2.p0', shard: 'a' } });
  recorder.add({ lane: lane('7', 'sub2.p0') });
  await recorder.settled();
  assert.equal(commits.length, 1);
  assert.equal(await ledger.parked('sub1.p0', 'a', '1'), undefined);
  assert.equal((await ledger.parked('sub1.p0', 'a', '2'))?.dueMs, 9);
  assert.deepEqual((await ledger.lanes()).map((row) => row.cursor.position).toSorted(), ['2', '7']);
  assert.equal(await ledger.deadLetter('dl_1'), undefined);
});

test('a commit that fails is repeated unchanged until it holds, and later ones wait', async () => {
  const { recorder, clock, commits, gate, trouble, ledger } = made();
  gate.fail = new Problem('ledger_full', 'no space');
  const durable: string[] = [];
  recorder.add({ attempt: attempt('1') }, () => durable.push('1'));
  await settle();
  recorder.add({ attempt: attempt('2') }, () => durable.push('2'));
  await clock.advance(20_000);
  assert.deepEqual(durable, []);
  assert.ok(commits.length > 5 && commits.length < 20, `${commits.length} tries: it neither gives up nor storms`);
  assert.deepEqual(new Set(commits), new Set([commits[0]]));
  assert.deepEqual(new Set(trouble), new Set(['ledger_full']));
  gate.fail = undefined;
  await clock.advance(5_000);
  assert.deepEqual(durable, ['1', '2']);
  assert.equal(trouble.at(-1), undefined);
  assert.equal((await ledger.attempts({ subscription: 'sub1', limit: 10 })).length, 2);
});

test('a commit that held though its answer was lost is made again and leaves the same', async () => {
  const { recorder, clock, gate, ledger, commits } = made();
  gate.afterwards = new Error('connection lost');
  recorder.add({ attempt: attempt('1'), park: parked('2'), unpark: at('3'), bury: letter('dl_1') });
  await settle();
  gate.afterwards = undefined;
  await clock.advance(50);
  assert.equal(commits.length, 2);
  assert.equal((await ledger.attemptsOf('sub1.p0', 'a', '1')).length, 1);
  assert.deepEqual(await ledger.deadLetterCounts(), [{ subscription: 'sub1', count: 1 }]);
});

test('settled waits for all that was added before, at once where there is nothing', async () => {
  const { recorder, gate } = made({ limits: { commitRows: 1 } });
  await recorder.settled();
  const open = shut(gate);
  const durable: string[] = [];
  recorder.add({ attempt: attempt('1') }, () => durable.push('1'));
  await settle();
  const first = recorder.settled().then(() => [...durable]);
  recorder.add({ attempt: attempt('2') }, () => durable.push('2'));
  const second = recorder.settled().then(() => [...durable]);
  open();
  assert.deepEqual(await first, ['1']);
  assert.deepEqual(await second, ['1', '2']);
});

test('dropping a subscription takes back what was added for it and was not durable yet, also from later commits', async () => {
  const { recorder, ledger, gate } = made({ limits: { commitRows: 3 } });
  const open = shut(gate);
  recorder.add({ attempt: attempt('0', 'sub1.p0') });
  await settle();
  for (const name of ['sub1.p0', 'sub1.run_1', 'sub10.p0']) {
    recorder.add({
      attempt: attempt('1', name),
      park: parked('2', 1, name),
      bury: letter(`dl_${name}`, '3', name),
      lane: lane('4', name),
    });
  }
  recorder.add({ dropSubscription: 'sub1' });
  open();
  await recorder.settled();
  assert.deepEqual(
    (await ledger.lanes()).map((row) => row.lane),
    ['sub10.p0'],
  );
  assert.deepEqual(
    (await ledger.openLanes()).map((row) => row.lane),
    ['sub10.p0'],
  );
  assert.deepEqual(await ledger.deadLetterCounts(), [{ subscription: 'sub10', count: 1 }]);
  assert.deepEqual(await ledger.attempts({ subscription: 'sub1', limit: 10 }), []);
});

test('dropping a lane forgets its rows and parked deliveries, but not what happened', async () => {
  const { recorder, ledger } = made();
  recorder.add({ attempt: attempt('1'), park: parked('2'), lane: lane('2'), bury: letter('dl_1', '3') });
  recorder.add({ dropLane: 'sub1.p0' });
  await recorder.settled();
  assert.deepEqual([await ledger.lanes(), await ledger.openLanes()], [[], []]);
  assert.equal((await ledger.attempts({ subscription: 'sub1', limit: 10 })).length, 1);
  assert.ok(await ledger.deadLetter('dl_1'));
});

test('how far the shards were read goes with every commit', async () => {
  let position = 0;
  const { recorder, ledger } = made({ highWater: () => [{ slot: 128, shard: 'a', cursor: cursor(String(++position)) }] });
  recorder.add({ attempt: attempt('1') });
  await recorder.settled();
  recorder.add({ attempt: attempt('2') });
  await recorder.settled();
  assert.deepEqual(
    (await ledger.slots()).map((row) => [row.slot, row.cursor.position]),
    [[128, '2']],
  );
});

test('those who wait for room are told once it is there again', async () => {
  const { recorder, gate, rooms } = made({ limits: { unrecorded: 2 } });
  const open = shut(gate);
  recorder.add({ attempt: attempt('1') });
  recorder.add({ attempt: attempt('2') });
  await settle();
  assert.equal(rooms(), 0);
  open();
  await settle();
  assert.equal(rooms(), 1);
});

test('abandoned, nothing is committed or called durable any more', async () => {
  const { recorder, gate, commits, clock } = made();
  gate.fail = new Error('gone');
  let durable = 0;
  recorder.add({ attempt: attempt('1') }, () => durable++);
  await settle();
  recorder.abandon();
  gate.fail = undefined;
  recorder.add({ attempt: attempt('2') }, () => durable++);
  await clock.advance(60_000);
  assert.equal(commits.length, 1);
  assert.equal(durable, 0);
});

test('bytes of events count too: a commit is closed by them, and past the bound the recorder is full until they are durable', async () => {
  const { recorder, gate, commits } = made({ limits: { commitBytes: 1_000, unrecordedBytes: 2_000 } });
  const open = shut(gate);
  const kept = { environment: 'default', app: 'shop', bytes: new Uint8Array(600) };
  for (const position of ['1', '2', '3']) recorder.add({ park: { ...parked(position), kept } });
  assert.ok(!recorder.isFull);
  recorder.add({ bury: { ...letter('dl_1'), kept } });
  assert.ok(recorder.isFull);
  open();
  await settle();
  assert.ok(!recorder.isFull);
  assert.deepEqual(
    commits.map(({ park = [], bury = [] }) => park.length + bury.length),
    [2, 2],
  );
});

test('of slots that were lost nothing is written that is not on its way, their own rows as little as those of their lanes', async () => {
  const { recorder, commits, gate } = made();
  const opened = Promise.withResolvers<void>();
  gate.wait = opened.promise;
  recorder.add({ attempt: attempt('1') });
  await settle();
  for (const name of ['sub1.p0', 'sub2.p0']) recorder.add({ lane: lane('2', name) });
  for (const slot of [1, 2]) recorder.add({ slot: { slot, shard: 'a', cursor: cursor('2') } });
  recorder.forget(new Set([1]), (uid) => uid === 'sub1');
  opened.resolve();
  await recorder.settled();
  assert.equal(commits[0]?.attempts?.length, 1);
  assert.deepEqual([commits[1]?.lanes?.map((row) => row.lane), commits[1]?.slots?.map(({ slot }) => slot)], [['sub2.p0'], [2]]);
});
