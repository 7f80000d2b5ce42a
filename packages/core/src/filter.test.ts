import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Named, pick, randomJson, refusal, seeded, vectors } from '../test/vectors.ts';
import type { AttributeValue, Event } from './event.ts';
import type { Problem } from './problem.ts';
import { compileFilter, readPath, valuesAt } from './filter.ts';
import { parseText } from './json-parse.ts';
import { oracleMatches } from '../test/filter-oracle.ts';

type Attributes = { id: string; source: string; type: string } & Record<string, AttributeValue>;
interface Case extends Named {
  filter: unknown;
  attributes?: Attributes;
  data?: unknown;
  dataText?: string;
  matches: boolean;
}
const cases = vectors<{
  matches: Case[];
  refused: (Named & { filter: unknown; pointer: string })[];
  canonical: (Named & { one: unknown; other: unknown; equal: boolean })[];
}>('filters');

function eventOf({ attributes = { id: '1', source: '/shop', type: 'orders.created' } }: { attributes?: Attributes }): Event {
  const { id, source, type, subject, time, ...extensions } = attributes;
  const optional = {
    ...(subject === undefined ? {} : { subject: String(subject) }),
    ...(time === undefined ? {} : { time: String(time) }),
  };
  return { id, source, type, ...optional, extensions };
}

function dataOf({ data, dataText }: { data?: unknown; dataText?: string }): () => unknown {
  if (dataText === undefined) return () => data;
  return () => {
    try {
      return parseText(dataText);
    } catch {
      return undefined;
    }
  };
}

for (const one of cases.matches) {
  test(`a filter ${one.matches ? 'takes' : 'leaves'} ${one.name}`, () => {
    assert.equal(compileFilter(one.filter).matches(eventOf(one), dataOf(one)), one.matches);
  });
}

test('the slow oracle of this test agrees with every vector', () => {
  for (const one of cases.matches) {
    const { extensions, ...core } = eventOf(one);
    assert.equal(
      oracleMatches(one.filter, { specversion: '1.0', ...core, ...extensions, data: dataOf(one)() }),
      one.matches,
      one.name,
    );
  }
});

test('what an index is told is true of every event that matches', () => {
  for (const one of cases.matches.filter(({ matches }) => matches)) {
    for (const { path, values } of compileFilter(one.filter).equalities) {
      assert.ok(
        valuesAt(eventOf(one), dataOf(one), path).some((value) => values.includes(value)),
        one.name,
      );
    }
  }
});

for (const { name, filter, pointer } of cases.refused) {
  test(`a filter is refused: ${name}`, () => void refusal(() => compileFilter(filter), 'invalid_filter', pointer));
}

for (const { name, one, other, equal } of cases.canonical) {
  test(`canonical text: ${name} ${equal ? 'makes no difference' : 'makes a difference'}`, () => {
    assert.equal(compileFilter(one).canonical === compileFilter(other).canonical, equal);
  });
}

test('only plain equalities outside $or are given to the index', () => {
  const { equalities, needsData } = compileFilter({
    type: ['a', 'b'],
    source: [{ prefix: '/' }],
    data: { country: ['DE'], amount: [1, { numeric: ['>', 5] }], gone: [null, { exists: false }], deep: { er: [true, null] } },
    $or: [{ subject: ['x'] }, { data: { vip: [true] } }],
  });
  assert.deepEqual(
    equalities.toSorted((one, other) => (one.path.join() < other.path.join() ? -1 : 1)),
    [
      { path: ['data', 'country'], values: ['DE'] },
      { path: ['data', 'deep', 'er'], values: [true, null] },
      { path: ['type'], values: ['a', 'b'] },
    ],
  );
  assert.ok(needsData);
  assert.ok(compileFilter({ $or: [{ type: ['a'] }, { data: { a: [1] } }] }).needsData);
});

test('the payload is not parsed when attributes decide, and never twice', () => {
  const event = eventOf({});
  let calls = 0;
  const data = () => {
    calls += 1;
    return {};
  };
  const onlyAttributes = compileFilter({ type: ['orders.created'] });
  assert.ok(!onlyAttributes.needsData && onlyAttributes.matches(event, data));
  assert.ok(!compileFilter({ type: ['x'], data: { a: [1] } }).matches(event, data));
  assert.equal(calls, 0);
  assert.ok(!compileFilter({ data: { $or: [{ a: [1] }, { b: [1] }, { c: [1] }] } }).matches(event, data));
  assert.equal(calls, 1);
});

