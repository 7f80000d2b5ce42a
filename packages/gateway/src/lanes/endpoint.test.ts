/** The endpoint of a subscription: how many at once, how fast, and what goes out while it is down. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createHandClock } from '../../test/clock.ts';
import type { Outcome } from '../flow/deliver.ts';
import { LIMITS } from '../limits.ts';
import type { Subscription } from '../ports/directory.ts';
import { createBounds } from './bounds.ts';
import { createEndpoint } from './endpoint.ts';

const SETTINGS = {
  concurrency: 16,
  breaker: { failures: 3, events: 10 },
  retry: { scheduleMs: [1_000, 10_000], jitter: 0 },
  bounds: { parked: 100, parkedBytes: 1e9, held: 100, deadLetters: 100 },
  state: 'active',
};

const OUTCOME = { webhookId: '', cause: '', status: 0, slowDown: false, snippet: '', startedMs: 0, durationMs: 1 } as const;
const OK: Outcome = { ...OUTCOME, kind: 'delivered', evidence: 'success' };
const FAILED: Outcome = { ...OUTCOME, kind: 'failed', evidence: 'failing' };
const REFUSED: Outcome = { ...OUTCOME, kind: 'failed', evidence: 'refusal' };
const DOWN: Outcome = { ...OUTCOME, kind: 'failed', evidence: 'unreachable' };
const busy = (retryAfterMs?: number): Outcome => ({
  ...OUTCOME,
  kind: 'failed',
  evidence: 'busy',
  slowDown: true,
  ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
});

function made(change: object = {}) {
  const clock = createHandClock();
  const settings: typeof SETTINGS & { egressFailing?: boolean } = { ...SETTINGS, ...change };
  const subscription = () => settings as unknown as Subscription;
  const bounds = createBounds({ subscription, limits: LIMITS });
  let wakes = 0;
  const disabled: string[] = [];
  const kept: (number | undefined)[] = [];
  const endpoint = createEndpoint({
    subscription,
    bounds,
    clock,
    limits: LIMITS,
    wake: () => wakes++,
    keepFailing: (failing) => void kept.push(failing?.spanMs),
    isEgressFailing: () => settings.egressFailing === true,
    onDisable: (cause) => void disabled.push(cause),
  });
  let events = 0;
  /** Starts what may start, at most `most`. */
  const start = (most = 1_000): number => {
    let started = 0;
    for (; started < most && endpoint.mayStart(1, false); started++) endpoint.started(1, false, false);
    return started;
  };
  const end = (outcome: Outcome, probe = false): boolean => endpoint.ended(1, false, probe, outcome, `${events++}`);
  const once = (outcome: Outcome): boolean => (start(1), end(outcome));
  const probe = (outcome: Outcome): void => {
    assert.ok(endpoint.mayProbe());
    endpoint.started(1, false, true);
    end(outcome, true);
  };
  return { endpoint, clock, settings, start, end, once, probe, disabled, kept, wakes: () => wakes };
}

function down() {
  const world = made();
  for (let times = 0; times < 3; times++) world.once(DOWN);
  assert.ok(world.endpoint.breakerOpen);
  return world;
}

test('as many are under way as the subscription allows', () => {
  const { endpoint, start, end } = made();
  assert.equal(start(), 16);
  end(OK);
  assert.equal(start(), 1);
  assert.equal(endpoint.inFlight, 16);
});

test('paused, nothing starts; a smaller concurrency counts at once', () => {
  const { settings, start, endpoint } = made();
  settings.state = 'paused';
  assert.equal(start(), 0);
  Object.assign(settings, { state: 'active', concurrency: 2 });
  assert.equal(endpoint.allowed, 2);
  assert.equal(start(), 2);
});

test('a rate holds over any second, in bursts of a tenth of one, and wakes the lane when there is more', async () => {
  const { clock, start, end, wakes } = made({ ratePerSecond: 20, concurrency: 1_000 });
  let started = 0;
  const startAndEnd = (): void => {
    for (let ending = start(); ending > 0; ending--, started++) end(OK);
  };
  startAndEnd();
  assert.ok(started <= 2);
  for (let step = 0; step < 1_000; step++) {
    const before = wakes();
    await clock.advance(10);
    if (wakes() > before) startAndEnd();
  }
  assert.ok(started >= 198 && started <= 202, `${started} in ten seconds`);
  await clock.advance(60_000);
  assert.equal(start(), 2, 'a quiet minute saves nothing up');
});

