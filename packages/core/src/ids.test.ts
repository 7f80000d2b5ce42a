import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seeded } from '../test/vectors.ts';
import { newId } from './ids.ts';

test('ids sort by time', () => {
  const random = seeded(2);
  const bytes = (count: number) => Uint8Array.from({ length: count }, () => Math.floor(random() * 256));
  const timesMs = Array.from({ length: 3000 }, () => Math.floor(random() * 2 ** (20 + random() * 28))).toSorted(
    (one, other) => one - other,
  );
  const ids = [...new Set(timesMs)].map((timeMs) => newId('evt', timeMs, bytes));
  assert.deepEqual(ids, ids.toSorted());
  assert.equal(new Set(ids).size, ids.length);
  for (const id of ids) assert.match(id, /^evt_[2-7a-z]{26}$/);
});

test('an id is the same for the same time and chance', () => {
  const zeros = (count: number) => new Uint8Array(count);
  assert.equal(newId('sub', 0, zeros), `sub_${'2'.repeat(26)}`);
  assert.equal(newId('sub', 1_700_000_000_000.9, zeros), newId('sub', 1_700_000_000_000, zeros));
});

test('a time that an id can not hold is refused', () => {
  for (const nowMs of [-1, Number.NaN, 2 ** 48, Number.POSITIVE_INFINITY])
    assert.throws(() => newId('a', nowMs, (count) => new Uint8Array(count)), RangeError);
});
