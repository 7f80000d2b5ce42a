import assert from 'node:assert/strict';
import { test } from 'node:test';
import { refusal } from '../test/vectors.ts';
import { formatDuration, parseDurationMs, readDurationMs } from './duration.ts';

test('a duration is read in every unit, and a number is milliseconds', () => {
  const read = ['500ms', '5s', '5m', '2h', '1d', '0s', '0.5s', 1500].map(readDurationMs);
  assert.deepEqual(read, [500, 5000, 300_000, 7_200_000, 86_400_000, 0, 500, 1500]);
});

test('what is no duration is undefined', () => {
  for (const value of [
    '',
    '5',
    's',
    '5 s',
    '5S',
    '-5s',
    '1e3s',
    '5s5',
    '0x5s',
    '.5s',
    Number.NaN,
    -1,
    Number.POSITIVE_INFINITY,
    2 ** 60,
    null,
    undefined,
    {},
    ['5s'],
  ]) {
    assert.equal(readDurationMs(value), undefined, JSON.stringify(value));
  }
});

test('a refused duration says code and pointer of its caller', () => {
  refusal(() => parseDurationMs('x', { maxMs: 10, code: 'invalid_schedule', pointer: '/a' }), 'invalid_schedule', '/a');
  refusal(() => parseDurationMs('11ms', { maxMs: 10 }), 'invalid_request');
  assert.equal(parseDurationMs('10ms', { maxMs: 10 }), 10);
});

test('a formatted duration reads back to the same', () => {
  for (const ms of [0, 1, 999, 1000, 90_000, 3_600_000, 86_400_000, 90_000_000, 86_400_001]) {
    assert.equal(readDurationMs(formatDuration(ms)), ms);
  }
  assert.equal(formatDuration(86_400_000), '1d');
  assert.equal(formatDuration(90_000), '90s');
});
