/** Quotas by the hand clock: rates, days and months, crashes, and nodes that share them. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { createMemoryDirectory } from '@millrace/memory/directory';
import { createHandClock, type HandClock, settle } from '../../test/clock.ts';
import { follow, placeOf } from '../http/followed.ts';
import type { Directory, Quotas as Settings } from '../ports/directory.ts';
import { openQuotas, type Quotas } from './quotas.ts';

const SHOP = { environment: 'default', id: 'shop' } as const;
const CRM = { environment: 'default', id: 'crm' } as const;

interface Node {
  readonly quotas: Quotas;
  /** Publishes so many events of no size in one call, until it is refused; how many calls were let in. */
  flood(calls: number, events?: number): number;
}

async function openNode(t: TestContext, directory: Directory, clock: HandClock): Promise<Node> {
  const apps = await follow(directory, 'app', (_app, place) => placeOf(place));
  const quotas = await openQuotas({ directory, clock, apps });
  t.after(() => quotas.stop());
  return {
    quotas,
    flood(calls, events = 1) {
      let letIn = 0;
      for (let call = 0; call < calls; call++) {
        try {
          quotas.publish(SHOP, { events, bytes: 0 })(events);
          letIn++;
        } catch {
          break;
        }
      }
      return letIn;
    },
  };
}

async function setUp(settings: Settings): Promise<{ directory: Directory; clock: HandClock }> {
  const [directory, clock] = [createMemoryDirectory(), createHandClock()];
  await directory.put('app', 'default', 'shop', { name: 'shop', createdMs: 0, quotas: settings });
  await directory.put('app', 'default', 'crm', { name: 'crm', createdMs: 0 });
  return { directory, clock };
}

test('a rate is kept exactly over a minute, and costs nobody else anything', async (t) => {
  const { directory, clock } = await setUp({ publishesPerSecond: 10 });
  const { flood, quotas } = await openNode(t, directory, clock);
  let letIn = flood(1_000);
  assert.equal(letIn, 50);
  for (let second = 0; second < 60; second++) {
    await clock.advance(1_000);
    letIn += flood(1_000);
    quotas.publish(CRM, { events: 1_000, bytes: 1e9 })(1_000);
  }
  assert.equal(letIn, 50 + 60 * 10);
});

test('what is refused says after how long it fits, and then it does', async (t) => {
  const { directory, clock } = await setUp({ publishesPerSecond: 10, bytesPerSecond: 1_000 });
  const { quotas } = await openNode(t, directory, clock);
  quotas.publish(SHOP, { events: 50, bytes: 5_000 })(50);
  let waitMs = 0;
  const again = (): void => void quotas.publish(SHOP, { events: 5, bytes: 2_000 });
  assert.throws(again, (error: { code: string; retryAfterMs: number }) => {
    waitMs = error.retryAfterMs;
    return error.code === 'rate_limited';
  });
  assert.equal(waitMs, 2_000);
  assert.equal(quotas.headers(SHOP)['ratelimit'], '"publishes";r=0;t=1, "bytes";r=0;t=1');
  await clock.advance(waitMs);
  again();
  assert.equal(quotas.headers(SHOP)['ratelimit-policy'], '"publishes";q=50;w=5, "bytes";q=5000;w=5;qu="content-bytes"');
});

test('what was taken at the door is not taken twice', async (t) => {
  const { directory, clock } = await setUp({ publishesPerSecond: 10, bytesPerSecond: 1_000 });
  const { quotas } = await openNode(t, directory, clock);
  const entered = quotas.enter(SHOP, { events: 1, bytes: 100 });
  quotas.publish(SHOP, { events: 20, bytes: 100 }, entered)(20);
  assert.equal(quotas.headers(SHOP)['ratelimit'], '"publishes";r=30;t=1, "bytes";r=4900;t=1');
});

test('a day and a month are counted when stored, with what is under way, and begin anew', async (t) => {
  const { directory, clock } = await setUp({ eventsPerDay: 100, eventsPerMonth: 150 });
  const { quotas, flood } = await openNode(t, directory, clock);
  const underWay = quotas.publish(SHOP, { events: 60, bytes: 0 });
  assert.equal(flood(1, 60), 0, 'what is under way has its places');
  underWay(50);
  assert.equal(flood(1, 50), 1, 'what was not stored after all has not');
  assert.equal(flood(1), 0);
  assert.match(quotas.headers(SHOP)['ratelimit'] ?? '', /^"day";r=0;t=86400, "month";r=50;t=/);
  assert.throws(() => quotas.enter(SHOP, { events: 1, bytes: 0 }), { code: 'quota_exceeded', retryAfterMs: 86_400_000 });
  await clock.advance(86_400_000);
  assert.equal(flood(100), 50, 'the month is used up');
  assert.match(quotas.headers(SHOP)['ratelimit-policy'] ?? '', /"month";q=150;w=2678400$/);
  await clock.advance(30 * 86_400_000);
  assert.equal(flood(1, 100), 1);
});

