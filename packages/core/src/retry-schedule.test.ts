import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Named, refusal, seeded, vectors } from '../test/vectors.ts';
import { compileSchedule, nextDelayMs, parseRetryAfter } from './retry-schedule.ts';

type Retry = { schedule?: unknown; jitter?: unknown };
const cases = vectors<{
  schedules: (Named & { retry: Retry; scheduleMs: number[]; jitter: number })[];
  refused: (Named & { retry: Retry; pointer: string })[];
  delays: (Named & {
    scheduleMs: number[];
    jitter: number;
    attempt: number;
    random: number;
    retryAfterMs?: number;
    delayMs: number | null;
  })[];
  retryAfter: (Named & { value: string; nowMs: number; ms: number | null })[];
}>('retry');

for (const { name, retry, scheduleMs, jitter } of cases.schedules) {
  test(`a schedule is read: ${name}`, () => assert.deepEqual(compileSchedule(retry), { scheduleMs, jitter }));
}

for (const { name, retry, pointer } of cases.refused) {
  test(`a schedule is refused: ${name}`, () => {
    refusal(() => compileSchedule(retry), 'invalid_schedule', pointer);
    refusal(() => compileSchedule(retry, '/retry'), 'invalid_schedule', `/retry${pointer}`);
  });
}

for (const { name, delayMs, ...question } of cases.delays) {
  test(`the next delay: ${name}`, () => assert.equal(nextDelayMs(question) ?? null, delayMs));
}

for (const { name, value, nowMs, ms } of cases.retryAfter) {
  test(`Retry-After: ${name}`, () => assert.equal(parseRetryAfter(value, nowMs) ?? null, ms));
}

test('what JSON can not hold is refused too', () => {
  for (const step of [Number.NaN, Number.POSITIVE_INFINITY, {}, [], true, 5n, undefined]) {
    refusal(() => compileSchedule({ schedule: [step] }), 'invalid_schedule', '/schedule/0');
  }
  // A hole in a list is a missing step, not a skipped one.
  refusal(() => compileSchedule({ schedule: Array(2) }), 'invalid_schedule', '/schedule/0');
  refusal(() => compileSchedule({ jitter: Number.NaN }), 'invalid_schedule', '/jitter');
});

test('a delay stays inside its jitter and is a whole number, whatever chance says', () => {
  const random = seeded(7);
  const { scheduleMs, jitter } = compileSchedule();
  for (let round = 0; round < 10_000; round += 1) {
    const attempt = 1 + Math.floor(random() * scheduleMs.length);
    const planned = scheduleMs[attempt - 1] ?? 0;
    const delayMs = nextDelayMs({ scheduleMs, jitter, attempt, random: random() });
    assert.ok(delayMs !== undefined && Number.isSafeInteger(delayMs));
    assert.ok(delayMs >= planned * 0.8 && delayMs <= planned * 1.2);
  }
});

test('a missing Retry-After is none', () => {
  assert.equal(parseRetryAfter(undefined, 0), undefined);
  assert.equal(parseRetryAfter(null, 0), undefined);
});
