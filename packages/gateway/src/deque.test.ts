/** The deque does what a plain array does, however it is used. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chance } from '../test/clock.ts';
import { createDeque } from './deque.ts';

for (const seed of [1, 2, 3]) {
  test(`pushes, shifts and looks of every kind agree with an array: seed ${seed}`, () => {
    const random = chance(seed);
    const deque = createDeque<number>();
    let model: number[] = [];
    let next = 0;
    // In waves, so that it grows past where it compacts and runs empty again.
    for (let step = 0; step < 20_000; step++) {
      const grows = Math.floor(step / 2_500) % 2 === 0;
      if (random() < (grows ? 0.8 : 0.2)) {
        deque.push(++next);
        model.push(next);
      } else assert.equal(deque.shift(), model.shift());
      if (random() < 0.0005) {
        deque.clear();
        model = [];
      }
      assert.equal(deque.size, model.length);
      assert.equal(deque.peek(), model[0]);
      const index = Math.floor(random() * (model.length + 2));
      assert.equal(deque.at(index), model[index]);
      if (step % 500 === 0) assert.deepEqual([...deque], model);
    }
  });
}

test('undefined is a value like any other', () => {
  const deque = createDeque<undefined>();
  deque.push(undefined);
  assert.equal(deque.size, 1);
  deque.shift();
  assert.equal(deque.size, 0);
  assert.equal(deque.shift(), undefined);
  assert.equal(deque.size, 0);
});
