/** Replays and rewinds: what was sent is sent again, beside the live lane or by it. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { Problem } from '@millrace/core/problem';
import { handWorld, settle, START_MS } from '../test/clock.ts';

async function withHistory(t: TestContext) {
  const world = await handWorld(t);
  await world.subscribe('s', { filter: { data: { id: [{ 'anything-but': ['unwanted', 'unwanted-too'] }] } } });
  await world.publish('1', 'unwanted', '2');
  await world.clock.advance(60_000);
  await world.publish('3');
  world.fresh();
  return world;
}

test('a replay sends the wanted events of its span again, in the same ids, beside the live lane', async (t) => {
  const world = await withHistory(t);
  assert.equal(await world.gateway.replays.count('default', 's', { from: 'earliest' }), 3);
  assert.deepEqual(world.fresh(), [], 'counting sends nothing');
  const run = await world.gateway.replays.start('default', 's', { from: 'earliest' });
  await world.publish('4');
  await world.clock.advance(3_000);
  assert.deepEqual(world.fresh().toSorted(), ['1', '2', '3', '4']);
  const ids = world.sender.sent.map(({ headers }) => headers['webhook-id']);
  assert.equal(new Set(ids).size, 4);
  assert.equal((await world.directory.get('run', 'default', run.id))?.value.state, 'done');
});

test('a replay between two times takes both ends in and nothing else', async (t) => {
  const world = await withHistory(t);
  const spec = { from: { timeMs: START_MS + 1 }, untilMs: START_MS + 60_000 };
  assert.equal(await world.gateway.replays.count('default', 's', spec), 1);
  const early = { from: { timeMs: START_MS }, untilMs: START_MS };
  assert.equal(await world.gateway.replays.count('default', 's', early), 2);
  await world.gateway.replays.start('default', 's', early);
  await world.clock.advance(3_000);
  assert.deepEqual(world.fresh(), ['1', '2']);
});

test('as new, each run makes ids of its own, the same on every attempt of that run', async (t) => {
  const world = await withHistory(t);
  const idsOf = async () => {
    const before = world.sender.sent.length;
    await world.gateway.replays.start('default', 's', { from: { timeMs: START_MS + 1 }, ids: 'as-new' });
    await world.clock.advance(30_000);
    return world.sender.sent.slice(before).map(({ headers }) => headers['webhook-id']);
  };
  const live = world.sender.sent.at(-1)?.headers['webhook-id'];
  const first = await idsOf();
  let attempts = 0;
  world.sender.script = () => (attempts++ === 0 ? 500 : 200);
  const second = await idsOf();
  assert.equal(first.length, 1);
  assert.equal(second.length, 2);
  assert.equal(second[0], second[1]);
  assert.equal(new Set([live, ...first, ...second]).size, 3);
});

test('a drill goes to another address, whose failures are not those of the subscription', async (t) => {
  const world = await withHistory(t);
  world.sender.script = ({ url }) => (url.includes('drill') ? { error: 'refused', detail: '', durationMs: 1 } : 200);
  await world.gateway.replays.start('default', 's', { from: 'earliest', to: { url: 'https://drill.example/' } });
  await world.clock.advance(5_000);
  assert.deepEqual(new Set(world.sender.sent.slice(3).map(({ url }) => url)), new Set(['https://drill.example/']));
  assert.equal((await world.gateway.health('default', 's')).breaker, 'closed');
  world.fresh();
  await world.publish('live');
  assert.ok(world.fresh().includes('live'));
});

test('what a drill left parked goes to the drill, also after a restart', async (t) => {
  const world = await withHistory(t);
  world.sender.script = () => 500;
  await world.gateway.replays.start('default', 's', { from: { timeMs: START_MS + 1 }, to: { url: 'https://drill.example/' } });
  await world.clock.advance(5_000);
  await world.restart('abandon');
  world.sender.script = () => 200;
  await world.clock.advance(20_000);
  assert.deepEqual(
    world.sender.sent.slice(3).map(({ url, event }) => `${event} ${url}`),
    ['3 https://drill.example/', '3 https://drill.example/'],
  );
});

test('a replay that was under way goes on after a crash and ends', async (t) => {
  const world = await withHistory(t);
  await world.subscribe('slow', { concurrency: 1 });
  world.sender.script = () => undefined;
  const run = await world.gateway.replays.start('default', 'slow', { from: 'earliest' });
  await settle();
  world.sender.sent.at(-1)?.answer(200);
  await world.clock.advance(2_000);
  world.fresh();
  world.sender.script = () => 200;
  await world.restart('abandon');
  await world.clock.advance(3_000);
  assert.deepEqual(world.fresh(), ['unwanted', '2', '3']);
  assert.equal((await world.directory.get('run', 'default', run.id))?.value.state, 'done');
});

test('a cancelled replay sends nothing more, and cancelling twice is harmless', async (t) => {
  const world = await withHistory(t);
  await world.gateway.subscriptions.update('default', 's', { concurrency: 1 });
  world.sender.script = () => undefined;
  const run = await world.gateway.replays.start('default', 's', { from: 'earliest' });
  await settle();
  assert.deepEqual(world.fresh(), ['1']);
  await world.gateway.replays.cancel('default', run.id);
  assert.equal((await world.gateway.replays.cancel('default', run.id)).value.state, 'cancelled');
  world.sender.sent.at(-1)?.answer(200);
  await world.clock.advance(5_000);
  assert.deepEqual(world.fresh(), []);
  await assert.rejects(world.gateway.replays.cancel('default', 'none'), { code: 'not_found' });
});

test('a rewind sets the live lane itself back: what was parked comes again with the rest, in order', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s', { ordering: 'key', retry: { schedule: ['1h'], jitter: 0 } });
  world.sender.script = ({ event }) => (event === 'a/1' && world.sender.sent.length === 1 ? 500 : 200);
  await world.publish('a/1', 'a/2', 'b/1');
  assert.deepEqual(world.fresh(), ['a/1', 'b/1']);
  const now = await world.gateway.replays.rewind('default', 's', 'earliest');
  await world.clock.advance(3_000);
  assert.equal(now.value.pass, 1);
  assert.deepEqual(world.fresh().toSorted(), ['a/1', 'a/2', 'b/1']);
  assert.equal((await world.gateway.health('default', 's')).parked, 0);
  await world.clock.advance(3_600_000);
  await world.restart('abandon');
  assert.deepEqual(world.fresh(), [], 'nothing of the former pass comes back');
});

test('a rewind forward skips what lies between', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s');
  await world.gateway.subscriptions.pause('default', 's');
  await world.publish('1', '2');
  await world.gateway.replays.rewind('default', 's', 'latest');
  await world.gateway.subscriptions.resume('default', 's');
  await world.publish('3');
  assert.deepEqual(world.fresh(), ['3']);
});

test('a replay waits for a tail that has not read so far yet, and goes on with it', async (t) => {
  const world = await withHistory(t);
  const { log } = world;
  const { read } = log;
  const gate = Promise.withResolvers<void>();
  const slow = {
    ...log,
    // The tail asks for everything, a reader of the past for its topics.
    read: async (request: Parameters<typeof read>[0]) => {
      const page = await read(request);
      if (request.only === undefined) await gate.promise;
      return page;
    },
  };
  await world.restart('stop', { log: slow });
  await world.publish('unwanted-too');
  const run = await world.gateway.replays.start('default', 's', { from: 'earliest' });
  await settle();
  assert.deepEqual(world.fresh(), ['1', '2', '3']);
  gate.resolve();
  await world.clock.advance(5_000);
  assert.equal((await world.directory.get('run', 'default', run.id))?.value.state, 'done');
});

test('a replay that was cancelled just before a crash sends nothing after it', async (t) => {
  const world = await withHistory(t);
  world.sender.script = () => 500;
  const run = await world.gateway.replays.start('default', 's', { from: 'earliest' });
  await world.clock.advance(2_000);
  world.gateway.abandon();
  await world.directory.put('run', 'default', run.id, { ...run.value, state: 'cancelled', endedMs: world.clock.now() }, 1);
  world.fresh();
  world.sender.script = () => 200;
  await world.restart('abandon');
  await world.clock.advance(60_000);
  await world.publish('later');
  assert.deepEqual(world.fresh(), ['later']);
  assert.equal((await world.gateway.health('default', 's')).parked, 0);
});

test('a stop during a rewind waits for the same deliveries and comes to its end', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s');
  world.sender.script = () => undefined;
  await world.publish('1');
  const rewound = world.gateway.replays.rewind('default', 's', 'earliest');
  await settle();
  const stopped = world.gateway.stop();
  await settle();
  world.sender.sent[0]?.answer(200);
  await Promise.all([stopped, rewound]);
  world.fresh();
  world.sender.script = () => 200;
  await world.restart('stop');
  await world.clock.advance(3_000);
  assert.deepEqual(world.fresh(), ['1'], 'the rewind counts');
});

test('a replay that can not be is refused before it is stored', async (t) => {
  const world = await withHistory(t);
  const { start } = world.gateway.replays;
  await assert.rejects(start('default', 'other', { from: 'earliest' }), { code: 'not_found' });
  const drill = { from: 'earliest', to: { url: 'ftp://x' } } as const;
  await assert.rejects(start('default', 's', drill), { code: 'invalid_url', pointer: '/to/url' });
  await assert.rejects(start('default', 's', { from: { timeMs: -1 } }), { code: 'invalid_request', pointer: '/from' });
  await assert.rejects(start('default', 's', { from: 'earliest', untilMs: Number.NaN }), {
    code: 'invalid_request',
    pointer: '/until',
  });
  const future = { code: 'invalid_request', pointer: '/from', message: /the future/ };
  const { count, rewind } = world.gateway.replays;
  const from = { timeMs: world.clock.now() + 1 };
  await assert.rejects(start('default', 's', { from }), future);
  await assert.rejects(count('default', 's', { from }), future);
  await assert.rejects(rewind('default', 's', from), future);
  assert.equal(await count('default', 's', { from: { timeMs: world.clock.now() } }), 1, 'what comes at this moment');
  const ids = { from: 'earliest', ids: 'other' as 'same' } as const;
  await assert.rejects(start('default', 's', ids), { code: 'invalid_request', pointer: '/ids' });
  assert.deepEqual(await world.directory.list('run', { limit: 10 }), []);
});

const WEEK_MS = 7 * 86_400_000;

test('only so many replays are under way, of one subscription and in all; who ends makes room', async (t) => {
  const world = await handWorld(t, { limits: { replays: 3, subscriptionReplays: 2 } });
  for (const id of ['a', 'b', 'c']) await world.subscribe(id);
  await world.publish('1');
  world.sender.script = () => undefined;
  const start = (id: string) => world.gateway.replays.start('default', id, { from: 'earliest' });
  const refused = (error: Problem): boolean => error.code === 'too_many_requests' && (error.retryAfterMs ?? 0) > 0;
  const [first, second] = await Promise.allSettled([start('a'), start('a'), start('a')]);
  assert.deepEqual([first?.status, second?.status], ['fulfilled', 'fulfilled']);
  await assert.rejects(start('a'), refused);
  const third = await start('b');
  await assert.rejects(start('c'), refused);
  assert.equal((await world.directory.list('run', { limit: 10 })).length, 3);
  await world.gateway.replays.cancel('default', third.id);
  await start('c');
  await assert.rejects(start('b'), refused);
  // One whose subscription is gone has nothing under way.
  await world.gateway.subscriptions.delete('default', 'a');
  await start('b');
  assert.equal(await world.gateway.replays.count('default', 'b', { from: 'earliest' }), 1, 'to count takes no place');
});

test('ended replays are forgotten after as long as jobs are, at a start and when another one begins', async (t) => {
  const world = await withHistory(t);
  const replay = async () => {
    const run = await world.gateway.replays.start('default', 's', { from: 'earliest' });
    await world.clock.advance(3_000);
    return run.id;
  };
  const kept = async () => (await world.directory.list('run', { limit: 10 })).map(({ id }) => id);
  const first = await replay();
  await world.clock.advance(WEEK_MS - 2 * 3_600_000);
  const second = await replay();
  assert.deepEqual(await kept(), [first, second], 'a week is not over yet');
  await world.clock.advance(4 * 3_600_000);
  const third = await replay();
  assert.deepEqual(await kept(), [second, third]);
  world.clock.jump(WEEK_MS + 60_000);
  await world.restart('stop');
  await settle();
  assert.deepEqual(await kept(), []);
  await replay();
  assert.equal((await kept()).length, 1);
});

test('a replay of a subscription that was deleted is forgotten like one that ended when it began', async (t) => {
  const world = await withHistory(t);
  world.sender.script = () => undefined;
  await world.gateway.replays.start('default', 's', { from: 'earliest' });
  await world.gateway.subscriptions.delete('default', 's');
  await settle();
  assert.equal((await world.directory.list('run', { limit: 10 })).length, 1);
  world.clock.jump(WEEK_MS + 60_000);
  await world.restart('abandon');
  await settle();
  assert.deepEqual(await world.directory.list('run', { limit: 10 }), []);
});

test('a replay is kept as long as something of it may be sent: its address and its ids are needed for that', async (t) => {
  const world = await withHistory(t);
  await world.gateway.subscriptions.update('default', 's', { retry: { schedule: [] }, breaker: false });
  world.sender.script = () => 500;
  const drill = { from: { timeMs: START_MS + 1 }, to: { url: 'https://drill.example/' } };
  for (let count = 0; count < 2; count++) {
    await world.gateway.replays.start('default', 's', drill);
    await world.clock.advance(10_000);
  }
  const redriveOne = async () => {
    const [letter] = await world.gateway.deadLetters.list('default', 's', { limit: 10 });
    await world.gateway.deadLetters.redrive('default', 's', letter?.id ?? '');
  };
  // Of one run a dead letter is left, of the other one a delivery that waits.
  await world.gateway.subscriptions.update('default', 's', { retry: { schedule: ['20d'], jitter: 0 } });
  await redriveOne();
  await world.clock.advance(10_000);
  const kept = async () => (await world.directory.list('run', { limit: 10 })).length;
  const states = (await world.directory.list('run', { limit: 10 })).map(({ value }) => value.state);
  assert.deepEqual(states, ['done', 'done']);
  world.clock.jump(WEEK_MS + 60_000);
  await world.restart('abandon');
  await settle();
  assert.equal(await kept(), 2);
  world.sender.script = () => 200;
  const before = world.sender.sent.length;
  await redriveOne();
  await world.clock.advance(14 * 86_400_000);
  assert.deepEqual(
    world.sender.sent.slice(before).map(({ url }) => url),
    ['https://drill.example/', 'https://drill.example/'],
  );
  await world.restart('abandon');
  await settle();
  assert.equal(await kept(), 0);
});

test('a delivery of a forgotten replay is not sent again: nobody knows where it was to go', async (t) => {
  const world = await withHistory(t);
  const drill = { from: { timeMs: START_MS + 1 }, to: { url: 'https://drill.example/' } };
  const run = await world.gateway.replays.start('default', 's', drill);
  await world.clock.advance(3_000);
  const uid = (await world.directory.get('subscription', 'default', 's'))?.value.uid ?? '';
  const attempts = await world.ledger.attempts({ subscription: uid, limit: 10 });
  const place = attempts.find(({ lane }) => lane === `${uid}.${run.id}`);
  assert.ok(place !== undefined);
  await world.gateway.deliveries.retry('default', 's', place);
  await world.clock.advance(3_000);
  assert.equal(world.sender.sent.at(-1)?.url, 'https://drill.example/');
  await world.directory.delete('run', 'default', run.id);
  await settle();
  await assert.rejects(world.gateway.deliveries.retry('default', 's', place), { code: 'not_redrivable' });
  assert.equal(await world.gateway.deliveries.webhookIdOf('default', place, place.eventId), undefined);
});