test('sixteen levels are taken, seventeen refused, and a million do not end the stack', () => {
  const nested = (levels: number, around: (inner: unknown) => unknown) => {
    let filter: unknown = [1];
    for (let level = 0; level < levels; level += 1) filter = around(filter);
    return { data: filter };
  };
  const field = (inner: unknown) => ({ a: inner });
  compileFilter(nested(15, field));
  for (const levels of [16, 100_000]) refusal(() => compileFilter(nested(levels, field)), 'invalid_filter');
  const fork = (inner: unknown) => ({ $or: [Array.isArray(inner) ? { a: inner } : inner, { b: [1] }] });
  compileFilter(nested(14, fork));
  refusal(() => compileFilter(nested(16, fork)), 'invalid_filter');
});

test('a filter holds a thousand values, strings of 1,024 characters, and a bounded number of combinations', () => {
  const numbers = (count: number) => Array.from({ length: count }, (_, at) => at);
  compileFilter({ data: { a: numbers(1000) } });
  refusal(() => compileFilter({ data: { a: numbers(1000), b: [1] } }), 'invalid_filter', '/data/b');
  refusal(() => compileFilter({ data: { a: [{ 'anything-but': numbers(1001) }] } }), 'invalid_filter', '/data/a/0/anything-but');
  compileFilter({ type: ['x'.repeat(1024)] });
  refusal(() => compileFilter({ type: ['x'.repeat(1025)] }), 'invalid_filter', '/type/0');
  refusal(() => compileFilter({ data: { ['x'.repeat(1025)]: [1] } }), 'invalid_filter');
  const forks = (count: number) => Object.fromEntries(numbers(count).map((at) => [`f${at}`, { $or: [{ a: [1] }, { b: [1] }] }]));
  compileFilter({ data: forks(9) });
  refusal(() => compileFilter({ data: forks(10) }), 'invalid_filter', '/data');
  refusal(() => compileFilter({ data: forks(400) }), 'invalid_filter', '/data');
  const wide = Object.fromEntries(numbers(90).map((at) => [`w${at}`, [1]]));
  refusal(() => compileFilter({ data: { ...wide, ...forks(7) } }), 'invalid_filter', '/data');
});

test('numbers that 64 bits can not hold are refused', () => {
  for (const filter of [{ data: { a: [Number.POSITIVE_INFINITY] } }, { data: { a: [{ numeric: ['<', Number.NaN] }] } }]) {
    refusal(() => compileFilter(filter), 'invalid_filter');
  }
  refusal(() => compileFilter(JSON.parse('{"data":{"a":[1e999]}}')), 'invalid_filter', '/data/a/0');
});

test('hostile wildcards and hostile texts stay fast', () => {
  const text = `${'a'.repeat(500_000)}c`;
  const startedMs = performance.now();
  for (const wildcard of [`*${'a'.repeat(1000)}b*c`, `${'*a'.repeat(500)}*b`, `*${'ab'.repeat(500)}*`, `${'a*'.repeat(500)}d`]) {
    assert.ok(!compileFilter({ data: { a: [{ wildcard }] } }).matches(eventOf({}), () => ({ a: text })));
  }
  // A matcher that goes back would need hours; the bound is wide because machines differ.
  assert.ok(performance.now() - startedMs < 2000);
});

test('a payload of arrays nested 200,000 deep is matched like any other', () => {
  const deep = JSON.parse(`{"a":${'['.repeat(200_000)}1${']'.repeat(200_000)}}`);
  assert.ok(compileFilter({ data: { a: [1] } }).matches(eventOf({}), () => deep));
  assert.ok(compileFilter({ data: { a: { b: [{ exists: false }] } } }).matches(eventOf({}), () => deep));
  assert.deepEqual(readPath(deep, ['a']), [1]);
});

test('a path reads all leaves it reaches, through arrays, own members only', () => {
  const root = JSON.parse('{"a":[{"b":1},[{"b":[2,[3]]}],{"b":{"c":4}},{"c":5},7],"__proto__":{"b":6}}');
  assert.deepEqual(readPath(root, ['a', 'b']), [1, 2, 3]);
  assert.deepEqual(readPath(root, ['a']), [7]);
  assert.deepEqual(readPath(root, ['__proto__', 'b']), [6]);
  assert.deepEqual(readPath({}, ['constructor', 'name']), []);
  assert.deepEqual(readPath(undefined, ['a']), []);
  assert.deepEqual(readPath(null, []), [null]);
});

