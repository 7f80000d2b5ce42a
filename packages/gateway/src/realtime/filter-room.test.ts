import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compileFilter } from '@millrace/core/filter';
import { createFilterRoom, SUB_FILTER } from './filter-room.ts';

const filterOf = (...values: readonly string[]) => compileFilter({ $or: values.map((value) => ({ subject: [value] })) });

test('filters of subs share a room, of which no app has more than a quarter; equal ones of an app are one', () => {
  const room = createFilterRoom({ filterTerms: 16 });
  const first = room.enter('noisy', filterOf('a', 'b'));
  assert.equal(room.enter('noisy', filterOf('b', 'a')).filter, first.filter);
  const second = room.enter('noisy', filterOf('c', 'd'));
  assert.throws(() => room.enter('noisy', filterOf('e', 'f')), { code: 'too_many_requests' });
  room.enter('quiet', filterOf('e', 'f'));
  second.leave();
  second.leave();
  room.enter('noisy', filterOf('e', 'f'));
  first.leave();
  assert.throws(() => room.enter('noisy', filterOf('g', 'h')), { code: 'too_many_requests' }, 'another one still has it');
});

test('a filter of a sub makes few combinations', () => {
  const fork = Array.from({ length: 11 }, (_, n) => ({ subject: [`${n}`] }));
  const square = { $or: fork, data: { $or: fork } };
  assert.equal(compileFilter(square).terms, 242);
  assert.throws(() => compileFilter(square, SUB_FILTER), { code: 'invalid_filter' });
});
