/** Places of one log in another. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createPlaces } from './places.ts';

const at = (n: number): string => String(n).padStart(16, '0');

/** Source positions with where they stand now. */
function placesOf(pairs: readonly (readonly [from: string, shard: string, to: string])[]) {
  const places = createPlaces(new Map(['a', 'b'].map((shard) => [shard, `${shard}-begin`])));
  for (const [from, shard, position] of pairs) places.add(from, { shard, position });
  return places;
}

describe('places', () => {
  test('of events one after the other are found, and of none before, between and after them', () => {
    const places = placesOf([3, 4, 5, 9, 10].map((n) => [at(n), 'a', at(n + 100)]));
    for (const n of [3, 4, 5, 9, 10]) assert.deepEqual(places.of(at(n)), { shard: 'a', position: at(n + 100) });
    for (const n of [1, 2, 6, 8, 11]) assert.equal(places.of(at(n)), undefined);
  });

  test('through a place end at the last event that stood there or before', () => {
    const places = placesOf([3, 4, 5, 9].map((n) => [at(n), 'a', at(n + 100)]));
    const through = (n: number): string | undefined => places.through(at(n)).get('a');
    assert.deepEqual([2, 3, 5, 7, 8, 9, 50].map(through), ['a-begin', ...[103, 105, 105, 105, 109, 109].map(at)]);
    assert.equal(places.through('').get('a'), 'a-begin');
  });

  test('are told of each shard', () => {
    const places = placesOf([
      [at(1), 'a', at(7)],
      [at(2), 'b', at(1)],
      [at(3), 'a', at(8)],
    ]);
    assert.deepEqual(places.of(at(2)), { shard: 'b', position: at(1) });
    assert.deepEqual(
      [...places.through(at(2))],
      [
        ['a', at(7)],
        ['b', at(1)],
      ],
    );
    assert.deepEqual(
      [...places.through(at(1))],
      [
        ['a', at(7)],
        ['b', 'b-begin'],
      ],
    );
  });

  test('need not be numbers, nor count up', () => {
    const places = placesOf([
      ['k:a1', 'a', 'x9'],
      ['k:a2', 'a', 'y1'],
      ['k:b', 'a', 'y7'],
    ]);
    assert.deepEqual(places.of('k:a2'), { shard: 'a', position: 'y1' });
    assert.equal(places.through('k:a9').get('a'), 'y1');
    assert.equal(places.of('k:a9'), undefined);
  });

  test('count past a change in the number of digits', () => {
    const places = placesOf([
      ['8', 'a', '98'],
      ['9', 'a', '99'],
    ]);
    assert.deepEqual(places.of('9'), { shard: 'a', position: '99' });
    const grown = placesOf([
      ['9', 'a', '9'],
      ['a', 'a', 'a'],
    ]);
    assert.deepEqual(grown.of('a'), { shard: 'a', position: 'a' });
  });

  test('of strays stand before everything', () => {
    const places = createPlaces(new Map([['a', 'begin']]));
    places.add(at(900), { shard: 'a', position: at(1) }, true);
    places.add(at(3), { shard: 'a', position: at(2) });
    assert.deepEqual(places.of(at(900)), { shard: 'a', position: at(1) });
    assert.equal(places.through(at(2)).get('a'), at(1));
    assert.equal(places.through(at(3)).get('a'), at(2));
  });
});
