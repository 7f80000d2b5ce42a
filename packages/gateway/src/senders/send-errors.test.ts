/** What a failed connection is called. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sendErrorOf } from './send-errors.ts';

test('a code that objects have of themselves is one that nobody knows', () => {
  for (const code of ['constructor', '__proto__', 'toString', 'hasOwnProperty', 'valueOf']) {
    const error = Object.assign(new Error('x'), { code });
    assert.equal(sendErrorOf(error, { started: true, secure: false }), 'protocol', code);
    assert.equal(sendErrorOf(error, { started: false, secure: false }), 'unreachable', code);
    assert.equal(sendErrorOf(error, { started: false, secure: true }), 'tls', code);
  }
});
