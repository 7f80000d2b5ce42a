import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createHandClock, handWorld, START_MS } from '../../test/clock.ts';
import { createSteady } from './steady.ts';

test('it goes on where the wall clock is set back, and follows it ahead', async () => {
  const clock = createHandClock();
  const steady = createSteady(clock);
  clock.jump(-3_600_000);
  await clock.advance(10);
  assert.equal(steady.now(), START_MS + 10);
  clock.jump(7_200_000);
  assert.equal(steady.now(), START_MS + 3_600_010);
  steady.atLeast(START_MS);
  assert.equal(steady.now(), START_MS + 3_600_010);
  steady.atLeast(START_MS + 9_000_000);
  assert.equal(steady.now(), START_MS + 9_000_000);
});

test('it is a whole number of milliseconds, as stores keep times, though the monotonic clock has fractions', () => {
  let elapsedMs = 0.4;
  const steady = createSteady({ now: () => START_MS, monotonic: () => elapsedMs });
  steady.atLeast(START_MS + 1_000);
  for (let n = 0; n < 1_000; n++) {
    const before = steady.now();
    elapsedMs += 0.7003;
    assert.ok(Number.isInteger(steady.now()), String(steady.now()));
    assert.ok(steady.now() >= before);
  }
});

for (const restarted of [false, true]) {
  test(`a retry comes in time although the clock was set back by an hour${restarted ? ' at a restart' : ''}`, async (t) => {
    const world = await handWorld(t);
    await world.subscribe('s', { retry: { schedule: ['2s', '2s'], jitter: 0 }, breaker: false });
    world.sender.script = () => 500;
    await world.publish('1');
    world.clock.jump(-3_600_000);
    if (restarted) await world.restart('abandon');
    await world.clock.advance(2_000);
    assert.equal(world.sender.sent.length, 2);
    await world.clock.advance(1_999);
    assert.equal(world.sender.sent.length, 2);
    await world.clock.advance(1);
    assert.equal(world.sender.sent.length, 3);
  });
}
