/** What V8 misreads (see json-parse.ts) is read right, next to objects of the same shape whose names have no escapes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pick, seeded } from '../test/vectors.ts';
import { hasEscapedName, parseText } from './json-parse.ts';

const B = '\\';
/** Objects after which JSON.parse has misread: their last name is a backslash, or ends with one. */
const SEEN = [`{"h":[],"${B}${B}":0}`, `{"${B}${B}":0}`, `{"a${B}${B}":0}`, `{"h":1,"a":2,"${B}${B}":3}`];

test('a name that is written with a backslash is itself, whatever was parsed before', () => {
  const cases: [string, [string, unknown][]][] = [
    [
      `{"h":1,"${B}"":2}`,
      [
        ['h', 1],
        ['"', 2],
      ],
    ],
    [`{"${B}u0022":1}`, [['"', 1]]],
    [`{"${B}u0061":1}`, [['a', 1]]],
    [`{"a${B}n":1}`, [['a\n', 1]]],
    [`{"a${B}u006e":1}`, [['an', 1]]],
    [`{"${B}${B}":1}`, [['\\', 1]]],
    [`{"${B}/" : 1}`, [['/', 1]]],
    [
      `{"h":1,"a":2,"${B}t":"${B}t"}`,
      [
        ['h', 1],
        ['a', 2],
        ['\t', '\t'],
      ],
    ],
    [`{"${B}ud800":1}`, [['\ud800', 1]]],
    [`{"${B}u005f_proto__":{"${B}"":1}}`, [['__proto__', Object.fromEntries([['"', 1]])]]],
  ];
  for (let round = 0; round < 200; round++) {
    for (const text of SEEN) parseText(text);
    for (const [text, members] of cases) assert.deepEqual(Object.entries(parseText(text) as object), members, text);
  }
});

test('of a name that is there twice, once with escapes, the last value counts, at the place of the first', () => {
  assert.deepEqual(Object.entries(parseText(`{"a":1,"b":2,"${B}u0061":3}`) as object), [
    ['a', 3],
    ['b', 2],
  ]);
  assert.deepEqual(Object.entries(parseText(`{"${B}"":1,"b":2,"${B}u0022":3}`) as object), [
    ['"', 3],
    ['b', 2],
  ]);
});

test('what is no JSON is refused as JSON.parse refuses it', () => {
  for (const text of ['', '{', `{"${B}":1}`, `{"${B}x":1}`, `["${B}n":1]`, `{"${B}n":1`, `{"a${B}`, `"${B}u00"`, `{"${B}"" 1}`]) {
    assert.throws(() => parseText(text), SyntaxError, text);
  }
});

test('names are told from values', () => {
  for (const text of [`{"${B}n":1}`, `[{"a":"x"},{"a":{"b${B}u0061" : 1}}]`, `{"a":"${B}"","${B}"":1}`])
    assert.ok(hasEscapedName(text), text);
  for (const text of [`{"a":"${B}n"}`, `["${B}"",":"]`, `{"a":"${B}":"}`, `"${B}":"`, '{"a":1}', `{"a":"${B}${B}","b":1}`]) {
    assert.ok(!hasEscapedName(text), text);
  }
});

test('nesting ends no stack, also where a name is escaped', () => {
  const names = Array.from({ length: 50_000 }, (_, at) => (at % 6 === 0 ? '"' : 'a'));
  let value = parseText(`${names.map((name) => `{${JSON.stringify(name)}:`).join('')}1${'}'.repeat(names.length)}`);
  for (const name of names) value = (value as Record<string, unknown>)[name];
  assert.equal(value, 1);
});

// A walk of its own over what was written, as JSON.stringify asks no parser for names.
test('random objects of few names, some written with escapes, are read as what they were written from', () => {
  const random = seeded(63_785);
  const names = ['a', 'b', 'ab', 'an', '\\', '\\\\', 'a\\', '"', '\\"', 'a"', '/', 'é', 'a\n', '0', '__proto__', 'constructor'];
  const escaped = (name: string): string => Array.from(name, (one) => (random() < 0.4 ? hex(one) : plain(one))).join('');
  const hex = (one: string): string => `${B}u${one.charCodeAt(0).toString(16).padStart(4, '0')}`;
  const plain = (one: string): string => JSON.stringify(one).slice(1, -1);
  interface Made {
    readonly text: string;
    readonly value: unknown;
  }
  const made = (depth: number): Made => {
    const kind = random();
    if (depth === 0 || kind < 0.3)
      return pick(random, [
        { text: '1', value: 1 },
        { text: `"${B}u0061"`, value: 'a' },
      ]);
    if (kind < 0.5) return listOf(Array.from({ length: Math.floor(random() * 4) }, () => made(depth - 1)));
    const shape = [...new Set(Array.from({ length: Math.floor(random() * 4) }, () => pick(random, names)))];
    const objects = Array.from({ length: 3 }, () => objectOf(shape.map((name) => [name, made(depth - 1)])));
    return kind < 0.75 ? (objects[0] as Made) : listOf(objects);
  };
  const listOf = (items: Made[]): Made => ({
    text: `[${items.map(({ text }) => text).join(',')}]`,
    value: items.map(({ value }) => value),
  });
  const objectOf = (members: [string, Made][]): Made => ({
    text: `{${members.map(([name, { text }]) => `"${escaped(name)}":${text}`).join(', ')}}`,
    value: Object.fromEntries(members.map(([name, { value }]) => [name, value])),
  });
  for (let round = 0; round < 20_000; round++) {
    const { text, value } = made(4);
    assert.deepEqual(parseText(text), value, text);
  }
});

test('names that need their backslash are bounded', () => {
  const textOf = (count: number) => `{${Array.from({ length: count }, (_, at) => `"\\n${at}":0`).join(',')}}`;
  assert.equal(Object.keys(parseText(textOf(10_000)) as object).length, 10_000);
  assert.throws(() => parseText(textOf(10_001)), { name: 'SyntaxError', message: /more than 10000 names/ });
});
