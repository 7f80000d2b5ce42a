/** The bucket: exact, however it is asked. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createHandClock } from '../../test/clock.ts';
import { createBucket } from './bucket.ts';

test('gives its burst at once and then exactly its rate, whatever the steps in which time passes', async () => {
  for (const stepMs of [1, 7, 333, 1_000]) {
    const clock = createHandClock();
    const bucket = createBucket({ perSecond: 7, burst: 35, clock });
    let taken = 0;
    const takeAll = (): void => {
      for (; bucket.waitMs(1) === 0; taken++) bucket.take(1);
    };
    takeAll();
    assert.equal(taken, 35);
    for (let ms = 0; ms < 60_000; ms += stepMs) {
      await clock.advance(Math.min(stepMs, 60_000 - ms));
      takeAll();
    }
    assert.equal(taken, 35 + 7 * 60, `in steps of ${stepMs} ms`);
  }
});

test('says how long to wait, to the millisecond: a moment before it is not there, and then it is', async () => {
  const clock = createHandClock();
  const bucket = createBucket({ perSecond: 3, burst: 15, clock });
  bucket.take(15);
  const waitMs = bucket.waitMs(2);
  assert.equal(waitMs, 667);
  await clock.advance(waitMs - 1);
  assert.equal(bucket.waitMs(2), 1);
  await clock.advance(1);
  assert.equal(bucket.waitMs(2), 0);
  assert.equal(bucket.left, 2);
});

test('lets more than it holds in when it is full, and then waits for all of it', async () => {
  const clock = createHandClock();
  const bucket = createBucket({ perSecond: 10, burst: 50, clock });
  bucket.take(1);
  assert.ok(bucket.waitMs(1_000) > 0, 'not full');
  assert.equal(bucket.waitMs(999, 1), 0, 'full but for what the same one took before');
  bucket.take(999);
  assert.equal(bucket.left, 0);
  assert.equal(bucket.waitMs(1), 95_100);
});

test('is full after a long rest, and no fuller', async () => {
  const clock = createHandClock();
  const bucket = createBucket({ perSecond: 1_000_000_000, burst: 5_000_000_000, clock });
  await clock.advance(86_400_000);
  assert.equal(bucket.left, 5_000_000_000);
});
