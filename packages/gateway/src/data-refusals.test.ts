/** What a person reads where the data directory can not be used. Errors are those that Node and the embedded store give. */
import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { describe, test } from 'node:test';
import { Problem } from '@millrace/core/problem';
import { explained } from './data-refusals.ts';
import { StartRefused } from './start.ts';

function said(error: unknown): readonly [string, string | undefined] {
  const one = explained(error, '/data');
  assert.ok(one instanceof Problem || one instanceof StartRefused, String(one));
  return [one.message, one.advice];
}

describe('a data directory that can not be used', () => {
  const cases: Record<string, [Error, RegExp, RegExp]> = {
    'on a full disk, says SQLite': [
      new Problem('log_full', 'There is no space left in /data: database or disk is full'),
      /^there is no space left for \/data \(database or disk is full\)$/,
      /^Make room .*--data/,
    ],
    'on a full disk, says the system': [
      Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC', syscall: 'write' }),
      /^there is no space left for \/data \(ENOSPC/,
      /^Make room/,
    ],
    'mounted read-only': [
      new Problem('log_unavailable', "/data can not be used now: EROFS: read-only file system, mkdir '/data'"),
      /^\/data is on a file system that can only be read \(EROFS: read-only/,
      /^Mount it for writing/,
    ],
    'of another user': [
      new Problem('log_unavailable', "/data can not be used now: EACCES: permission denied, mkdir '/data'"),
      /may not read and write \/data/,
      /chown.*--data/,
    ],
    'whose database is of another user': [
      new Problem('ledger_unavailable', '/data can not be used now: attempt to write a readonly database'),
      /may not read and write \/data/,
      /chown/,
    ],
  };
  for (const [what, [error, message, advice]] of Object.entries(cases)) {
    test(`${what}, is named with what to do`, () => {
      const [text, todo] = said(error);
      assert.match(text, message);
      assert.match(todo ?? '', advice);
    });
  }

  test('keeps the code of its problem', () => {
    const one = explained(new Problem('log_full', 'There is no space left in /data: disk'), '/data');
    assert.ok(one instanceof Problem && one.code === 'log_full');
  });

  test('leaves everything else as it is', () => {
    const bug = new TypeError('EACCES is not a function');
    const port = Object.assign(new Error('listen EACCES: permission denied 127.0.0.1:80'), { code: 'EACCES', syscall: 'listen' });
    const told = new Problem('data_directory_locked', 'in use', { advice: 'Stop it.' });
    const missing = (): unknown => {
      try {
        return statSync('/none/at/all');
      } catch (error) {
        return error;
      }
    };
    for (const error of [bug, port, told, missing(), 'text', undefined]) assert.equal(explained(error, '/data'), error);
  });
});
