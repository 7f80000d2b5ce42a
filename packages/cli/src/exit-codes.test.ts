/** Exit codes: what scripts rely on. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { PROBLEMS } from '@millrace/core/problem';
import { EXIT, EXIT_TEXTS, exitOf } from './exit-codes.ts';

describe('exit codes', () => {
  test('stay what they are', () => {
    assert.deepEqual(Object.values(EXIT), [0, 1, 2, 3, 4, 5, 6, 7, 8, 130]);
    assert.deepEqual(
      EXIT_TEXTS.map(([code]) => code),
      Object.values(EXIT),
    );
  });

  test('say of a problem whose turn it is', () => {
    for (const [code, exit] of [
      ['unauthorized', EXIT.auth],
      ['forbidden', EXIT.auth],
      ['not_found', EXIT.notFound],
      ['unknown_topic', EXIT.notFound],
      ['invalid_filter', EXIT.invalid],
      ['payload_too_large', EXIT.invalid],
      ['not_redrivable', EXIT.invalid],
      ['already_exists', EXIT.conflict],
      ['version_mismatch', EXIT.conflict],
      ['overloaded', EXIT.network],
      ['too_many_requests', EXIT.network],
      ['log_full', EXIT.network],
      ['internal_error', EXIT.unexpected],
    ] as const)
      assert.equal(exitOf(PROBLEMS[code][0], code), exit, code);
  });

  test('of no problem are success or a wrong command line', () => {
    for (const [code, [status]] of Object.entries(PROBLEMS)) assert.ok(![0, 2].includes(exitOf(status, code)), code);
  });
});
