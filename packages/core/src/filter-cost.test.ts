/** What a filter may cost on one event: bounded, counted, and never at the price of another answer. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pick, seeded } from '../test/vectors.ts';
import type { Event } from './event.ts';
import { compileFilter, TOO_COSTLY, type Verdict } from './filter.ts';
import { foldCase, foldHead, foldTail } from './filter/text.ts';
import { compileWildcard } from './filter/wildcard.ts';

const EVENT: Event = { id: '1', source: '/s', type: 't', extensions: {} };
const many = <T>(count: number, make: (at: number) => T): T[] => Array.from({ length: count }, (_, at) => make(at));
const ask = (filter: unknown, data: unknown): Verdict => compileFilter(filter).matches(EVENT, () => data);
const forks = (count: number, make: (at: number) => unknown): unknown => ({ data: { $or: many(count, make) } });
const long = (letter: string, end: unknown): string => `${letter.repeat(1_020)}${String(end)}`.slice(0, 1_024);

const COSTLY: Record<string, [filter: unknown, data: unknown]> = {
  'objects in a long array, for each of many forks': [
    forks(1_000, (at) => ({ l: { a: [at + 1] } })),
    { l: many(60_000, () => ({ a: 0 })) },
  ],
  'leaves in a long array, for each of many forks': [forks(1_000, (at) => ({ l: [at + 1] })), { l: many(250_000, () => 0) }],
  'empty arrays, which stand for nothing': [forks(1_000, (at) => ({ l: [at + 1] })), { l: many(170_000, () => []) }],
  'empty objects': [forks(1_000, (at) => ({ l: { a: [at] } })), { l: many(170_000, () => ({})) }],
  'what must be absent': [
    forks(500, (at) => ({ l: { a: { [`b${at}`]: [{ exists: false }], c: [1] } } })),
    { l: many(40_000, () => ({ a: { c: 0 } })) },
  ],
  'numbers tested one by one': [
    { data: { l: many(1_000, (at) => ({ numeric: ['>', at + 1] })) } },
    { l: many(250_000, () => 0) },
  ],
  'long prefixes that nearly fit': [
    { data: { l: many(1_000, (at) => ({ prefix: long('☃', at) })) } },
    { l: many(500, () => long('☃', 'x')) },
  ],
  'long suffixes that nearly fit': [
    { data: { l: many(1_000, (at) => ({ suffix: `${at}${'☃'.repeat(1_020)}` })) } },
    { l: many(500, () => '☃'.repeat(1_024)) },
  ],
  'the same text without case, for each of many forks': [
    forks(1_000, (at) => ({ l: [{ 'equals-ignore-case': long('ж', at) }] })),
    { l: many(250, () => 'Ж'.repeat(1_020)) },
  ],
  'short texts without case, for each of many forks': [
    forks(1_000, (at) => ({ l: [{ 'equals-ignore-case': `x${at}` }] })),
    { l: many(100_000, () => 'X') },
  ],
  'beginnings without case, for each of many forks': [
    forks(1_000, (at) => ({ l: [{ prefix: { 'equals-ignore-case': long('ΐ', at) } }] })),
    { l: many(250, () => 'ΐ'.repeat(1_024)) },
  ],
  'long parts of wildcards that nearly fit everywhere': [
    { data: { l: many(1_000, (at) => ({ wildcard: `*${'a'.repeat(500)}b${'a'.repeat(490)}${at}*` })) } },
    { l: 'a'.repeat(500_000) },
  ],
  'long ends of wildcards': [
    { data: { l: many(1_000, (at) => ({ wildcard: `${'☃'.repeat(500)}*${at}${'☃'.repeat(500)}` })) } },
    { l: many(2_000, () => '☃'.repeat(1_010)) },
  ],
  'addresses read for each of many forks': [
    forks(1_000, (at) => ({ l: [{ cidr: `10.0.${at >> 2}.0/24` }] })),
    { l: many(7_000, () => '1:'.repeat(32)) },
  ],
};

for (const [what, [filter, data]] of Object.entries(COSTLY)) {
  test(`a filter has no answer rather than one after seconds: ${what}`, () => {
    const compiled = compileFilter(filter);
    assert.equal(
      compiled.matches(EVENT, () => data),
      TOO_COSTLY,
    );
    // Counted, so the same each time; and what was used up is there again for the next event.
    assert.equal(
      compiled.matches(EVENT, () => data),
      TOO_COSTLY,
    );
    assert.equal(
      compiled.matches(EVENT, () => ({})),
      false,
    );
  });
}

test('what people write has an answer, also over ten thousand elements', () => {
  const five = {
    a: ['x', { prefix: 'y' }],
    b: [{ numeric: ['>', 5] }],
    c: [{ 'anything-but': ['q'] }],
    d: [{ 'equals-ignore-case': 'ZÜRICH' }],
    e: [{ wildcard: '*foo*bar' }],
  };
  const element = (at: number) => ({ a: 'x', b: 6, c: 'r', d: 'zürich', e: `a foo and a bar${at}` });
  assert.equal(ask({ data: { l: five } }, { l: many(10_000, element) }), false);
  assert.equal(ask({ data: { l: five } }, { l: [...many(9_999, element), { ...element(0), e: 'foobar' }] }), true);
  const texts = [{ prefix: 'y' }, { suffix: 'z' }, { 'equals-ignore-case': 'Grün' }, { wildcard: 'a*b' }, { cidr: '10.0.0.0/8' }];
  assert.equal(ask({ data: { l: texts } }, { l: many(10_000, (at) => `192.168.${at >> 8}.${at & 255}`) }), false);
  const shared = Object.fromEntries(many(9, (at) => [`w${at}`, [at]]));
  const small = { ...Object.fromEntries(many(100, (at) => [`w${at}`, at])), x: 990 };
  assert.equal(ask({ data: { ...shared, $or: many(990, (at) => ({ x: [at + 1] })) } }, small), true);
  assert.equal(ask({ data: { a: many(1_000, (at) => ({ 'equals-ignore-case': `Straße ${at}` })) } }, { a: 'STRASSE 999' }), true);
});

test('a long text is compared with a thousand others without case in no time: it is longer than each of them', () => {
  const filter = { data: { a: many(900, (at) => ({ 'equals-ignore-case': `É${at}` })) } };
  assert.equal(ask(filter, { a: 'é'.repeat(500_000) }), false);
  assert.equal(
    ask({ data: { a: [{ 'anything-but': { 'equals-ignore-case': many(900, (at) => `É${at}`) } }] } }, { a: 'é'.repeat(500_000) }),
    true,
  );
});

test('no letter becomes shorter without case, so a text longer than the longest wanted can not be equal', () => {
  for (let code = 0; code <= 0x10ffff; code++) {
    const letter = String.fromCodePoint(code);
    if (foldCase(letter).length < letter.length) assert.fail(`U+${code.toString(16)}`);
  }
});

test('letters that become several, or change their length, are equal to what they become', () => {
  const equal = [
    ['ß', 'SS'],
    ['ß', 'ss'],
    ['ẞ', 'ẞ'],
    ['İ', 'i\u0307'],
    ['ΐ', 'ΐ'],
    ['ŉx', 'ʼNX'],
    ['ﬃ', 'FFI'],
    ['Σ', 'σ'],
    ['ΌΣΟΣ', 'όσοσ'],
    ['𐐀', '𐐨'],
  ] as const;
  for (const [one, other] of equal) {
    for (const [written, sent] of [
      [one, other],
      [other, one],
    ] as const) {
      assert.equal(ask({ data: { a: [{ 'equals-ignore-case': written }] } }, { a: sent }), true, `${written} ${sent}`);
      assert.equal(
        ask({ data: { a: [{ prefix: { 'equals-ignore-case': written } }] } }, { a: `${sent}…` }),
        true,
        `${written} ${sent}…`,
      );
      assert.equal(
        ask({ data: { a: [{ suffix: { 'equals-ignore-case': written } }] } }, { a: `…${sent}` }),
        true,
        `${written} …${sent}`,
      );
      assert.equal(ask({ data: { a: [{ 'equals-ignore-case': written }] } }, { a: `${sent}x` }), false);
    }
  }
  // A part of what a letter becomes is a beginning and an end, as it is in the whole text without case.
  assert.equal(ask({ data: { a: [{ prefix: { 'equals-ignore-case': 's' } }] } }, { a: 'ß' }), true);
  assert.equal(ask({ data: { a: [{ suffix: { 'equals-ignore-case': 'I' } }] } }, { a: 'oﬃ' }), true);
  assert.equal(
    ask({ data: { a: [{ prefix: { 'equals-ignore-case': '' } }, { suffix: { 'equals-ignore-case': '' } }] } }, { a: '' }),
    true,
  );
});

test('a beginning or an end without case is that of the whole text without case', () => {
  const random = seeded(66);
  const letters = ['a', 'Z', '1', 'é', 'ß', 'İ', 'ΐ', 'Σ', 'ﬃ', '𐐀', '😀', '\ud800', '\udc00', 'Ж', '\u0307'];
  for (let round = 0; round < 20_000; round++) {
    const text = many(Math.floor(random() * 8), () => pick(random, letters)).join('');
    const length = Math.floor(random() * 12);
    const [whole, head, tail] = [foldCase(text), foldHead(text, length), foldTail(text, length)];
    assert.ok(whole.startsWith(head) && whole.endsWith(tail), text);
    assert.ok(head.length >= Math.min(length, whole.length) && tail.length >= Math.min(length, whole.length), text);
  }
});

test('wildcards with parts of any length say what a regular expression says', () => {
  const random = seeded(1_977);
  let held = 0;
  for (let round = 0; round < 5_000; round++) {
    // Of two letters, so that parts nearly fit everywhere.
    const text = many(Math.floor(random() * 400), () => (random() < 0.1 ? 'b' : 'a')).join('');
    const cut = (): string => {
      const from = Math.floor(random() * text.length);
      return text.slice(from, from + Math.floor(random() * 150));
    };
    const parts = many(1 + Math.floor(random() * 4), () => (random() < 0.3 ? '' : cut()));
    const expected = new RegExp(`^${parts.join('[^]*')}$`).test(text);
    if (expected) held++;
    assert.equal(compileWildcard(parts)(text, { left: Infinity }), expected, `${parts.join('*')} on ${text}`);
  }
  assert.ok(held > 500, String(held));
});

test('names that every object has are fields like others', () => {
  const event: Event = { ...EVENT, extensions: { constructor: 'x' } };
  for (const name of ['constructor', 'tostring', 'valueof', 'hasownproperty']) {
    const here = name === 'constructor';
    assert.equal(
      compileFilter({ [name]: [{ exists: true }] }).matches(event, () => undefined),
      here,
      name,
    );
    assert.equal(
      compileFilter({ [name]: [{ exists: false }] }).matches(event, () => undefined),
      !here,
      name,
    );
  }
  for (const name of ['constructor', '__proto__', 'toString', 'hasOwnProperty', 'length']) {
    const filter = JSON.parse(`{"data":{"${name}":{"name":["x"]}}}`);
    assert.equal(ask(filter, {}), false, name);
    assert.equal(ask(filter, JSON.parse(`{"${name}":{"name":"x"}}`)), true, name);
    assert.equal(ask(JSON.parse(`{"data":{"${name}":[{"exists":true}]}}`), []), false, name);
  }
});
