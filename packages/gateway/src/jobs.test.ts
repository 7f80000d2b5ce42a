/** Jobs on dead letters: they go on after a restart, wait where there is no room, end when told to, and touch nothing younger. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { type HandWorld, handWorld, settle } from '../test/clock.ts';
import type { Job } from './ports/directory.ts';

const IDS = ['1', '2', '3', '4', '5', '6'];

/** Six dead letters of the subscription `s`, whose endpoint works by now. */
async function withLetters(t: TestContext, parked = 100): Promise<HandWorld> {
  const world = await handWorld(t, { limits: { jobPage: 4 } });
  await world.subscribe('s', { retry: { schedule: [] }, breaker: false, bounds: { parked }, concurrency: 1 });
  world.sender.script = () => 500;
  await world.publish(...IDS);
  await world.clock.advance(1);
  assert.equal((await world.gateway.health('default', 's')).deadLetters, 6);
  world.sender.script = () => 200;
  world.fresh();
  return world;
}

async function jobOf({ directory }: HandWorld): Promise<Job> {
  const [job] = await directory.list('job', { limit: 1 });
  assert.ok(job !== undefined);
  return job.value;
}

test('a job redrives all there was when it began, and what dies again waits for the next one', async (t) => {
  const world = await withLetters(t);
  world.sender.script = () => 500;
  assert.equal(await world.gateway.jobs.count('default', 's', 'redrive', {}), 6);
  await world.clock.advance(5);
  await world.gateway.jobs.begin('default', 's', 'redrive', {});
  await world.clock.advance(10);
  assert.deepEqual(world.fresh().toSorted(), IDS);
  const { state, done, total } = await jobOf(world);
  assert.deepEqual([state, done, total], ['done', 6, 6]);
  assert.equal((await world.gateway.health('default', 's')).deadLetters, 6);
});

test('a job waits where the subscription may park no more', async (t) => {
  const world = await withLetters(t, 2);
  world.sender.script = () => undefined;
  await world.gateway.jobs.begin('default', 's', 'redrive', {});
  await settle();
  assert.ok((await world.gateway.health('default', 's')).parked <= 2);
  world.sender.script = () => 200;
  for (const sent of world.sender.sent) if (!sent.answered) sent.answer(200);
  for (let seconds = 0; seconds < 10; seconds++) await world.clock.advance(1_000);
  assert.deepEqual([(await jobOf(world)).done, world.fresh().toSorted()], [6, IDS]);
});

test('a job goes on after a crash', async (t) => {
  const world = await withLetters(t, 2);
  world.sender.script = () => undefined;
  await world.gateway.jobs.begin('default', 's', 'redrive', {});
  await settle();
  world.sender.script = () => 200;
  await world.restart('abandon');
  for (let seconds = 0; seconds < 10; seconds++) await world.clock.advance(1_000);
  assert.equal((await jobOf(world)).state, 'done');
  assert.deepEqual([...new Set(world.fresh())].toSorted(), IDS);
  assert.equal((await world.gateway.health('default', 's')).deadLetters, 0);
});

test('a job for some topics touches no others, also after a crash', async (t) => {
  const world = await handWorld(t, { limits: { jobPage: 4 }, topics: { 'orders.paid': {} } });
  await world.subscribe('s', {
    topics: ['orders.*'],
    retry: { schedule: [] },
    breaker: false,
    bounds: { parked: 1 },
    concurrency: 1,
  });
  world.sender.script = () => 500;
  const draft = (type: string, id: string) => ({ type, id, source: '/s', data: Buffer.from('1') });
  const events = [
    draft('orders.paid', 'a'),
    draft('orders.created', 'b'),
    draft('orders.paid', 'c'),
    draft('orders.created', 'd'),
  ];
  await world.gateway.publish({ environment: 'default', app: 'shop', events });
  await world.clock.advance(1_000);
  assert.equal((await world.gateway.health('default', 's')).deadLetters, 4);
  world.fresh();
  world.sender.script = () => undefined;
  assert.equal(await world.gateway.jobs.count('default', 's', 'redrive', { topics: ['orders.created'] }), 2);
  await world.gateway.jobs.begin('default', 's', 'redrive', { topics: ['orders.created'] });
  await settle();
  world.sender.script = () => 200;
  await world.restart('abandon');
  for (let seconds = 0; seconds < 10; seconds++) await world.clock.advance(1_000);
  const { state, total } = await jobOf(world);
  assert.deepEqual([state, total], ['done', 2]);
  assert.deepEqual([...new Set(world.fresh())].toSorted(), ['b', 'd']);
  assert.equal((await world.gateway.health('default', 's')).deadLetters, 2);
});

test('a cancelled job leaves the rest as it is', async (t) => {
  const world = await withLetters(t, 2);
  world.sender.script = () => undefined;
  const { id } = await world.gateway.jobs.begin('default', 's', 'redrive', {});
  await settle();
  const cancelled = await world.gateway.jobs.cancel('default', id);
  assert.equal(cancelled.value.state, 'cancelled');
  world.sender.script = () => 200;
  for (const sent of world.sender.sent) if (!sent.answered) sent.answer(200);
  for (let seconds = 0; seconds < 10; seconds++) await world.clock.advance(1_000);
  assert.equal((await world.gateway.health('default', 's')).deadLetters, 4);
  await world.restart('stop');
  assert.equal((await jobOf(world)).state, 'cancelled');
  await assert.rejects(world.gateway.jobs.cancel('default', 'job_none'), { code: 'not_found' });
});

test('ended jobs are forgotten after a week, and there are only so many at once', async (t) => {
  const world = await withLetters(t);
  await world.gateway.jobs.begin('default', 's', 'discard', { cause: 'http_500' });
  await world.clock.advance(10);
  assert.equal((await jobOf(world)).done, 6);
  world.clock.jump(8 * 86_400_000);
  await world.restart('stop');
  assert.deepEqual(await world.directory.list('job', { limit: 1 }), []);
  const few = await handWorld(t, { limits: { jobs: 0 } });
  await few.subscribe('s');
  await assert.rejects(few.gateway.jobs.begin('default', 's', 'discard', {}), { code: 'too_many_requests' });
});