test('a restart forgets nothing, a crash at most what came in since the last second', async (t) => {
  const { directory, clock } = await setUp({ eventsPerDay: 100 });
  const first = await openNode(t, directory, clock);
  assert.equal(first.flood(30), 30);
  await clock.advance(1_000);
  await settle();
  assert.equal(first.flood(20), 20);
  const afterCrash = await openNode(t, directory, clock);
  assert.equal(afterCrash.quotas.usage(SHOP).dayEvents, 30);
  await first.quotas.stop();
  const afterStop = await openNode(t, directory, clock);
  assert.equal(afterStop.quotas.usage(SHOP).dayEvents, 50);
  assert.equal(afterStop.flood(100), 50);
});

test('nodes share a rate: beyond it for a moment what the others let in, and over time exactly the rate', async (t) => {
  const { directory, clock } = await setUp({ publishesPerSecond: 10 });
  const nodes = await Promise.all([1, 2, 3].map(() => openNode(t, directory, clock)));
  const seconds = 120;
  let letIn = 0;
  for (let second = 0; second < seconds; second++) {
    for (const { flood } of nodes) letIn += flood(1_000);
    await clock.advance(1_000);
    await settle();
  }
  const [rate, burst] = [10, 50];
  assert.ok(letIn >= rate * seconds, `${letIn}`);
  // The bound that quotas.ts and docs/api.md state.
  assert.ok(letIn <= burst + rate * seconds + (nodes.length - 1) * (burst + rate), `${letIn}`);
});

test('nodes share a day: beyond it at most what the others stored in the last second', async (t) => {
  const { directory, clock } = await setUp({ eventsPerDay: 100 });
  const [one, other] = (await Promise.all([1, 2].map(() => openNode(t, directory, clock)))) as [Node, Node];
  assert.equal(one.flood(40), 40);
  assert.equal(other.flood(40), 40);
  await clock.advance(1_000);
  await settle();
  for (const { quotas } of [one, other]) assert.equal(quotas.usage(SHOP).dayEvents, 80);
  assert.equal(one.flood(100), 20);
  await clock.advance(1_000);
  await settle();
  assert.equal(other.flood(100), 0);
  assert.equal((await directory.get('usage', 'default', 'shop'))?.value.events, 100);
});

test('what is open is bounded, and given back once', async (t) => {
  const { directory, clock } = await setUp({ connections: 2, subscriptions: 3 });
  const { quotas } = await openNode(t, directory, clock);
  const closes = [quotas.open(SHOP, 'connections'), quotas.open(SHOP, 'connections')];
  assert.throws(() => quotas.open(SHOP, 'connections'), { code: 'quota_exceeded' });
  closes[0]?.();
  closes[0]?.();
  quotas.open(SHOP, 'connections');
  assert.throws(() => quotas.open(SHOP, 'connections'), { code: 'quota_exceeded' });
  quotas.open(SHOP, 'subscriptions', () => 2);
  assert.throws(() => quotas.open(SHOP, 'subscriptions', () => 2), { code: 'quota_exceeded' });
  for (let count = 0; count < 1_000; count++) quotas.open(CRM, 'connections');
});

test('a quota that is raised counts at once, and a new name fills no bucket', async (t) => {
  const { directory, clock } = await setUp({ publishesPerSecond: 10 });
  const { flood } = await openNode(t, directory, clock);
  assert.equal(flood(100), 50);
  await directory.put('app', 'default', 'shop', { name: 'The shop', createdMs: 0, quotas: { publishesPerSecond: 10 } });
  await settle();
  assert.equal(flood(100), 0);
  await directory.put('app', 'default', 'shop', { name: 'The shop', createdMs: 0, quotas: { publishesPerSecond: 20 } });
  await settle();
  assert.equal(flood(1_000), 100);
});

test('what the directory can not take now counts here all the same, and is written once when it can', async (t) => {
  const { directory, clock } = await setUp({ eventsPerDay: 100 });
  let isAway = true;
  const failing: Directory = {
    ...directory,
    put: (...args) => (isAway ? Promise.reject(new Error('away')) : directory.put(...args)),
  };
  const { quotas, flood } = await openNode(t, failing, clock);
  assert.equal(flood(30), 30);
  await clock.advance(3_000);
  await settle();
  assert.equal(quotas.usage(SHOP).dayEvents, 30);
  assert.equal(await directory.get('usage', 'default', 'shop'), undefined);
  isAway = false;
  await clock.advance(2_000);
  await settle();
  assert.equal((await directory.get('usage', 'default', 'shop'))?.value.dayEvents, 30);
  assert.equal(quotas.usage(SHOP).dayEvents, 30);
});

test('nodes that write the same at once lose nothing of each other', async (t) => {
  const { directory, clock } = await setUp({ eventsPerMonth: 1_000_000 });
  const nodes = await Promise.all(Array.from({ length: 5 }, () => openNode(t, directory, clock)));
  for (let second = 0; second < 20; second++) {
    for (const { flood } of nodes) assert.equal(flood(7), 7);
    await clock.advance(1_000);
    await settle();
  }
  await Promise.all(nodes.map(({ quotas }) => quotas.stop()));
  const stored = (await directory.get('usage', 'default', 'shop'))?.value;
  assert.deepEqual([stored?.events, stored?.monthEvents], [5 * 7 * 20, 5 * 7 * 20]);
});
