/** The vault: what it seals only the same key opens, unchanged. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createVault } from './vault.ts';

const [vault, other] = [createVault(new Uint8Array(32).fill(1)), createVault(new Uint8Array(32).fill(2))];

test('what was sealed is opened again, also by another process with the same key', () => {
  for (const secret of ['whsec_abc', '', 'schlüssel 🗝', 'x'.repeat(10_000)]) {
    assert.equal(createVault(new Uint8Array(32).fill(1)).open(vault.seal(secret)), secret);
  }
});

test('sealed text shows nothing of the secret and is never the same twice', () => {
  const [one, two] = [vault.seal('whsec_abc'), vault.seal('whsec_abc')];
  assert.notEqual(one, two);
  assert.match(one, /^v1\.[0-9a-f]{8}\.[\w-]+$/);
  assert.ok(!one.includes('whsec') && !Buffer.from(one.split('.')[2] ?? '', 'base64url').includes('whsec'));
});

test('another key is noticed and both are named', () => {
  assert.throws(() => other.open(vault.seal('s')), { code: 'invalid_secret', advice: /secret.key/ });
});

test('whatever single character of the sealed text is changed, it is not opened', () => {
  const sealed = vault.seal('secret');
  for (let at = 0; at < sealed.length - 1; at++) {
    const changed = `${sealed.slice(0, at)}${sealed[at] === 'A' ? 'B' : 'A'}${sealed.slice(at + 1)}`;
    assert.throws(() => vault.open(changed), { code: 'invalid_secret' }, `character ${at}`);
  }
});

test('what was never sealed is refused', () => {
  for (const text of ['', 'v1', 'whsec_abc', sealedBy('v2')]) assert.throws(() => vault.open(text), { code: 'invalid_secret' });
});

test('a key of another length is refused', () => {
  for (const length of [0, 16, 31, 33]) assert.throws(() => createVault(new Uint8Array(length)), { code: 'invalid_secret' });
});

function sealedBy(version: string): string {
  return vault.seal('s').replace(/^v1/, version);
}
