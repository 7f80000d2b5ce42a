import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pick, randomJson, refusal, seeded } from '../test/vectors.ts';
import { isJson, itemsAt, membersAt, parseJson } from './json-scan.ts';

const bytes = (text: string) => Buffer.from(text);

test('members and items stand where JSON.parse finds them', () => {
  const random = seeded(31);
  for (let round = 0; round < 5000; round += 1) {
    const value = randomJson(random, 5);
    const text = bytes(pick(random, ['', ' ', '\n']) + JSON.stringify(value, null, pick(random, [0, 2, '\t'])));
    const cut = ({ start, end }: { start: number; end: number }): unknown => JSON.parse(text.subarray(start, end).toString());
    if (Array.isArray(value)) assert.deepEqual(itemsAt(text, 0).map(cut), JSON.parse(JSON.stringify(value)));
    else if (typeof value === 'object' && value !== null) {
      const members = membersAt(text, 0).map((member) => [member.name, cut(member)]);
      assert.deepEqual(members, Object.entries(JSON.parse(JSON.stringify(value)) as object));
    }
  }
});

test('a span ends with its value, white space around it left out', () => {
  const text = bytes('  { "a" : -1.5e3 , "b\\"\\\\":"}" ,"c":[ {} , 2 ] }');
  const spans = membersAt(text, 0).map(({ name, start, end }) => [name, text.subarray(start, end).toString()]);
  assert.deepEqual(spans, [['a', '-1.5e3'], ['b"\\', '"}"'], ['c', '[ {} , 2 ]']]);
  assert.deepEqual(membersAt(bytes('{ }'), 0), []);
  assert.deepEqual(itemsAt(bytes('[\n]'), 0), []);
  assert.equal(membersAt(bytes('{"a":1,"a":2}'), 0).length, 2);
});

test('what is no JSON is refused with its reason', () => {
  for (const text of ['', ' ', '{', '{"a":1,}', "{'a':1}", '01', 'NaN', '"\n"', '[1]x', '\ufeff{}']) refusal(() => parseJson(bytes(text)), 'invalid_json');
  for (const broken of [[0xff], [0x22, 0xc3, 0x22], [0x22, 0xed, 0xa0, 0x80, 0x22], [0x22, 0xc0, 0xaf, 0x22]]) {
    assert.match(refusal(() => parseJson(Uint8Array.from(broken)), 'invalid_json').message, /UTF-8/);
  }
});

test('depth is bounded before the text is parsed', () => {
  parseJson(bytes(`${'['.repeat(128)}${']'.repeat(128)}`));
  refusal(() => parseJson(bytes(`${'['.repeat(129)}${']'.repeat(129)}`)), 'invalid_json');
  assert.ok(isJson(bytes(`${'['.repeat(5000)}${']'.repeat(5000)}`)));
  assert.ok(!isJson(bytes('{')));
});
