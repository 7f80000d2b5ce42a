import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { compareVersions, type Version, versionIn } from './versions.ts';

const read = (text: string): Version => versionIn(text) as Version;

describe('versions', { timeout: 10_000 }, () => {
  test('stand in the order of Semantic Versioning 2.0.0', () => {
    // Section 11 of it, and numbers that are longer than others.
    const ordered = [
      '0.9.10',
      '1.0.0-alpha',
      '1.0.0-alpha.1',
      '1.0.0-alpha.beta',
      '1.0.0-beta',
      '1.0.0-beta.2',
      '1.0.0-beta.11',
      '1.0.0-rc.1',
      '1.0.0',
      '1.0.2',
      '1.0.10',
      '1.2.0',
      '2.0.0',
    ];
    const mixed = ordered.toReversed();
    assert.deepEqual(
      mixed.toSorted((one, other) => compareVersions(read(one), read(other))),
      ordered,
    );
    assert.equal(compareVersions(read('1.0.0+a'), read('1.0.0+b')), 0);
  });

  test('are told from what is none', () => {
    for (const text of ['', '1', '1.0', 'v1.0.0', '01.0.0', '1.0.0-', '1.0.0+', '1.0.0 ', '../1.0.0', `1.0.0-${'a'.repeat(64)}`])
      assert.equal(versionIn(text), undefined, text);
  });
});
