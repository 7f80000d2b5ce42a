/** Ids of deliveries: what goes in comes out, also by way of an address. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { idOf, placeIn } from './delivery-ids.ts';

const LANE = 'sub_2al2k5x7m3qzr4w6y2b3c5d7e2.p0';

test('the id of a delivery can be read', () => {
  assert.equal(idOf({ lane: LANE, shard: 'main', position: '0000000000000042' }), `${LANE}~main~0000000000000042`);
});

test('whatever a log calls its shards and positions, an id is a part of an address and means the same again', () => {
  for (const shard of ['0', '', 'persistent://public/default/orders-partition-0', "a~b%7E%25!'()*", 'größe 5?#&;', '%', '..'])
    for (const position of ['0000000000000042', '42:7:-1', '']) {
      const place = { lane: LANE, shard, position };
      const id = idOf(place);
      assert.match(id, /^[\w.%~-]+$/);
      assert.deepEqual(placeIn(id), place);
      assert.equal(new URL(`http://gateway/v1/deliveries/${id}`).pathname, `/v1/deliveries/${id}`);
    }
});

test('what is no id of a delivery means nothing', () => {
  for (const id of ['', 'x', 'a~b', 'a~b~c~d', 'a~%~c', 'a~%ff~c', 'WyJhIiwiYiIsImMiXQ'])
    assert.equal(placeIn(id), undefined, id);
});