const NAMES = ['a', 'a', 'a', 'b', 'b', 'b', '__proto__', 'constructor'];

function randomRule(random: () => number, depth: number): Record<string, unknown> {
  const members: [string, unknown][] = Array.from({ length: 1 + Math.floor(random() * 2) }, () => [
    pick(random, NAMES),
    random() < 0.5 && depth > 0 ? randomRule(random, depth - 1) : randomList(random),
  ]);
  if (depth > 0 && random() < 0.3) members.push(['$or', [randomRule(random, depth - 1), randomRule(random, depth - 1)]]);
  return Object.fromEntries(members);
}

function randomList(random: () => number): unknown[] {
  return Array.from({ length: 1 + Math.floor(random() * 2) }, () =>
    pick<unknown>(random, [
      0,
      1,
      'x',
      null,
      true,
      { exists: true },
      { exists: false },
      { exists: false },
      { 'anything-but': 'x' },
      { 'anything-but': [0, 1] },
      { numeric: ['>', 0] },
      { prefix: 'x' },
    ]),
  );
}

function randomData(random: () => number, depth: number): unknown {
  if (depth === 0 || random() < 0.3) return pick<unknown>(random, [0, 1, 'x', 'xy', null, true]);
  const length = Math.floor(random() * 4);
  if (random() < 0.4) return Array.from({ length }, () => randomData(random, depth - 1));
  return Object.fromEntries(Array.from({ length }, () => [pick(random, NAMES), randomData(random, depth - 1)]));
}

test('random filters on random payloads agree with the slow oracle, and canonical texts with their meaning', () => {
  const random = seeded(20_261_123);
  let matched = 0;
  for (let round = 0; round < 10_000; round += 1) {
    const filter = { data: randomRule(random, 2) };
    const data = randomData(random, 5);
    const compiled = compileFilter(filter);
    const actual = compiled.matches(eventOf({}), () => data);
    assert.equal(actual, oracleMatches(filter, { data }), JSON.stringify({ filter, data }));
    assert.equal(compileFilter(JSON.parse(compiled.canonical)).canonical, compiled.canonical);
    assert.equal(
      compileFilter(JSON.parse(compiled.canonical)).matches(eventOf({}), () => data),
      actual,
    );
    if (actual) matched += 1;
  }
  // Cases of both kinds, else the comparison says little.
  assert.ok(matched > 900 && matched < 9100, String(matched));
});

test('random JSON for a filter is compiled or refused as a Problem, nothing else', () => {
  const random = seeded(5);
  const operators = [
    'prefix',
    'suffix',
    'anything-but',
    'numeric',
    'cidr',
    'wildcard',
    'exists',
    'equals-ignore-case',
    'exactly',
    '$or',
  ];
  for (let round = 0; round < 20_000; round += 1) {
    const item = random() < 0.5 ? randomJson(random, 3) : { [pick(random, operators)]: randomJson(random, 2) };
    const filter = pick<unknown>(random, [
      item,
      { data: item },
      { data: { a: [item] } },
      { type: [item] },
      { $or: [item, { type: [item] }] },
    ]);
    try {
      compileFilter(filter).matches(eventOf({}), () => randomJson(random, 4));
    } catch (error) {
      refusal(() => compileFilter(filter), 'invalid_filter');
      assert.ok(error instanceof Error);
    }
  }
});

test('what is commonly written wrong is refused with what to write', () => {
  const adviceOf = (filter: unknown): string | undefined => {
    try {
      compileFilter(filter);
    } catch (error) {
      return (error as Problem).advice;
    }
    return assert.fail('it was taken');
  };
  assert.equal(adviceOf({ data: { amount: 150 } }), 'Write [150].');
  assert.equal(adviceOf({ type: 'orders.created' }), 'Write ["orders.created"].');
  assert.match(adviceOf({ data: { amount: [{ greater: 1 }] } }) ?? '', /prefix, suffix, .* numeric/);
  assert.doesNotMatch(adviceOf({ data: { amount: [{ greater: 1 }] } }) ?? '', /exactly/);
  assert.match(adviceOf({ data: { name: [{ prefix: 'a', suffix: 'z' }] } }) ?? '', /\[\{ "prefix"/);
});
