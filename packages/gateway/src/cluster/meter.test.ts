/** Deliveries counted for each slot, and what comes of the counts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createHandClock } from '../../test/clock.ts';
import { createMeter } from './meter.ts';

test('a steady slot is known from its first reading, a new load after about a minute, and one that ended is forgotten', async () => {
  const clock = createHandClock();
  let started = 0;
  const meter = createMeter({ clock, started: (slot) => (slot === 7 ? started : 0) });
  const minute = async (perSecond: number): Promise<number> => {
    for (let at = 0; at < 60; at++) {
      await clock.advance(1_000);
      started += perSecond;
      meter.read();
    }
    return meter.rateOf(7);
  };
  await clock.advance(1_000);
  started = 100;
  meter.read();
  assert.deepEqual([meter.rateOf(7), meter.rateOf(8)], [100, 0]);
  assert.ok(Math.abs((await minute(100)) - 100) < 1e-9);
  const after = await minute(0);
  assert.ok(after > 25 && after < 50, String(after));
  for (let at = 0; at < 10; at++) await minute(0);
  assert.ok(meter.rateOf(7) < 0.01);
});

test('what a slot that was just taken catches up with is no measure of it, nor what it had when it was here before', async () => {
  const clock = createHandClock();
  let started = 0;
  const meter = createMeter({ clock, started: () => started });
  const reading = async (deliveries: number): Promise<number> => {
    await clock.advance(1_000);
    started += deliveries;
    meter.read();
    return meter.rateOf(0);
  };
  assert.equal(await reading(10), 10);
  meter.begin([0], 1_000);
  assert.equal(meter.rateOf(0), 0);
  assert.equal(await reading(5_000), 0);
  assert.equal(await reading(20), 20);
  meter.read();
  assert.equal(meter.rateOf(0), 20);
});
