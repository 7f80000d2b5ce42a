import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Named, pick, refusal, seeded, vectors } from '../test/vectors.ts';
import { checkPattern, checkTopic, compileTopics, coversPattern, matchesTopic } from './topic.ts';

const cases = vectors<{
  names: (Named & { topic: string; valid: boolean })[];
  patterns: (Named & { pattern: string; valid: boolean })[];
  matches: (Named & { pattern: string; topic: string; matches: boolean })[];
}>('topics');

for (const { name, topic, valid } of cases.names) {
  test(`a topic that is ${name} is ${valid ? 'taken' : 'refused'}`, () => {
    if (valid) checkTopic(topic);
    else refusal(() => checkTopic(topic), 'invalid_topic');
  });
}

for (const { name, pattern, valid } of cases.patterns) {
  test(`a pattern that is ${name} is ${valid ? 'taken' : 'refused'}`, () => {
    if (valid) checkPattern(pattern);
    else refusal(() => checkPattern(pattern), 'invalid_topic');
  });
}

for (const { name, pattern, topic, matches } of cases.matches) {
  test(`topic matching: ${name}`, () => {
    assert.equal(matchesTopic(pattern, topic), matches);
    assert.equal(compileTopics([pattern])(topic), matches);
  });
}

test('a topic has at most 255 characters', () => {
  checkTopic('a'.repeat(255));
  refusal(() => checkTopic('a'.repeat(256)), 'invalid_topic');
  refusal(() => checkTopic('.'.repeat(1_000_000)), 'invalid_topic');
});

test('what is no string is refused, and the pointer names it', () => {
  for (const value of [undefined, null, 1, ['orders']]) {
    refusal(() => checkTopic(value, '/topics/0'), 'invalid_topic', '/topics/0');
    refusal(() => checkPattern(value, '/topics/0'), 'invalid_topic', '/topics/0');
  }
});

test('a wildcard that is a part of a token is told apart from a letter that is none', () => {
  const star = refusal(() => checkPattern('orders.a*', '/topics/1'), 'invalid_topic', '/topics/1');
  assert.match(star.message, /^the \* in 'orders\.a\*' is a part of the token 'a\*'; it can only stand for whole ones$/);
  assert.match(star.advice ?? '', /^Write \* for one token/);
  assert.match(refusal(() => checkPattern('orders>'), 'invalid_topic').message, /^the > in 'orders>'/);
  const umlaut = refusal(() => checkPattern('orders.ä'), 'invalid_topic');
  assert.match(umlaut.advice ?? '', /^Write tokens of letters/);
});

test('what is wrong with a name is said', () => {
  const said = (check: typeof checkTopic, name: string): string => refusal(() => check(name), 'invalid_topic').message;
  assert.equal(said(checkTopic, 'orders created'), "the topic 'orders created' has a space in 'orders created'");
  assert.equal(said(checkTopic, 'a..b'), "the topic 'a..b' has an empty token (two dots in a row)");
  assert.equal(said(checkTopic, '.a'), "the topic '.a' has an empty token (a dot at its beginning)");
  assert.equal(said(checkTopic, 'a.'), "the topic 'a.' has an empty token (a dot at its end)");
  assert.equal(said(checkTopic, 'a.b/c'), "the topic 'a.b/c' has '/' in 'b/c'");
  assert.equal(said(checkTopic, 'orders.*'), "the topic 'orders.*' has '*' in '*'");
  assert.equal(said(checkTopic, 'a.😀'), "the topic 'a.😀' has '😀' in '😀'");
  assert.match(said(checkTopic, 'a.b\u00a0'), /has the character U\+00A0 in/);
  assert.match(said(checkTopic, 'a.\n'), /has the character U\+000A in/);
  assert.equal(said(checkPattern, 'orders.ä b'), "the topic pattern 'orders.ä b' has 'ä' in 'ä b'");
  assert.equal(said(checkPattern, 'a..>'), "the topic pattern 'a..>' has an empty token (two dots in a row)");
});

test('a long name in a message is cut short', () => {
  const problem = refusal(() => checkTopic(`${'x'.repeat(200)}.ä`), 'invalid_topic');
  assert.ok(problem.message.length < 250);
});

test('several patterns match where any of them does, and none where there are none', () => {
  const wanted = compileTopics(['orders.created', 'invoices.*', 'audit.>']);
  for (const topic of ['orders.created', 'invoices.paid', 'audit.a.b']) assert.ok(wanted(topic), topic);
  for (const topic of ['orders', 'orders.deleted', 'invoices', 'invoices.a.b', 'audit']) assert.ok(!wanted(topic), topic);
  assert.ok(!compileTopics([])('orders'));
  refusal(() => compileTopics(['orders', 'a..b']), 'invalid_topic');
});

test('random patterns match as a plain reading of the grammar says', () => {
  const random = seeded(1);
  const tokens = (letters: string[]) => Array.from({ length: 1 + Math.floor(random() * 4) }, () => pick(random, letters));
  for (let round = 0; round < 5000; round += 1) {
    const pattern = tokens(['a', 'b', '*']).join('.') + (random() < 0.3 ? '.>' : '');
    const topic = tokens(['a', 'b']).join('.');
    const expected = new RegExp(`^${pattern.replaceAll('.', '\\.').replaceAll('*', '[^.]+').replace('>', '.+')}$`).test(topic);
    assert.equal(matchesTopic(pattern, topic), expected, `${pattern} ${topic}`);
  }
});

test('a pattern covers another where every topic of that one is one of its own', () => {
  const cases: [string, string, boolean][] = [
    ['>', 'a', true],
    ['>', '>', true],
    ['a.>', 'a.b', true],
    ['a.>', 'a.*.c', true],
    ['a.>', 'a.>', true],
    ['a.>', 'a', false],
    ['a.*', 'a.b', true],
    ['a.*', 'a.*', true],
    ['a.*', 'a.>', false],
    ['a.b', 'a.*', false],
    ['*.b', 'a.b', true],
    ['*.b', '*.b', true],
    ['*.b', '*.*', false],
    ['a.*.>', 'a.>', false],
    ['a.*.>', 'a.b.>', true],
    ['a.b', 'a.b.c', false],
    ['a.b.c', 'a.b', false],
  ];
  for (const [wide, narrow, covers] of cases) assert.equal(coversPattern(wide, narrow), covers, `${wide} ${narrow}`);
});
