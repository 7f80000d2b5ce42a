/** Pace: how long a hurry lasts, and whose turn of the event loop it is. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createHandClock } from '../test/clock.ts';
import { LIMITS } from './limits.ts';
import { createPace } from './pace.ts';

test('a hurry ends when no interactive event came for a while', async () => {
  const clock = createHandClock();
  const pace = createPace({ clock, limits: { ...LIMITS, hurryMs: 100 } });
  assert.ok(!pace.isHurried);
  pace.hurry();
  await clock.advance(99);
  assert.ok(pace.isHurried);
  pace.hurry();
  await clock.advance(99);
  assert.ok(pace.isHurried);
  await clock.advance(1);
  assert.ok(!pace.isHurried);
});

test('turns of their own come in order, one in each turn of the event loop', async () => {
  const timers: (() => void)[] = [];
  const after = (_delayMs: number, callback: () => void) => {
    timers.push(callback);
    return { cancel: () => undefined };
  };
  const pace = createPace({ clock: { ...createHandClock(), after }, limits: LIMITS });
  const had: string[] = [];
  for (const name of ['a', 'b', 'c']) void pace.ownTurn().then(() => had.push(name));
  for (const expected of [['a'], ['a', 'b'], ['a', 'b', 'c']]) {
    assert.equal(timers.length, 1);
    timers.shift()?.();
    await Promise.resolve();
    assert.deepEqual(had, expected);
  }
  assert.equal(timers.length, 0);
  void pace.ownTurn();
  assert.equal(timers.length, 1);
});
