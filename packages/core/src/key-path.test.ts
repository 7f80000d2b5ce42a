import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pick, seeded, refusal } from '../test/vectors.ts';
import { compileKeyPath } from './key-path.ts';

const data: unknown = JSON.parse(`{
  "a": { "b": ["x", 5, true, null, "", {}, []], "c d": "y", "it's": "z", "q\\"": "q", "é": "e", "\\\\": "s" },
  "big": 9007199254740993, "f": 1.50, "zero": -0, "__proto__": { "id": "own" }
}`);

test('a path reads what stands there', () => {
  const read = (path: string) => compileKeyPath(path)(data);
  const expected: [string, string | undefined][] = [
    ['$.a.b[0]', 'x'],
    ['$.a.b[1]', '5'],
    ['$.a.b[2]', 'true'],
    ['$.a.b[-7]', 'x'],
    ["$.a['c d']", 'y'],
    ['$["a"]["c d"]', 'y'],
    ["$[ 'a' ][ 'b' ][ 0 ]", 'x'],
    ["$.a['it\\'s']", 'z'],
    ['$.a["it\'s"]', 'z'],
    ["$.a['q\"']", 'q'],
    ['$.a["q\\""]', 'q'],
    ['$.a.é', 'e'],
    ["$.a['\\u00e9']", 'e'],
    ["$.a['\\\\']", 's'],
    ['$.f', '1.5'],
    ['$.zero', '0'],
    ['$.big', '9007199254740992'],
    ['$.__proto__.id', 'own'],
  ];
  for (const [path, text] of expected) assert.equal(read(path), text, path);
  assert.equal(compileKeyPath('$')('whole'), 'whole');
});

test('what is no text, number or boolean is no key', () => {
  for (const path of [
    '$',
    '$.a',
    '$.a.b',
    '$.a.b[3]',
    '$.a.b[4]',
    '$.a.b[5]',
    '$.a.b[99]',
    '$.a.b.length',
    '$.x.y.z',
    '$.a.b[0][0]',
    '$.constructor.name',
    '$.a[0]',
  ]) {
    assert.equal(compileKeyPath(path)(data), undefined, path);
  }
  assert.equal(compileKeyPath('$.a')(undefined), undefined);
});

test('another kind of path is refused', () => {
  for (const path of [
    '',
    'a',
    '$a',
    '$.',
    '$..a',
    '$.*',
    '$[*]',
    '$.a[]',
    '$[01]',
    '$[-0]',
    '$[1',
    "$['a]",
    '$[\'a"]',
    "$['\\x']",
    '$[?@.a]',
    '$[0:1]',
    '$[0,1]',
    '$.a b',
    '$ .a',
    '$.1a',
    '$.a.',
    "$['a\nb']",
    null,
    5,
  ]) {
    refusal(() => compileKeyPath(path, '/keyPath'), 'invalid_request', '/keyPath');
  }
  refusal(() => compileKeyPath(`$${'.a'.repeat(17)}`), 'invalid_request');
  refusal(() => compileKeyPath(`$.${'a'.repeat(600)}`), 'invalid_request');
});

test('random paths are compiled or refused as a Problem, nothing else', () => {
  const random = seeded(8);
  for (let round = 0; round < 20_000; round += 1) {
    const path = `$${Array.from({ length: 6 }, () => pick(random, ['.', 'a', '[', ']', "'", '"', '\\', '0', '-', ' ', 'é', '\ud800'])).join('')}`;
    try {
      compileKeyPath(path)(data);
    } catch {
      refusal(() => compileKeyPath(path), 'invalid_request');
    }
  }
});
