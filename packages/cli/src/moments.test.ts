/** Times as people write them. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { laterOf, momentOf, timeOf } from './moments.ts';
import type { Refusal } from './refusal.ts';

const how = { option: '--from', nowMs: Date.parse('2026-11-23T12:00:00Z') };

describe('a moment', () => {
  test('is a word, a time, a date or how long ago', () => {
    for (const [text, time] of [
      ['latest', 'latest'],
      ['earliest', 'earliest'],
      ['2h', '2026-11-23T10:00:00.000Z'],
      ['90s', '2026-11-23T11:58:30.000Z'],
      ['7d', '2026-11-16T12:00:00.000Z'],
      ['2026-11-01', '2026-11-01T00:00:00.000Z'],
      ['2026-11-23T13:20:00+01:00', '2026-11-23T12:20:00.000Z'],
    ] as const)
      assert.equal(momentOf(text, how), time);
  });

  test('that is none is refused by the name of its option', () => {
    for (const text of ['yesterday', '', '12', '2026-13-01', '5x', '-1h'])
      assert.throws(
        () => momentOf(text, how),
        ({ message, exit }: Refusal) => message.startsWith('--from ') && exit === 2,
      );
  });

  test('that ends something is a time', () => {
    assert.equal(timeOf('1h', how), '2026-11-23T11:00:00.000Z');
    assert.throws(() => timeOf('latest', how), /is a time/);
  });

  test('to come is counted from now', () => {
    assert.equal(laterOf('90d', how), '2027-02-21T12:00:00.000Z');
    assert.equal(laterOf('2027-01-01', how), '2027-01-01T00:00:00.000Z');
  });
});
