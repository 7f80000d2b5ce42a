/** What goes to the ledger of a node whose slots come and go. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMemoryLedger } from '@millrace/memory/ledger';
import { Problem } from '@millrace/core/problem';
import { slotOf } from '../lanes/subscriber.ts';
import { HIGH_WATER, highWaterOf } from '../lanes/trust.ts';
import type { Commit, Cursor, DeadLetter, LaneRow } from '../ports/ledger.ts';
import type { Fence } from '../ports/leases.ts';
import { createFencedLedger } from './fenced-ledger.ts';

/** Two subscriptions of different slots. */
const [A, B] = ['aaaaaaaaaaaaaaaaaaaaaaaaaa', 'bbbbbbbbbbbbbbbbbbbbbbbbbb'] as const;
const cursor: Cursor = { log: 'l', position: '1', timeMs: 1, idHash: '' };
const row = (uid: string): LaneRow => ({ lane: `${uid}.p0`, shard: 's', cursor });
const fence = (uid: string, token: string): [number, Fence] => [slotOf(uid), { slot: slotOf(uid), epoch: 1, token }];

function made() {
  const ledger = createMemoryLedger();
  const held = new Map<number, Fence>([fence(A, 'a1'), fence(B, 'b1')]);
  const written: { readonly commit: Commit; readonly fences: readonly Fence[] }[] = [];
  const script: (() => void)[] = [];
  const fenced = createFencedLedger({
    ledger,
    held,
    leases: {
      async commit(commit, fences) {
        script.shift()?.();
        written.push({ commit, fences });
      },
    },
    renew: async () => undefined,
  });
  const lanes = (): string[] => written.flatMap(({ commit }) => commit.lanes?.map(({ lane }) => lane) ?? []);
  return { ledger, held, written, script, fenced, lanes };
}

test('a commit names the fences of the slots it is about, and leaves out what is about others', async () => {
  const { held, fenced, written, lanes } = made();
  held.delete(slotOf(B));
  await fenced.commit({ lanes: [row(A), row(B)], dropSubscriptions: [B] });
  assert.deepEqual(lanes(), [`${A}.p0`]);
  assert.deepEqual(written[0]?.fences, [held.get(slotOf(A))]);
  assert.deepEqual(written[0]?.commit.dropSubscriptions, []);
});

test('a commit that is repeated after its slot was another node’s says nothing about it, though the slot is back', async () => {
  const { held, fenced, script, lanes } = made();
  script.push(() => {
    throw new Problem('ledger_unavailable', 'not now');
  });
  const commit: Commit = { lanes: [row(A), row(B)] };
  await assert.rejects(fenced.commit(commit), { code: 'ledger_unavailable' });
  held.set(...fence(A, 'a2'));
  await fenced.commit(commit);
  assert.deepEqual(lanes(), [`${B}.p0`]);
  await fenced.commit({ lanes: [row(A)] });
  assert.deepEqual(lanes(), [`${B}.p0`, `${A}.p0`]);
});

test('a slot that is lost while a commit waits is left out, and the rest is written', async () => {
  const { held, fenced, script, lanes } = made();
  script.push(() => {
    held.delete(slotOf(A));
    throw new Problem('stale_epoch', 'the slot is at another epoch');
  });
  await fenced.commit({ lanes: [row(A), row(B)] });
  assert.deepEqual(lanes(), [`${B}.p0`]);
});

test('a dead letter is removed under the fence of its slot, and not where that was lost while it was looked up', async () => {
  const { ledger, held, fenced, written } = made();
  const letter = (uid: string): DeadLetter => ({
    id: `dl_${uid}`,
    lane: `${uid}.p0`,
    shard: 's',
    position: '1',
    cause: 'http_500',
    detail: '',
    attempts: 1,
    eventId: 'e',
    topic: 't',
    timeMs: 1,
    diedMs: 1,
  });
  await ledger.commit({ bury: [letter(A), letter(B)] });
  const both = fenced.commit({ unbury: [`dl_${A}`, `dl_${B}`], lanes: [row(A)] });
  held.delete(slotOf(A));
  await both;
  assert.deepEqual([written[0]?.commit.unbury, written[0]?.commit.lanes], [[`dl_${B}`], []]);
  assert.deepEqual(written[0]?.fences, [held.get(slotOf(B))]);
});

test('for slots that are taken it is noted once it is known what was written of them, and again after they were lost', async () => {
  const { fenced, written } = made();
  await fenced.commit({ slots: [{ slot: HIGH_WATER, shard: 's', cursor }], lanes: [row(A)] });
  fenced.begin([slotOf(A)]);
  await fenced.commit({ lanes: [row(A)] });
  fenced.forget([slotOf(A)]);
  await fenced.commit({ lanes: [row(A)] });
  fenced.begin([slotOf(A)]);
  await fenced.commit({ lanes: [row(A)] });
  const water = highWaterOf(slotOf(A));
  assert.deepEqual(
    written.map(({ commit }) => commit.slots?.map(({ slot }) => slot)),
    [[], [water], [], [water]],
  );
});

test('how far a shard was read is noted for each slot that something is written about', async () => {
  const { fenced, written } = made();
  fenced.begin([slotOf(A), slotOf(B)]);
  await fenced.commit({ slots: [{ slot: HIGH_WATER, shard: 's', cursor }], lanes: [row(A)] });
  await fenced.commit({ lanes: [row(B)] });
  await fenced.commit({ lanes: [row(B)] });
  assert.deepEqual(
    written.map(({ commit }) => commit.slots?.map(({ slot }) => slot)),
    [[highWaterOf(slotOf(A))], [highWaterOf(slotOf(B))], []],
  );
});
