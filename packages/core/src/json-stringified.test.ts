import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seeded } from '../test/vectors.ts';
import { stringified } from './json-stringified.ts';

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const of = (text: string): string | undefined => {
  const bytes = stringified(encode(text));
  return bytes && new TextDecoder().decode(bytes);
};

test('JSON takes the form JSON.stringify gives it', () => {
  const cases: [string, string][] = [
    ['{"a": 1, "b": [1,  2]}', '{"a":1,"b":[1,2]}'],
    [' 1.0 ', '1'],
    ['1e3', '1000'],
    ['1E+2', '100'],
    ['0.10', '0.1'],
    ['1.5e-7', '1.5e-7'],
    ['0.00000015', '1.5e-7'],
    ['100000000000000000000', '100000000000000000000'],
    ['1e21', '1e+21'],
    ['-0', '0'],
    ['"\\u00e9\\/"', '"é/"'],
    ['"a: 1.00000000000000000001"', '"a: 1.00000000000000000001"'],
    ['{"b":1,"1":2}', '{"1":2,"b":1}'],
    ['{"__proto__": 1}', '{"__proto__":1}'],
    ['"\\ud800"', '"\\ud800"'],
    ['null', 'null'],
  ];
  for (const [text, form] of cases) assert.equal(of(text), form, text);
});

test('what would lose a value is left alone', () => {
  for (const text of [
    '12345678901234567890',
    '{"a": 0.1000000000000000055}',
    '1e400',
    '-1e-400',
    '{"a":1, "a":2}',
    '[9007199254740993]',
  ])
    assert.equal(of(text), undefined, text);
  for (const text of ['', '{', 'NaN', '{"a":1}x', '\uFEFF1']) assert.equal(of(text), undefined, text);
  assert.equal(stringified(new Uint8Array([0x22, 0xff, 0x22])), undefined);
  // Half a million zeros with a digit behind them once took minutes; that this ends is the test.
  assert.equal(stringified(new TextEncoder().encode(`1.${'0'.repeat(500_000)}1`)), undefined);
});

test('a body with a name that is written with a backslash is left alone: a parser may read another name', () => {
  JSON.parse('{"h":[],"\\\\":0}');
  for (const text of ['{"h":1, "\\"":2}', '{"\\u0061":1}', '[{"a":"\\n"}, {"b\\n" : 1}]', '{"a\\u006e":1}'])
    assert.equal(of(text), undefined, text);
  assert.equal(of('{"h":1, "a":"\\u0022"}'), '{"h":1,"a":"\\""}');
});

test('nesting and size end no stack', () => {
  const deep = `${'[ '.repeat(5_000)}${']'.repeat(5_000)}`;
  assert.equal(of(deep), deep.replaceAll(' ', ''));
});

test('random values keep what they mean, and a receiver that stringifies what it parsed sees the same bytes', () => {
  const random = seeded(7);
  const value = (depth: number): unknown => {
    const kind = Math.floor(random() * (depth > 3 ? 4 : 6));
    if (kind === 0) return random() * 10 ** Math.floor(random() * 40 - 20);
    if (kind === 1) return Math.floor(random() * 2 ** 53);
    if (kind === 2) return String.fromCodePoint(...Array.from({ length: 4 }, () => 1 + Math.floor(random() * 0xd000)));
    if (kind === 3) return [true, false, null][Math.floor(random() * 3)];
    const items = Array.from({ length: Math.floor(random() * 4) }, () => value(depth + 1));
    return kind === 4 ? items : Object.fromEntries(items.map((item, at) => [`k${at}`, item]));
  };
  for (let at = 0; at < 2_000; at++) {
    const one = value(0);
    const form = of(JSON.stringify(one, undefined, 2));
    assert.equal(form, JSON.stringify(one));
    assert.equal(JSON.stringify(JSON.parse(form)), form);
  }
});
