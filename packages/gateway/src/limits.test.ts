import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LIMIT_TABLE, LIMITS, limitsOf } from './limits.ts';

test('every default lies in its range, and every limit says why', () => {
  for (const [name, { value, min, max, why }] of Object.entries(LIMIT_TABLE)) {
    assert.ok(value >= min && value <= max, name);
    assert.match(why, /^[A-Z].{20,}\.$/, name);
  }
});

test('what is set takes the place of the default', () => {
  const limits = limitsOf({ payloadBytes: 10_000 });
  assert.deepEqual([limits.payloadBytes, limits.inFlight], [10_000, LIMITS.inFlight]);
});

test('a name that is none and a value out of its range are refused', () => {
  for (const given of [
    { payloads: 1 },
    { toString: 1 },
    { payloadBytes: 1 },
    { payloadBytes: 1e9 },
    { inFlight: 1.5 },
    { inFlight: Number.NaN },
  ])
    assert.throws(() => limitsOf(given), { code: 'invalid_request' }, JSON.stringify(given));
});
