/** The breaker: what counts as evidence that an endpoint is down, and what closes it again. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type BreakerSettings, createBreaker, type Evidence } from './breaker.ts';

const SETTINGS: BreakerSettings = {
  thresholds: { failures: 3, events: 4 },
  scheduleMs: [1_000, 60_000, 600_000],
  jitter: 0,
  probeMsMax: 300_000,
};

/** Notes one after the other, `evidence event`; true where one of them turned it. */
function noted(notes: string, settings: Partial<BreakerSettings> = {}) {
  const breaker = createBreaker(() => ({ ...SETTINGS, ...settings }));
  const turned = notes.split(', ').map((note) => breaker.note(note.split(' ')[0] as Evidence, note.split(' ')[1] ?? ''));
  return { breaker, turned };
}

const CASES: readonly (readonly [title: string, notes: string, open: boolean])[] = [
  ['three failures to connect in a row open it', 'unreachable 1, unreachable 2, unreachable 3', true],
  ['failures to connect count also where they are of one event', 'unreachable 1, unreachable 1, unreachable 1', true],
  ['two failures to connect do not', 'unreachable 1, unreachable 1', false],
  ['four different events with a failing answer open it', 'failing 1, failing 2, failing 3, failing 4', true],
  ['one event that fails again and again does not', 'failing 1, failing 1, failing 1, failing 1, failing 1', false],
  ['both kinds are different events together', 'failing 1, unreachable 2, failing 3, unreachable 4', true],
  [
    'an answer, though failing, ends the row of failures to connect',
    'unreachable 1, unreachable 1, failing 1, unreachable 1',
    false,
  ],
  ['a success between begins anew', 'failing 1, failing 2, failing 3, success 9, failing 4', false],
  ['a refusal shows an endpoint that works: it begins anew', 'failing 1, failing 2, failing 3, refusal 9, failing 4', false],
  ['a busy endpoint says nothing: the row goes on', 'failing 1, failing 2, busy 7, failing 3, failing 4', true],
  ['busy answers alone open nothing', 'busy 1, busy 2, busy 3, busy 4, busy 5', false],
];

for (const [title, notes, open] of CASES) {
  test(title, () => {
    const { breaker, turned } = noted(notes);
    assert.equal(breaker.open, open);
    assert.deepEqual(turned.filter(Boolean), open ? [true] : []);
    assert.equal(turned.at(-1), open);
  });
}

test('open, it notes no further failures, and the first success or refusal closes it', () => {
  for (const good of ['success', 'refusal']) {
    const { breaker, turned } = noted(`unreachable 1, unreachable 2, unreachable 3, unreachable 4, failing 5, busy 6, ${good} 7`);
    assert.equal(breaker.open, false);
    assert.deepEqual(turned, [false, false, true, false, false, false, true]);
  }
});

test('after it closed, evidence is gathered anew', () => {
  const { breaker } = noted('failing 1, failing 2, failing 3, failing 4, success 5, failing 6, failing 7, failing 8');
  assert.equal(breaker.open, false);
  breaker.note('failing', '9');
  assert.equal(breaker.open, true);
});

test('it knows whether failures to connect opened it', () => {
  assert.equal(noted('unreachable 1, unreachable 1, unreachable 1').breaker.byConnect, true);
  assert.equal(noted('failing 1, failing 2, failing 3, failing 4').breaker.byConnect, false);
  assert.equal(noted('failing 1, failing 2, unreachable 3, unreachable 4').breaker.byConnect, false);
});

test('switched off it never opens, and switched on in the middle of an outage it knows of it', () => {
  const settings = { ...SETTINGS, thresholds: false as BreakerSettings['thresholds'] };
  const breaker = createBreaker(() => settings);
  for (let event = 0; event < 50; event++) breaker.note('unreachable', `${event}`);
  assert.equal(breaker.open, false);
  settings.thresholds = SETTINGS.thresholds;
  assert.equal(breaker.note('unreachable', 'next'), true);
});

test('probes follow the retry schedule, its last step again and again, capped', () => {
  const { breaker } = noted('unreachable 1, unreachable 1, unreachable 1');
  assert.deepEqual(
    [1, 2, 3, 4].map(() => breaker.nextProbeMs(0.5)),
    [1_000, 60_000, 300_000, 300_000],
  );
  assert.equal(breaker.probes, 4);
  breaker.restart();
  assert.equal(breaker.nextProbeMs(0.5), 1_000);
});

test('pauses between probes are spread by the jitter, and never nothing', () => {
  const { breaker } = noted('busy 1', { jitter: 0.5, scheduleMs: [1_000, 1_000, 0] });
  assert.deepEqual(
    [0, 1, 1].map((random) => breaker.nextProbeMs(random)),
    [500, 1_500, 1],
  );
});

test('an empty schedule probes at the longest pause', () => {
  assert.equal(noted('busy 1', { scheduleMs: [] }).breaker.nextProbeMs(0.5), 300_000);
});

test('an outage of a hundred thousand events needs no memory of them all', () => {
  const { breaker } = noted('busy 1', { thresholds: { failures: 1_000, events: 1_000 } });
  for (let event = 0; event < 999; event++) assert.equal(breaker.note('failing', `${event}`), false);
  assert.equal(breaker.note('failing', '999'), true);
});
