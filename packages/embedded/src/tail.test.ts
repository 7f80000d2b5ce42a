import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LogRecord } from '@millrace/gateway/ports/log';
import { positionOf } from './position.ts';
import { createTail, TAIL_RECORDS_MAX } from './tail.ts';
import { entry } from './testing.ts';

const { event } = entry();
const all = { wanted: () => true, hidden: () => false, limit: 100_000, maxBytes: Infinity };

function record(offset: number, size = 1): LogRecord {
  return { shard: '0', position: positionOf(offset), timeMs: offset, environment: 'default', app: 'shop', event, size };
}

test('the tail reads what was added since, and leaves what is older to the log', () => {
  const tail = createTail(10, 1_000);
  for (let offset = 11; offset <= 15; offset++) tail.add(record(offset));
  assert.equal(tail.read({ ...all, after: 9 }), undefined);
  assert.deepEqual(
    tail.read({ ...all, after: 10 })?.records.map(({ timeMs }) => timeMs),
    [11, 12, 13, 14, 15],
  );
  assert.deepEqual(tail.read({ ...all, after: 15 }), { records: [], through: positionOf(15), atEnd: true });
  assert.deepEqual(tail.read({ ...all, after: 99 }), { records: [], through: positionOf(99), atEnd: true });
  assert.deepEqual([tail.at(10), tail.at(11)?.timeMs, tail.at(16)], [undefined, 11, undefined]);
});

test('the tail keeps at most so many bytes and records, the newest', () => {
  const tail = createTail(0, 1_000);
  for (let offset = 1; offset <= 5_000; offset++) tail.add(record(offset, 10));
  assert.deepEqual([tail.after, tail.end], [4_900, 5_000]);
  assert.deepEqual(
    tail.read({ ...all, after: 4_997 })?.records.map(({ timeMs }) => timeMs),
    [4_998, 4_999, 5_000],
  );
  for (let offset = 5_001; offset <= 5_000 + TAIL_RECORDS_MAX + 10; offset++) tail.add(record(offset, 0));
  assert.equal(tail.end - tail.after, TAIL_RECORDS_MAX);
});

test('an event larger than the tail is left to the log', () => {
  const tail = createTail(0, 1_000);
  tail.add(record(1, 2_000));
  assert.deepEqual([tail.after, tail.end], [1, 1]);
  tail.add(record(2));
  assert.equal(tail.at(2)?.timeMs, 2);
});

test('a page of the tail ends before the record that has no room, and reports what is hidden up to there', () => {
  const tail = createTail(0, 1_000);
  for (let offset = 1; offset <= 10; offset++) tail.add(record(offset));
  const hidden = ({ timeMs }: LogRecord) => timeMs === 2 || timeMs === 5;
  const wanted = ({ timeMs }: LogRecord) => timeMs !== 4;
  const page = tail.read({ ...all, wanted, hidden, limit: 2, after: 0 });
  assert.deepEqual(
    page?.records.map(({ timeMs }) => timeMs),
    [1, 3],
  );
  assert.deepEqual([page?.through, page?.atEnd], [positionOf(5), false]);
  assert.deepEqual(page?.expired, { last: { position: positionOf(5), timeMs: 5 }, firstTimeMs: 2, count: 2 });
});

test('what is gone from the log is gone from the tail', () => {
  const tail = createTail(0, 1_000);
  for (let offset = 1; offset <= 10; offset++) tail.add(record(offset));
  tail.forget(4);
  assert.equal(tail.read({ ...all, after: 3 }), undefined);
  assert.deepEqual(tail.read({ ...all, after: 4 })?.records.length, 6);
  tail.forget(100);
  assert.deepEqual([tail.after, tail.end], [10, 10]);
});
