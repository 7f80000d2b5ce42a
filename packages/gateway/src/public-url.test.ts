import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isForThisMachine, publicUrlOf } from './public-url.ts';

describe('where receivers reach the gateway', { timeout: 10_000 }, () => {
  test('is an address as it was set, also below a path, without a slash at its end', () => {
    const of = (publicUrl: string) => publicUrlOf({ publicUrl });
    assert.equal(of('https://events.example.com/'), 'https://events.example.com');
    assert.equal(of('http://10.0.0.7:4400/mill//'), 'http://10.0.0.7:4400/mill');
    assert.equal(publicUrlOf({}), undefined);
    for (const none of [
      'events.example.com',
      'ftp://a',
      'https://u:p@a',
      'https://a/?b',
      'https://a/#b',
      `https://a/${'b'.repeat(600)}`,
    ])
      assert.throws(() => of(none), { code: 'invalid_request' }, none);
  });

  test('is where it listens, for one that is this machine’s alone', () => {
    for (const host of ['127.0.0.1', '127.1.2.3', 'localhost', '::1']) assert.ok(isForThisMachine({ mode: 'start', host }), host);
    for (const host of ['0.0.0.0', '::', '10.0.0.7', 'events.example'])
      assert.ok(!isForThisMachine({ mode: 'start', host }), host);
    assert.ok(isForThisMachine({ mode: 'dev', host: '0.0.0.0' }));
  });
});
