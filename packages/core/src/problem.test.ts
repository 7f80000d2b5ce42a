/** Every problem says what to do about it. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ADVICE } from './problem-advice.ts';
import { Problem, type ProblemCode, PROBLEMS } from './problem.ts';

/** What a line of a terminal holds twice. */
const CHARS_MAX = 160;

describe('a problem', () => {
  for (const [code, [, title]] of Object.entries(PROBLEMS))
    test(`${code} has one plain sentence of what to do`, () => {
      const advice = ADVICE[code as ProblemCode];
      assert.match(advice, /^[A-Z][^\n]*[^.\s]\.$/);
      assert.ok(advice.length <= CHARS_MAX, `${advice.length} characters`);
      assert.ok(!advice.includes(title), 'it says what to do, and not again what is wrong');
    });

  test('says what holds for its code where nothing better is known, and else that', () => {
    const code: ProblemCode = 'version_mismatch';
    assert.equal(new Problem(code, 'it has the version 3').toJSON()['advice'], ADVICE[code]);
    assert.equal(new Problem(code, 'it has the version 3', { advice: 'Take 3.' }).toJSON()['advice'], 'Take 3.');
  });
});
