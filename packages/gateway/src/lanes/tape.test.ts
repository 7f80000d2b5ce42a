/** The tape and the keys of a lane: where its cursor stands, and who waits behind whom. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chance } from '../../test/clock.ts';
import type { Delivery } from './delivery.ts';
import { createKeys } from './keys.ts';
import type { Place } from './tail.ts';
import { createTape } from './tape.ts';

const place = (at: number): Place => ({ position: String(at).padStart(4, '0'), timeMs: at });

function delivery(at: number, row: Delivery['row'] = 'none'): Delivery {
  const { position, timeMs } = place(at);
  return {
    position,
    timeMs,
    size: 1,
    idHash: undefined,
    key: 'k',
    record: undefined,
    kept: undefined,
    attempts: 0,
    attemptsBefore: 0,
    cause: '',
    dueMs: 0,
    row,
    state: 'ready',
    takenMs: 0,
    startedMs: 0,
    passed: false,
    before: place(at - 1),
  };
}

test('the cursor stands just before the oldest that is open, wherever others end', () => {
  const random = chance(7);
  const tape = createTape();
  const open: number[] = [];
  let read = 0;
  for (let step = 0; step < 2_000; step++) {
    if (random() < 0.5) {
      tape.push(delivery(++read));
      open.push(read);
    } else if (open.length > 0) {
      const [ended = 0] = open.splice(Math.floor(random() * open.length), 1);
      for (const one of tape) if (one.timeMs === ended) one.passed = true;
      tape.advance();
    }
    assert.equal(tape.cursor(place(read)).timeMs, open.length === 0 ? read : Math.min(...open) - 1);
    assert.ok(tape.size >= open.length);
  }
  assert.deepEqual(
    [...tape].filter(({ passed }) => !passed).map(({ timeMs }) => timeMs),
    open.toSorted((a, b) => a - b),
  );
});

test('of a key one is the head and the others follow in their order; a key nobody uses is forgotten', () => {
  const keys = createKeys();
  const [first, second, third] = [delivery(1), delivery(2), delivery(3)];
  keys.lead('a', first);
  keys.follow('a', second);
  keys.follow('a', third);
  assert.ok(keys.isBusy('a') && !keys.isBusy('b'));
  assert.equal(keys.release('a'), second);
  assert.equal(keys.head('a'), second);
  assert.equal(keys.release('a'), third);
  assert.equal(keys.release('a'), undefined);
  assert.equal(keys.size, 0);
  assert.equal(keys.release('a'), undefined);
});

test('a head that left for the ledger still leads', () => {
  const keys = createKeys();
  keys.lead('a', delivery(1));
  assert.ok(!keys.headHasRow('a'));
  keys.setHead('a', undefined);
  assert.ok(keys.isBusy('a') && keys.headHasRow('a'));
  keys.setHead('a', delivery(1, 'parked'));
  assert.ok(keys.headHasRow('a'));
  keys.setHead('b', delivery(2));
  keys.follow('b', delivery(2));
  assert.ok(!keys.isBusy('b') && !keys.headHasRow('b'));
});
