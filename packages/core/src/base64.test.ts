import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seeded } from '../test/vectors.ts';
import { decodeBase64, encodeBase64 } from './base64.ts';

test('bytes come back, and are written as Node writes them', () => {
  const random = seeded(6);
  for (const length of [0, 1, 2, 3, 100, 8191, 8192, 8193, 500_000]) {
    const bytes = Uint8Array.from({ length }, () => Math.floor(random() * 256));
    assert.equal(encodeBase64(bytes), Buffer.from(bytes).toString('base64'));
    assert.deepEqual(decodeBase64(encodeBase64(bytes)), bytes);
  }
});

test('text of any length is read, or found to be no base64', () => {
  const text = 'QUJD'.repeat(4_000_000);
  assert.equal(decodeBase64(text)?.length, 12_000_000);
  for (const bad of ['QUJ*', '===='] as const) assert.equal(decodeBase64(text + bad), undefined);
});

test('what is not base64 with padding is undefined', () => {
  for (const text of ['A', 'AA', 'AAA', 'AA=', 'A===', '====', 'AA==AA==', 'AAA\n', ' AAA', 'A-_A', 'AAAé'])
    assert.equal(decodeBase64(text), undefined, text);
  // As `atob` does, and every other reader: what the last sign says beyond the last byte is left out.
  assert.deepEqual(decodeBase64('QUJ='), decodeBase64('QUI='));
});
