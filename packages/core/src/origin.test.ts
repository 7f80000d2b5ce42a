/** Origins: compared as text, so that nothing can be hidden in what a parser would make of them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkOriginPattern, isOriginAmong } from './origin.ts';

test('an origin is scheme, host and port as browsers write them, or each direct subdomain of a domain', () => {
  for (const good of [
    'https://app.example.com',
    'http://localhost:5173',
    'http://127.0.0.1:3000',
    'http://[::1]:3000',
    'https://*.example.com',
    'https://*.example.com:8443',
    'https://xn--mnchen-3ya.example',
  ])
    checkOriginPattern(good, '/origins/0');
  for (const bad of [
    '*',
    'null',
    '',
    'app.example.com',
    'https://App.example.com',
    'https://app.example.com/',
    'https://app.example.com/path',
    'https://user@app.example.com',
    'https://app.example.com:443',
    'http://app.example.com:80',
    'https://*.com',
    'https://a.*.example.com',
    'https://*example.com',
    'http://*.0.0.1',
    'ftp://app.example.com',
    'https://münchen.example',
    'https://app.example.com https://other.example',
    7,
  ])
    assert.throws(() => checkOriginPattern(bad, '/origins/0'), { code: 'invalid_request', pointer: '/origins/0' }, String(bad));
});

test('only the very origin is meant, and no name that begins or ends like it', () => {
  const own = ['https://app.example.com'];
  assert.ok(isOriginAmong(own, 'https://app.example.com'));
  for (const other of [
    'null',
    '',
    'http://app.example.com',
    'https://app.example.com:8443',
    'https://app.example.com.evil.example',
    'https://app.example.com@evil.example',
    'https://evil-app.example.com',
    'https://sub.app.example.com',
    'HTTPS://APP.EXAMPLE.COM',
    'https://app.example.com/',
  ])
    assert.ok(!isOriginAmong(own, other), other);
});

test('a star is exactly one label', () => {
  const own = ['https://*.example.com'];
  assert.ok(isOriginAmong(own, 'https://a.example.com'));
  assert.ok(isOriginAmong(own, 'https://a-b_1.example.com'));
  for (const other of [
    'https://example.com',
    'https://.example.com',
    'https://a.b.example.com',
    'https://a.example.com:8443',
    'http://a.example.com',
    'https://evil.example/.example.com',
    'https://evil.example?.example.com',
    'https://user:pw@evil.example.com',
    'https://a.example.com.evil.example',
  ])
    assert.ok(!isOriginAmong(own, other), other);
});
