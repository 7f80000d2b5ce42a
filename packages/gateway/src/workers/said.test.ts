/** Errors that cross from one thread to another. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Problem } from '@millrace/core/problem';
import { StartRefused } from '../refused.ts';
import { errorOf, said } from './said.ts';

const crossed = (error: unknown): Error => errorOf(structuredClone(said(error)));

test('what a person is told of an error is the same in another thread', () => {
  const problem = crossed(new Problem('log_full', 'no room', { advice: 'make some' }));
  assert.ok(problem instanceof Problem);
  assert.deepEqual([problem.code, problem.message, problem.advice], ['log_full', 'no room', 'make some']);
  const refused = crossed(new StartRefused('port 1 is taken', 'another one'));
  assert.ok(refused instanceof StartRefused);
  assert.deepEqual([refused.message, refused.advice], ['port 1 is taken', 'another one']);
});

test('where an error that nobody expected came from is told too', () => {
  assert.match(crossed(new TypeError('x is not y')).stack ?? '', /TypeError: x is not y\n {4}at .*said\.test/);
  assert.equal(crossed('a word').message, 'a word');
});
