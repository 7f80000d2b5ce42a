import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pick, randomJson, refusal, seeded } from '../test/vectors.ts';
import { hasMoreItems, isJson, itemsAt, JSON_NODES_MAX, membersAt, objectsAt, parseJson } from './json-scan.ts';

const bytes = (text: string) => Buffer.from(text);

test('members and items stand where they were written', () => {
  const random = seeded(31);
  const spaces = ['', ' ', '\n\t'];
  const list = <T>(make: () => T) => Array.from({ length: Math.floor(random() * 5) }, make);
  for (let round = 0; round < 5000; round += 1) {
    const space = pick(random, spaces);
    const items = list(() => JSON.stringify(randomJson(random, 4), null, pick(random, [0, 2, '\t'])));
    const array = bytes(`${space}[${space}${items.join(`${space},${space}`)}${space}]${space}`);
    const cut = (text: Buffer, { start, end }: { start: number; end: number }) => text.subarray(start, end).toString();
    assert.deepEqual(
      itemsAt(array, 0).map((span) => cut(array, span)),
      items,
    );
    // Compared as text: V8's JSON.parse may take the name "\"" for "\\" after it has seen that one (nodejs/node issue 63785).
    const members = items.map((item) => [pick(random, ['', 'a', '"', '\\', '\\"', 'é', '__proto__', '\0', '}']), item] as const);
    const text = bytes(
      `{${space}${members.map(([name, item]) => `${JSON.stringify(name)}${space}:${space}${item}`).join(`${space},${space}`)}${space}}`,
    );
    assert.deepEqual(
      membersAt(text, 0).map((member) => [member.name, cut(text, member)]),
      members,
    );
    const objects = [...items, text.toString()];
    assert.deepEqual(
      objectsAt(bytes(`[${objects.join(',')}]`), 0).map((found) => found.map(({ name }) => name)),
      objects.map((item) => (item.trim().startsWith('{') ? membersAt(bytes(item), 0).map(({ name }) => name) : [])),
    );
  }
});

test('a string ends at its quote, wherever that stands and whatever is escaped before it', () => {
  const random = seeded(47);
  for (let round = 0; round < 2000; round += 1) {
    const piece = () =>
      pick(random, ['\\\\', '"', '\\', 'a long stretch of plain text without any of them ', '{', 'é', '\\u0041'.slice(1)]);
    const value = Array.from({ length: Math.floor(random() * 12) }, piece).join('');
    const text = JSON.stringify({ [value]: value, after: [value] });
    const spans = membersAt(bytes(text), 0).map(({ name, start, end }) => [name, bytes(text).subarray(start, end).toString()]);
    assert.deepEqual(spans, [
      [value, JSON.stringify(value)],
      ['after', JSON.stringify([value])],
    ]);
  }
});

test('a span ends with its value, white space around it left out', () => {
  const text = bytes('  { "a" : -1.5e3 , "b\\"\\\\":"}" ,"c":[ {} , 2 ] }');
  const spans = membersAt(text, 0).map(({ name, start, end }) => [name, text.subarray(start, end).toString()]);
  assert.deepEqual(spans, [
    ['a', '-1.5e3'],
    ['b"\\', '"}"'],
    ['c', '[ {} , 2 ]'],
  ]);
  assert.deepEqual(membersAt(bytes('{ }'), 0), []);
  assert.deepEqual(itemsAt(bytes('[\n]'), 0), []);
  assert.equal(membersAt(bytes('{"a":1,"a":2}'), 0).length, 2);
});

test('names are read alike in the text and in its value, also where they are written with a backslash', () => {
  for (let round = 0; round < 100; round++) {
    for (const text of [String.raw`{"h":[],"\\":0}`, String.raw`{"h":1,"\"":2}`, String.raw`{"\u0022":1,"\u0061":2}`]) {
      const names = membersAt(bytes(text), 0).map(({ name }) => name);
      assert.deepEqual(Object.keys(parseJson(bytes(text)) as object), names, text);
    }
  }
});

test('what is no JSON is refused with its reason', () => {
  for (const text of ['', ' ', '{', '{"a":1,}', "{'a':1}", '01', 'NaN', '"\n"', '[1]x', '\ufeff{}'])
    refusal(() => parseJson(bytes(text)), 'invalid_json');
  for (const broken of [[0xff], [0x22, 0xc3, 0x22], [0x22, 0xed, 0xa0, 0x80, 0x22], [0x22, 0xc0, 0xaf, 0x22]]) {
    assert.match(refusal(() => parseJson(Uint8Array.from(broken)), 'invalid_json').message, /UTF-8/);
  }
});

test('depth is bounded before the text is parsed', () => {
  parseJson(bytes(`[${'[{}],'.repeat(500)}0]`));
  parseJson(bytes(`${'['.repeat(128)}${']'.repeat(128)}`));
  refusal(() => parseJson(bytes(`${'['.repeat(129)}${']'.repeat(129)}`)), 'invalid_json');
  assert.ok(isJson(bytes(`${'['.repeat(5000)}${']'.repeat(5000)}`)));
  assert.ok(!isJson(bytes('{')));
});

test('a list is known to be too long before it is parsed', () => {
  const random = seeded(53);
  for (let round = 0; round < 2000; round += 1) {
    const items = Array.from({ length: Math.floor(random() * 6) }, () => randomJson(random, 4));
    const text = bytes(` ${JSON.stringify(items, null, pick(random, [0, 2]))}`);
    assert.ok(!hasMoreItems(text, items.length), String(text));
    if (items.length > 0) assert.ok(hasMoreItems(text, items.length - 1), String(text));
  }
  assert.ok(hasMoreItems(bytes(`[${'{},'.repeat(1_000)}`), 1_000));
  for (const text of ['', '{"a":[1,2,3]}', '"[1,2"', '[', '[ ]', '[[1,2],"1,2"', '["\\",1', '1,2,3'])
    assert.ok(!hasMoreItems(bytes(text), 2), text);
});

test('so is one of more objects and arrays than a parser makes in good time', () => {
  const textOf = (nodes: number) => Buffer.from(`[${'{},'.repeat(nodes - 2)}{}]`);
  assert.equal((parseJson(textOf(JSON_NODES_MAX)) as unknown[]).length, JSON_NODES_MAX - 1);
  assert.throws(() => parseJson(textOf(JSON_NODES_MAX + 1)), { code: 'invalid_json', message: /more than 500000/ });
});
