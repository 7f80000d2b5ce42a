/** Lines out of chunks. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { linesOf } from './input.ts';

async function linesIn(chunks: readonly string[], bytesMax = 1_000): Promise<[number, string | undefined][]> {
  const source = (async function* () {
    for (const chunk of chunks) yield Buffer.from(chunk);
  })();
  const found: [number, string | undefined][] = [];
  for await (const { number, bytes } of linesOf(source, bytesMax))
    found.push([number, bytes === undefined ? undefined : Buffer.from(bytes).toString()]);
  return found;
}

describe('lines', () => {
  test('are put together over chunks, the last one without an end', async () => {
    assert.deepEqual(await linesIn(['a\nb', 'c', '\n', 'd']), [
      [1, 'a'],
      [2, 'bc'],
      [3, 'd'],
    ]);
  });

  test('that are blank are counted and passed over', async () => {
    assert.deepEqual(await linesIn(['a\n\n \r\nb\n\n']), [
      [1, 'a'],
      [4, 'b'],
    ]);
  });

  test('that are too long are named and not held', async () => {
    assert.deepEqual(await linesIn(['abc', 'def', 'ghi\nok\n', 'zzzzzzzz'], 5), [
      [1, undefined],
      [2, 'ok'],
      [3, undefined],
    ]);
  });

  test('of nothing are none', async () => {
    assert.deepEqual(await linesIn([]), []);
    assert.deepEqual(await linesIn(['\n']), []);
  });

  test('know how far the reading is', async () => {
    const source = (async function* () {
      yield Buffer.from('ab\ncd\ne');
    })();
    const read: number[] = [];
    for await (const { readBytes } of linesOf(source, 10)) read.push(readBytes);
    assert.deepEqual(read, [3, 6, 7]);
  });
});
