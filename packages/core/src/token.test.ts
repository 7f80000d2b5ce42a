/** What a token must say to be one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readClaims } from './token.ts';

const CLAIMS = {
  iss: 'urn:millrace:x',
  aud: 'urn:millrace:x',
  iat: 1,
  nbf: 1,
  exp: 601,
  iatMs: 1_000,
  jti: 'tok_1',
  app: 'shop',
  env: 'default',
  key: 'key_1',
  scopes: ['subscribe'],
  topics: ['orders.*'],
};

test('claims are all there, each of its kind', () => {
  assert.deepEqual(readClaims(CLAIMS), CLAIMS);
  assert.ok(readClaims({ ...CLAIMS, sub: 'user-42', origin: 'https://shop.example' }));
  for (const name of Object.keys(CLAIMS)) assert.equal(readClaims({ ...CLAIMS, [name]: undefined }), undefined, name);
});

test('scopes that no token has, and lists that are none, make no token', () => {
  for (const wrong of [
    { scopes: ['admin'] },
    { scopes: ['publish', 'manage'] },
    { scopes: [] },
    { scopes: 'publish' },
    { topics: [] },
    { topics: ['orders.*', 7] },
    { aud: ['urn:millrace:x'] },
    { exp: '601' },
    { exp: Infinity },
    { sub: 7 },
    { origin: '' },
  ])
    assert.equal(readClaims({ ...CLAIMS, ...wrong }), undefined, JSON.stringify(wrong));
});