test('a rate below one per second is kept too', async () => {
  const { clock, start, end } = made({ ratePerSecond: 0.5 });
  assert.equal(start(), 1);
  end(OK);
  await clock.advance(1_999);
  assert.equal(start(), 0);
  await clock.advance(1);
  assert.equal(start(), 1);
});

test('an endpoint that asks for slowness gets it for as long as it asks, by default a second, at most five minutes', async () => {
  for (const [asked, ms] of [
    [30_000, 30_000],
    [undefined, 1_000],
    [86_400_000, 300_000],
  ] as const) {
    const { clock, once, start, endpoint, wakes } = made();
    once(busy(asked));
    assert.equal(endpoint.breakerOpen, false);
    await clock.advance(ms - 1);
    assert.equal(start(), 0);
    const before = wakes();
    await clock.advance(1);
    assert.ok(wakes() > before);
    assert.ok(start() > 0);
  }
});

test('where failures outnumber successes, fewer are let out at once, down to one; successes double it again', () => {
  const { endpoint, once } = made({ breaker: false });
  for (let times = 0; times < 4; times++) once(FAILED);
  assert.equal(endpoint.allowed, 8);
  for (let times = 0; times < 40; times++) once(FAILED);
  assert.equal(endpoint.allowed, 1);
  const seen: number[] = [];
  for (let times = 0; times < 40; times++) {
    once(OK);
    if (seen.at(-1) !== endpoint.allowed) seen.push(endpoint.allowed);
  }
  assert.deepEqual(seen, [2, 4, 8, 16]);
});

test('events that an endpoint refuses take nothing from its concurrency', () => {
  const { endpoint, once } = made();
  for (let times = 0; times < 50; times++) once(REFUSED);
  assert.equal(endpoint.allowed, 16);
});

test('open, nothing starts but one probe at a time, when its time has come', async () => {
  const { endpoint, clock, start, wakes } = down();
  assert.equal(start(), 0);
  assert.ok(endpoint.breakerByConnect);
  await clock.advance(999);
  assert.ok(!endpoint.mayProbe());
  const before = wakes();
  await clock.advance(1);
  assert.equal(wakes(), before + 1);
  assert.ok(endpoint.mayProbe());
  endpoint.started(1, false, true);
  assert.ok(!endpoint.mayProbe());
});

test('probes follow the retry schedule, its last step again and again', async () => {
  const { clock, probe, endpoint } = down();
  for (const ms of [1_000, 10_000, 10_000]) {
    await clock.advance(ms - 1);
    assert.ok(!endpoint.mayProbe());
    await clock.advance(1);
    probe(DOWN);
  }
  assert.ok(endpoint.breakerOpen);
});

test('a probe that an endpoint answers closes it, and it starts with one in flight and doubles', async () => {
  for (const answer of [OK, REFUSED]) {
    const { clock, probe, endpoint, start, end } = down();
    await clock.advance(1_000);
    probe(answer);
    assert.ok(!endpoint.breakerOpen);
    assert.equal(endpoint.allowed, 1);
    assert.equal(start(), 1);
    end(OK);
    assert.equal(start(), 2);
  }
});

test('a busy answer to a probe leaves it open, and the next probe respects what was asked', async () => {
  const { clock, probe, endpoint } = down();
  await clock.advance(1_000);
  probe(busy(60_000));
  assert.ok(endpoint.breakerOpen);
  await clock.advance(59_999);
  assert.ok(!endpoint.mayProbe());
  await clock.advance(1);
  assert.ok(endpoint.mayProbe());
});

test('asked to probe now it does, once, with the pauses begun anew', async () => {
  const { endpoint, probe, clock, wakes } = down();
  const before = wakes();
  endpoint.probeNow();
  assert.equal(wakes(), before + 1);
  probe(DOWN);
  assert.ok(!endpoint.mayProbe());
  await clock.advance(1_000);
  assert.ok(endpoint.mayProbe());
  const closed = made();
  closed.endpoint.probeNow();
  assert.ok(!closed.endpoint.mayProbe());
});

test('what was aborted by ourselves says nothing, and gives its room back', () => {
  const { endpoint, once } = made();
  for (let times = 0; times < 20; times++) once({ ...DOWN, kind: 'aborted' });
  assert.equal(endpoint.breakerOpen, false);
  assert.deepEqual([endpoint.allowed, endpoint.inFlight], [16, 0]);
});

