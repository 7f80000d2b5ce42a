/** Workers that end by an error. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createHandClock } from '../../test/clock.ts';
import { AGAIN_MS, createRestarts, FAILURES_MAX, STEADY_MS } from './restarts.ts';

function world() {
  const clock = createHandClock();
  const waits: number[] = [];
  const givenUp: Error[] = [];
  const starts: number[] = [];
  const restarts = createRestarts({
    clock,
    onAgain: ({ againMs }) => void waits.push(againMs),
    onGivenUp: (error) => void givenUp.push(error),
  });
  const end = (worker: number, ranMs = 0): void =>
    restarts.ended(worker, { error: new Error('why'), ranMs, start: () => void starts.push(worker) });
  return { clock, waits, givenUp, starts, restarts, end };
}

test('a worker is started again, each time after twice as long, and the process ends where that does not help', async () => {
  const { clock, waits, givenUp, starts, end } = world();
  for (let n = 1; n <= FAILURES_MAX; n++) {
    end(2);
    assert.equal(starts.length, n - 1);
    await clock.advance(waits.at(-1) ?? 0);
    assert.equal(starts.length, n);
  }
  assert.deepEqual(waits, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
  assert.equal(givenUp.length, 0);
  end(2);
  assert.match(givenUp[0]?.message ?? '', /worker 2 ended 9 times in a row: why/);
  assert.equal(waits.length, FAILURES_MAX);
});

test('one that ran for a while has not failed in a row, and others are counted by themselves', () => {
  const { waits, end } = world();
  end(1);
  end(1);
  end(2);
  end(1, STEADY_MS);
  assert.deepEqual(waits, [AGAIN_MS, 2 * AGAIN_MS, AGAIN_MS, AGAIN_MS]);
});

test('while the process stops nothing is started again', async () => {
  const { clock, starts, restarts, end } = world();
  end(1);
  restarts.stop();
  await clock.advance(60_000);
  assert.deepEqual(starts, []);
});
