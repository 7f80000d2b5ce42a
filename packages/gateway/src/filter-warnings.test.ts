/** What is allowed, and hardly ever meant. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { filterWarnings } from './filter-warnings.ts';

test('a field of the payload at the top of a filter, where attributes stand, is worth a warning', () => {
  const [warning, ...more] = filterWarnings({ amount: [{ numeric: ['>', 100] }], source: ['/shop'] });
  assert.match(warning ?? '', /attribute 'amount'.*under data/);
  assert.deepEqual(more, []);
});

test('an operator where a field stands is worth one, at any depth', () => {
  assert.match(
    filterWarnings({ data: { order: { amount: { numeric: ['>', 100] } } } })[0] ?? '',
    /'data\.order\.amount\.numeric'/,
  );
  assert.match(filterWarnings({ data: { numeric: ['>', 100] } })[0] ?? '', /stands in a list/);
});

test('what is as people write it is worth none', () => {
  const filter = {
    subject: ['a'],
    partitionkey: ['k'],
    data: { amount: [{ numeric: ['>', 1] }], $or: [{ a: [1] }, { b: [2] }] },
  };
  assert.deepEqual([...filterWarnings(filter), ...filterWarnings(undefined)], []);
});
