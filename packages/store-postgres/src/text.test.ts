import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeText, encodeText } from './text.ts';

const ODD = [
  '',
  '\u0000',
  '\u0001',
  '\u0000\u0001',
  '\u0001\u0001',
  '\u0001\u0002',
  '\u0002',
  'a',
  'a\u0000',
  'a\u0000b',
  'a\u0001',
  'a\u0002',
  'ab',
  'é',
  '😀',
];

test('text comes back as it was, and holds no U+0000 on its way', () => {
  for (const text of ODD) {
    assert.equal(decodeText(encodeText(text)), text);
    assert.ok(!encodeText(text).includes('\u0000'));
  }
});

test('encoded texts stand in the order of the plain ones', () => {
  const encoded = ODD.toSorted().map(encodeText);
  assert.deepEqual(encoded, encoded.toSorted());
});
