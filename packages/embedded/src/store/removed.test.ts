import assert from 'node:assert/strict';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { decodeMarks, encodeMarks } from './marks.ts';
import { openRemoved } from './removed.ts';
import { STATE_SCHEMA } from './schema.ts';
import { extentOf } from './shelf.ts';

function removedIn(db = new DatabaseSync(':memory:')) {
  db.exec(STATE_SCHEMA);
  const removed = openRemoved({ db });
  return { removed, add: (topic: number, offsets: readonly number[]) => removed.add({ topic, ...removalOf(offsets) }) };
}

/** Event n was appended at the time 10 n. */
function removalOf(offsets: readonly number[]) {
  const marks = { offsets, times: offsets.map((offset) => offset * 10) };
  return { extent: extentOf(marks)!, marks: encodeMarks(marks) };
}

test('marks come back as they were, small and large differences alike', () => {
  const marks = {
    offsets: [1, 2, 3, 200, 70_000, 1_000_070_000, 2 ** 48],
    times: [0, 0, 5, 1_790_000_000_000, 1_790_000_000_000, 1_790_000_000_127, 1_990_000_000_000],
  };
  assert.deepEqual(decodeMarks(encodeMarks(marks)), marks);
  assert.deepEqual(decodeMarks(new Uint8Array()), { offsets: [], times: [] });
  assert.throws(() => decodeMarks(Uint8Array.of(1, 200)), RangeError);
});

test('a minute of events costs three bytes each', () => {
  const offsets = Array.from({ length: 1_000 }, (_, i) => 5_000_000 + i * 3);
  assert.ok(encodeMarks({ offsets, times: offsets.map((offset) => 1_790_000_000_000 + offset * 20) }).length < 3_100);
});

test('every part of what was removed is reported exactly', () => {
  const { removed, add } = removedIn();
  const gone = new Map([[1, [2, 4, 6, 8, 20]], [2, [3, 9]]]); // prettier-ignore
  for (const [topic, offsets] of gone) add(topic, offsets);
  for (const wanted of [undefined, new Set([1]), new Set([2]), new Set([1, 2]), new Set([3])]) {
    for (let after = 0; after < 22; after++) {
      for (let through = after; through < 22; through++) {
        const inside = [...gone]
          .flatMap(([topic, offsets]) => (wanted?.has(topic) === false ? [] : offsets))
          .filter((offset) => offset > after && offset <= through);
        const loss = removed.within(after, through, wanted);
        assert.deepEqual(
          loss && [loss.records, loss.first, loss.last, loss.firstMs, loss.lastMs, loss.exact],
          inside.length === 0 ? undefined : expectedOf(inside),
        );
      }
    }
  }
});

function expectedOf(offsets: readonly number[]) {
  const [first, last] = [Math.min(...offsets), Math.max(...offsets)];
  return [offsets.length, first, last, first * 10, last * 10, true];
}

test('the last one gone before a time is found inside a removal', () => {
  const { removed, add } = removedIn();
  add(1, [2, 4, 6]);
  add(2, [10]);
  assert.deepEqual(
    [15, 21, 40, 41, 61, 101].map((timeMs) => removed.lastBefore(timeMs)),
    [0, 2, 2, 4, 6, 10],
  );
});

test('what is folded keeps its ends and count; a part of it is reported as perhaps more, never as nothing', () => {
  const { removed, add } = removedIn();
  for (let i = 0; i < 10; i++) add(1, [i * 10 + 1, i * 10 + 5]);
  add(2, [3]);
  removed.fold({ bytesMax: 40, rowsMax: 4 });
  assert.deepEqual(pick(removed.within(0, 200, new Set([1]))), [20, 1, 95, true]);
  assert.deepEqual(pick(removed.within(90, 200, new Set([1]))), [2, 91, 95, true]);
  const part = removed.within(20, 30, new Set([1]));
  assert.deepEqual([part?.last, part?.exact], [30, false]);
  assert.deepEqual(pick(removed.within(0, 5, new Set([2]))), [1, 3, 3, true]);
  removed.fold({ bytesMax: 0, rowsMax: 0 });
  assert.deepEqual(pick(removed.within(0, 200, undefined)), [21, 1, 95, true]);
});

function pick(loss: ReturnType<ReturnType<typeof openRemoved>['within']>) {
  return loss && [loss.records, loss.first, loss.last, loss.exact];
}