test('stopped, it wakes nobody any more', async () => {
  const { endpoint, clock, wakes } = down();
  const before = wakes();
  endpoint.stop();
  await clock.advance(600_000);
  assert.equal(wakes(), before);
  assert.equal(clock.armed, 0);
});

const HOUR_MS = 3_600_000;
const GONE: Outcome = { ...REFUSED, status: 410 };

test('an endpoint that is gone disables the subscription at once, also by a probe', async () => {
  const { once, disabled } = made();
  once(OK);
  once(GONE);
  assert.deepEqual(disabled, ['gone']);
  const { endpoint, clock, probe, disabled: byProbe } = down();
  await clock.advance(1_000);
  probe(GONE);
  assert.deepEqual([byProbe, endpoint.breakerOpen], [['gone'], false]);
});

test('a span of failure disables it; a success, silence and our own fault do not count', async () => {
  const fails = async (world: ReturnType<typeof made>, hours: number): Promise<void> => {
    for (let hour = 0; hour < hours; hour++) {
      await world.clock.advance(HOUR_MS);
      world.once(REFUSED);
    }
  };
  const world = made({ disableAfterMs: 24 * HOUR_MS });
  world.once(REFUSED);
  await fails(world, 23);
  world.once(OK);
  await fails(world, 24);
  assert.deepEqual(world.disabled, []);
  await world.clock.advance(72 * HOUR_MS);
  world.once(REFUSED);
  assert.deepEqual([world.disabled, world.endpoint.failing.spanMs], [[], 0]);
  world.settings.egressFailing = true;
  await fails(world, 24);
  assert.deepEqual(world.disabled, []);
  world.settings.egressFailing = false;
  await fails(world, 24);
  assert.deepEqual(world.disabled, ['failing']);
  const never = made();
  never.once(REFUSED);
  await fails(never, 24 * 30);
  assert.deepEqual(never.disabled, []);
});

test('how long it failed is told about once an hour, outlives a restart, and is forgotten with a success', async () => {
  const world = made({ disableAfterMs: 24 * HOUR_MS });
  for (let times = 0; times < 9; times++) {
    world.once(REFUSED);
    await world.clock.advance(HOUR_MS / 4);
  }
  assert.deepEqual(world.kept, [HOUR_MS, 2 * HOUR_MS]);
  world.once(OK);
  world.once(OK);
  assert.deepEqual(world.kept, [HOUR_MS, 2 * HOUR_MS, undefined]);
  const restarted = made({ disableAfterMs: 24 * HOUR_MS });
  restarted.endpoint.failing.restore({ spanMs: 23 * HOUR_MS, lastMs: restarted.clock.now() - HOUR_MS });
  restarted.once(REFUSED);
  assert.deepEqual(restarted.disabled, ['failing']);
});

test('an outage tells why, since when, and when the next probe goes out', async () => {
  const { endpoint, clock } = down();
  assert.deepEqual(
    { ...endpoint.outage, nextProbeMs: (endpoint.outage?.nextProbeMs ?? 0) - clock.now() },
    { cause: '', sinceMs: clock.now(), nextProbeMs: 1_000 },
  );
  assert.equal(made().endpoint.outage, undefined);
});

test('a request outside of any lane counts for concurrency and rate as others do, paused or with an open breaker too', () => {
  const { endpoint, settings, start, wakes } = made({ concurrency: 2 });
  assert.equal(start(1), 1);
  assert.equal(endpoint.testWaitMs(), 0);
  endpoint.testStarted();
  assert.equal(endpoint.inFlight, 2);
  assert.equal(start(), 0);
  assert.ok(endpoint.testWaitMs() > 0);
  const before = wakes();
  endpoint.testEnded();
  assert.equal(wakes(), before + 1, 'who waited for its place is told');
  settings.state = 'paused';
  assert.equal(endpoint.testWaitMs(), 0);
  assert.equal(down().endpoint.testWaitMs(), 0);
});

test('a request outside of any lane waits for the rate, and deliveries for it', async () => {
  const { endpoint, clock, start } = made({ ratePerSecond: 1 });
  endpoint.testStarted();
  assert.equal(endpoint.testWaitMs(), 1_000);
  assert.equal(start(), 0);
  endpoint.testEnded();
  await clock.advance(1_000);
  assert.equal(start(), 1);
  assert.equal(endpoint.testWaitMs(), 1_000);
});
