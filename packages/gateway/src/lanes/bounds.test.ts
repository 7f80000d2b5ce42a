/** Bounds: a delivery starts only when there is room for the worst that may become of it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LIMITS } from '../limits.ts';
import type { Subscription, SubscriptionBounds } from '../ports/directory.ts';
import { createBounds } from './bounds.ts';

const EVENT_MAX = LIMITS.payloadBytes + LIMITS.attributeBytes;

function made(bounds: Partial<SubscriptionBounds> = {}) {
  const settings = { bounds: { parked: 2, parkedBytes: EVENT_MAX + 100, held: 2, deadLetters: 3, ...bounds } };
  return { settings, bounds: createBounds({ subscription: () => settings as unknown as Subscription, limits: LIMITS }) };
}

test('room is kept while a delivery is under way, so that no two count on the same', () => {
  const { bounds } = made();
  bounds.reserve(10, false);
  assert.ok(bounds.hasRoom(10, false));
  bounds.reserve(10, false);
  assert.ok(!bounds.hasRoom(10, false));
  bounds.release(10, false);
  assert.ok(bounds.hasRoom(10, false));
});

test('one that is parked already needs no new room to park', () => {
  const { bounds } = made();
  bounds.counts.parked = 2;
  assert.ok(!bounds.hasRoom(10, false));
  assert.ok(bounds.hasRoom(10, true));
});

test('bytes are bounded as rows are', () => {
  const { bounds } = made({ parked: 100 });
  bounds.counts.parkedBytes = 60;
  bounds.reserve(EVENT_MAX, false);
  assert.ok(bounds.hasRoomToPark(40));
  assert.ok(!bounds.hasRoomToPark(41));
});

test('each that is under way may become a dead letter, parked before or not', () => {
  const { bounds } = made({ parked: 100 });
  bounds.counts.deadLetters = 1;
  bounds.reserve(1, true);
  assert.ok(bounds.hasRoom(1, true));
  bounds.reserve(1, false);
  assert.ok(!bounds.hasRoom(1, true));
  assert.ok(!bounds.hasRoomForDeadLetter());
  bounds.release(1, true);
  assert.ok(bounds.hasRoom(1, false));
});

test('one that was written down while under way uses its room and no second', () => {
  const { bounds } = made();
  bounds.reserve(10, false);
  bounds.wroteRow(10);
  bounds.counts.parked++;
  assert.ok(bounds.hasRoomToPark(10));
  bounds.reserve(10, false);
  assert.ok(!bounds.hasRoomToPark(10));
  bounds.release(10, true);
  bounds.release(10, false);
  assert.ok(bounds.hasRoomToPark(10), 'nothing reserved is left over');
  assert.ok(!bounds.hasRoomToPark(EVENT_MAX + 101));
});

test('the bound at which a subscription stands is named', () => {
  for (const [name, value] of [
    ['parked', 2],
    ['held', 2],
    ['deadLetters', 3],
    ['parkedBytes', 101],
  ] as const) {
    const { bounds, settings } = made();
    assert.equal(bounds.stoppedBy(), undefined);
    bounds.counts[name] = value;
    assert.equal(bounds.stoppedBy(), name);
    settings.bounds = { parked: 10, parkedBytes: 1e9, held: 10, deadLetters: 10 };
    assert.equal(bounds.stoppedBy(), undefined, 'a larger bound counts at once');
  }
});
