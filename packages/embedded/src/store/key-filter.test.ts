import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createKeyFilter, openKeyFilter } from './key-filter.ts';

test('a filter never denies a key it was given, and seldom claims another', () => {
  const keys = Array.from({ length: 5_000 }, (_, i) => `3\0https://shop.example/orders|${i}`);
  const filter = createKeyFilter(keys.length);
  for (const key of keys) filter.add(key);
  const again = openKeyFilter(filter.bits.slice());
  assert.ok(keys.every((key) => again.mayHave(key)));
  const claimed = keys.filter((key) => again.mayHave(`${key}x`)).length;
  assert.ok(claimed < 25, `${claimed} of 5,000 claimed wrongly`);
});

test('a filter for no keys has none', () => {
  assert.equal(createKeyFilter(0).mayHave('a'), false);
});
