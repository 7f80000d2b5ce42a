/** The life of a subscription: made with its cursors fixed, checked as a whole, changed, forgotten. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Problem, ProblemCode } from '@millrace/core/problem';
import { handWorld, settle, START_MS, SUBSCRIPTION } from '../test/clock.ts';
import type { SubscriptionSpec } from './api.ts';

const webhook = (members: object) =>
  ({ deliver: { webhook: { url: 'https://crm.example/', ...members } } }) as Partial<SubscriptionSpec>;
const DAY_MS = 86_400_000;

test('an event published after the creation is delivered, one from before is not', async (t) => {
  const world = await handWorld(t);
  await world.publish('before');
  const created = world.gateway.subscriptions.create('default', 's', SUBSCRIPTION);
  await created;
  await world.publish('after');
  assert.deepEqual(world.fresh(), ['after']);
});

test('from the earliest, or from a time, it gets what is still there', async (t) => {
  const world = await handWorld(t);
  await world.publish('1');
  await world.clock.advance(1_000);
  await world.publish('2');
  await world.subscribe('all', { from: 'earliest' });
  assert.deepEqual(world.fresh(), ['1', '2']);
  await world.subscribe('some', { from: { timeMs: START_MS + 1_000 } });
  assert.deepEqual(world.fresh(), ['2']);
  await world.subscribe('future', { from: { timeMs: START_MS + DAY_MS } });
  assert.deepEqual(world.fresh(), []);
});

test('defaults are filled in, and the secret is shown once and kept sealed', async (t) => {
  const world = await handWorld(t);
  const { app, topics, deliver } = SUBSCRIPTION;
  const { subscription, secret, warnings } = await world.gateway.subscriptions.create('default', 's', { app, topics, deliver });
  const { value } = subscription;
  assert.ok(secret);
  assert.match(secret, /^whsec_/);
  assert.ok(!JSON.stringify(value).includes(secret.slice(6)));
  assert.deepEqual(warnings, []);
  assert.match(value.uid, /^[a-z2-7]{26}$/i);
  assert.equal(value.retry.scheduleMs.length, 9);
  const { ordering, onDead, concurrency, breaker, state, bounds, ratePerSecond } = value;
  assert.deepEqual(
    [ordering, onDead, concurrency, breaker, state, ratePerSecond],
    ['none', 'release', 16, { failures: 3, events: 10 }, 'active', undefined],
  );
  assert.deepEqual(bounds, { parked: 100_000, parkedBytes: 268_435_456, held: 100_000, deadLetters: 1_000_000 });
});

test('a schedule that outlasts what a topic keeps is made with a warning', async (t) => {
  const world = await handWorld(t, { topics: { 'orders.created': { retentionMs: DAY_MS } } });
  const schedule = { schedule: ['12h', '13h'] };
  const exact = await world.subscribe('exact', { topics: ['orders.created'], retry: schedule, disableAfter: false });
  assert.equal(exact.warnings.length, 1);
  assert.match(exact.warnings[0] ?? '', /orders\.created/);
  const short = { topics: ['orders.created'], retry: { schedule: ['12h'] } };
  const held = await world.subscribe('held', { onDead: 'hold', retry: { schedule: ['1m'], jitter: 0 }, disableAfter: false });
  assert.match(held.warnings[0] ?? '', /onDead 'hold'.*does nothing/);
  assert.deepEqual((await world.subscribe('short', { ...short, disableAfter: '24h' })).warnings, []);
  assert.equal((await world.subscribe('span', { ...short, disableAfter: '25h' })).warnings.length, 1);
});

const REFUSED: readonly (readonly [title: string, spec: object, code: ProblemCode, pointer: string])[] = [
  ['an app that is not there', { app: 'nobody' }, 'not_found', '/app'],
  ['no topics', { topics: [] }, 'invalid_topic', '/topics'],
  ['a pattern that is none', { topics: ['a', 'a.>.b'] }, 'invalid_topic', '/topics/1'],
  ['a filter that is none', { filter: { data: { a: [{ numeric: ['>'] }] } } }, 'invalid_filter', '/data/a/0/numeric'],
  ['neither webhook nor stream', { deliver: {} }, 'invalid_request', '/deliver'],
  ['too long to ack', { deliver: { stream: { ackWait: '13h' } } }, 'invalid_request', '/deliver/stream/ackWait'],
  ['another protocol', webhook({ url: 'ftp://x/' }), 'invalid_url', '/deliver/webhook/url'],
  ['no address', webhook({ url: 'crm' }), 'invalid_url', '/deliver/webhook/url'],
  ['a password in the address', webhook({ url: 'https://a:b@x/' }), 'invalid_url', '/deliver/webhook/url'],
  ['a secret that is none', webhook({ secret: 'short' }), 'invalid_secret', '/deliver/webhook/secret'],
  [
    'a public key for a secret',
    webhook({ secret: `whpk_${Buffer.alloc(32).toString('base64')}` }),
    'invalid_secret',
    '/deliver/webhook/secret',
  ],
  [
    'a short simple secret',
    webhook({ signature: 'simple', secret: 'fifteen letters' }),
    'invalid_secret',
    '/deliver/webhook/secret',
  ],
  ['another signature', webhook({ signature: 'md5' }), 'invalid_request', '/deliver/webhook/signature'],
  ['a timeout of nothing', webhook({ timeoutMs: 0 }), 'invalid_request', '/deliver/webhook/timeoutMs'],
  ['a header of ours', webhook({ headers: { 'Webhook-Id': 'x' } }), 'invalid_request', '/deliver/webhook/headers'],
  ['a header with a line break', webhook({ headers: { a: 'x\r\ny: z' } }), 'invalid_request', '/deliver/webhook/headers'],
  ['a schedule step that is none', { retry: { schedule: ['5s', 'soon'] } }, 'invalid_schedule', '/retry/schedule/1'],
  ['a schedule beyond 90 days', { retry: { schedule: ['30d', '30d', '30d', '1s'] } }, 'invalid_schedule', '/retry/schedule'],
  ['half a delivery at once', { concurrency: 1.5 }, 'invalid_request', '/concurrency'],
  ['no rate at all', { ratePerSecond: 0 }, 'invalid_request', '/ratePerSecond'],
  ['another order', { ordering: 'strict' }, 'invalid_request', '/ordering'],
  ['a breaker of no failures', { breaker: { failures: 0 } }, 'invalid_request', '/breaker/failures'],
  ['a bound in which not one event fits', { bounds: { parkedBytes: 1_000 } }, 'invalid_request', '/bounds/parkedBytes'],
  ['a beginning that is no time', { from: { timeMs: Number.NaN } }, 'invalid_request', '/from'],
  ['what is planned: a transform', { transform: {} }, 'not_available_yet', '/transform'],
  ['what is planned: a relay', { deliver: { relay: {} } as never }, 'not_available_yet', '/deliver/relay'],
  ['what is planned: jwt', webhook({ signature: 'jwt' }), 'not_available_yet', '/deliver/webhook/signature'],
];

test('what can not work is refused with where the fault is, and nothing is stored', async (t) => {
  const world = await handWorld(t);
  for (const [title, spec, code, pointer] of REFUSED) {
    await t.test(title, async () => {
      const made = world.gateway.subscriptions.create('default', 's', { ...SUBSCRIPTION, ...spec });
      await assert.rejects(made, { code, pointer });
    });
  }
  for (const id of ['', '.a', 'a b', 'x'.repeat(65)]) {
    await assert.rejects(world.gateway.subscriptions.create('default', id, SUBSCRIPTION), {
      code: 'invalid_request',
      pointer: '/id',
    });
  }
  assert.deepEqual(await world.directory.list('subscription', { limit: 10 }), []);
});

test('of two that are created under one id at once, one is made and leaves the other no rows', async (t) => {
  const world = await handWorld(t);
  const { create } = world.gateway.subscriptions;
  const results = await Promise.allSettled([create('default', 's', SUBSCRIPTION), create('default', 's', SUBSCRIPTION)]);
  assert.deepEqual(results.map(({ status }) => status).toSorted(), ['fulfilled', 'rejected']);
  await settle();
  assert.equal(new Set((await world.ledger.lanes()).map(({ lane }) => lane)).size, 1);
  await world.publish('1');
  assert.deepEqual(world.fresh(), ['1']);
});

test('a change replaces the members it names, counts for the next attempt, and is checked as a whole', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s', { filter: { data: { id: ['1'] } }, ratePerSecond: 5, ...webhook({ headers: { a: 'b' } }) });
  world.sender.script = () => 500;
  await world.publish('1');
  world.sender.script = () => 200;
  const { update } = world.gateway.subscriptions;
  const { value } = await update('default', 's', {
    filter: null,
    ratePerSecond: null,
    ...webhook({ url: 'https://new.example/' }),
  });
  assert.deepEqual([value.filter, value.ratePerSecond], [undefined, undefined]);
  assert.deepEqual(value.deliver.webhook?.headers, { a: 'b' });
  await world.publish('2');
  await world.clock.advance(10_000);
  assert.deepEqual(
    world.sender.sent.map(({ url, event }) => [event, url]),
    [
      ['1', 'https://crm.example/'],
      ['2', 'https://new.example/'],
      ['1', 'https://new.example/'],
    ],
  );
  await assert.rejects(update('default', 's', { ordering: 'key' }), { code: 'invalid_request', pointer: '/ordering' });
  await assert.rejects(update('default', 's', { concurrency: 0 }), { code: 'invalid_request', pointer: '/concurrency' });
  await assert.rejects(update('default', 's', { concurrency: 2 }, 1), { code: 'version_mismatch' });
  await assert.rejects(update('default', 'none', {}), { code: 'not_found' });
});

test('deleted, all of it is forgotten, and what is made anew under its name is another one', async (t) => {
  const world = await handWorld(t);
  const first = await world.subscribe('s', { retry: { schedule: [] } });
  world.sender.script = ({ event }) => (event === 'open' ? undefined : 400);
  await world.publish('1', 'open');
  assert.equal(await world.gateway.subscriptions.delete('default', 's'), true);
  assert.equal(await world.gateway.subscriptions.delete('default', 's'), false);
  world.sender.sent.at(-1)?.answer(200);
  await world.clock.advance(3_000);
  const { uid } = first.subscription.value;
  assert.deepEqual(await world.ledger.attempts({ subscription: uid, limit: 10 }), []);
  assert.deepEqual(
    [await world.ledger.deadLetterCounts(), await world.ledger.lanes(), await world.ledger.openLanes()],
    [[], [], []],
  );
  await assert.rejects(world.gateway.health('default', 's'), { code: 'not_found' });

  world.fresh();
  const second = await world.subscribe('s', { from: 'earliest' });
  assert.notEqual(second.subscription.value.uid, uid);
  assert.deepEqual(world.fresh(), ['1', 'open']);
  const ids = world.sender.sent.filter(({ event }) => event === '1').map(({ headers }) => headers['webhook-id']);
  assert.equal(new Set(ids).size, 2);
});

const TEST = { topic: 'millrace.test', data: Buffer.from('1') };

test('one test of a subscription is under way at a time, and it counts among its deliveries', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s', { concurrency: 1 });
  await world.subscribe('other');
  world.sender.script = () => undefined;
  const first = world.gateway.subscriptions.test('default', 's', TEST);
  await settle();
  assert.equal((await world.gateway.health('default', 's')).inFlight, 1);
  await assert.rejects(world.gateway.subscriptions.test('default', 's', TEST), (error: Problem) => {
    assert.deepEqual([error.code, error.status, (error.retryAfterMs ?? 0) > 0], ['too_many_requests', 429, true]);
    return true;
  });
  await world.publish('1');
  await settle();
  const of = (): string[] =>
    world.sender.sent.map(({ headers, event }) => `${headers['millrace-subscription']} ${event.slice(0, 3)}`);
  assert.deepEqual(of().toSorted(), ['other 1', 's evt'], 'a delivery waits for the test to end');
  const second = world.gateway.subscriptions.test('default', 'other', TEST);
  await settle();
  for (const sent of world.sender.sent) if (!sent.answered) sent.answer(200);
  assert.deepEqual([(await first).delivered, (await second).delivered], [true, true]);
  await settle();
  assert.ok(of().includes('s 1'), 'then it goes out');
  await assert.rejects(world.gateway.subscriptions.test('default', 's', TEST), { code: 'too_many_requests' });
  world.sender.sent.at(-1)?.answer(200);
  await settle();
  world.sender.script = () => 200;
  assert.equal((await world.gateway.subscriptions.test('default', 's', TEST)).delivered, true);
});

test('tests stay within the rate of a subscription, and say when the next may be', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s', { ratePerSecond: 0.1 });
  assert.equal((await world.gateway.subscriptions.test('default', 's', TEST)).delivered, true);
  await assert.rejects(world.gateway.subscriptions.test('default', 's', TEST), {
    code: 'too_many_requests',
    retryAfterMs: 10_000,
  });
  await world.clock.advance(10_000);
  assert.equal((await world.gateway.subscriptions.test('default', 's', TEST)).delivered, true);
});

test('tests stay within what the process may have under way, all subscriptions together', async (t) => {
  const world = await handWorld(t, { limits: { inFlight: 2 } });
  world.sender.script = () => undefined;
  const all = ['a', 'b', 'c'];
  for (const id of all) await world.subscribe(id);
  const asked = all.map((id) => world.gateway.subscriptions.test('default', id, TEST));
  const codes = asked.map((test) =>
    test.then(
      () => 'sent',
      ({ code }: Problem) => code,
    ),
  );
  await settle();
  assert.equal(world.sender.sent.length, 2);
  for (const sent of world.sender.sent) sent.answer(500);
  assert.deepEqual(await Promise.all(codes), ['sent', 'sent', 'too_many_requests']);
  world.sender.script = () => 200;
  assert.equal((await world.gateway.subscriptions.test('default', 'c', TEST)).delivered, true);
});
