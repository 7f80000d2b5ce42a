/** What else happens while a rewind waits for what is under way: changes, deletion, redrives, new shards, lost answers. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { Event } from '@millrace/core/event';
import { encodeEvent } from '@millrace/core/event-bytes';
import { createMemoryLog } from '@millrace/memory/log';
import { draftOf, type HandWorld, handWorld, settle } from '../test/clock.ts';
import type { SubscriptionSpec } from './api.ts';
import type { Directory, Subscription, Versioned } from './ports/directory.ts';
import type { Entry, Log } from './ports/log.ts';

interface Waiting {
  readonly world: HandWorld;
  readonly rewound: Promise<Versioned<Subscription>>;
  /** Answers what was open, and from now on everything at once. */
  goOn(): Promise<void>;
}

/** A rewind to the end that waits for the request of event 0. */
async function waiting(t: TestContext, spec: Partial<SubscriptionSpec> = {}): Promise<Waiting> {
  const world = await handWorld(t);
  await world.subscribe('s', spec);
  world.sender.script = () => undefined;
  await world.publish('0');
  const rewound = world.gateway.replays.rewind('default', 's', 'latest');
  await settle();
  world.fresh();
  return {
    world,
    rewound,
    async goOn() {
      world.sender.script = () => 200;
      for (const sent of world.sender.sent) if (!sent.answered) sent.answer(200);
      await rewound;
      await world.clock.advance(2_000);
    },
  };
}

test('a pause meanwhile holds for the new pass', async (t) => {
  const { world, goOn } = await waiting(t);
  await world.gateway.subscriptions.pause('default', 's');
  await goOn();
  await world.publish('1');
  await world.clock.advance(2_000);
  assert.equal((await world.gateway.health('default', 's')).state, 'paused');
  assert.deepEqual(world.fresh(), []);
  await world.gateway.subscriptions.resume('default', 's');
  await settle();
  assert.deepEqual(world.fresh(), ['1']);
});

test('an update meanwhile counts, and every event still goes out once, one at a time per key', async (t) => {
  const { world, goOn } = await waiting(t, { ordering: 'key', concurrency: 4 });
  await world.gateway.subscriptions.update('default', 's', { deliver: { webhook: { url: 'https://new.example/' } } });
  await goOn();
  world.sender.script = () => undefined;
  await world.publish('k/1', 'k/2', 'free');
  assert.deepEqual(world.fresh(), ['k/1', 'free']);
  for (const sent of world.sender.sent.slice(1)) sent.answer(200);
  await settle();
  assert.deepEqual(world.fresh(), ['k/2']);
  assert.deepEqual(new Set(world.sender.sent.slice(1).map(({ url }) => url)), new Set(['https://new.example/']));
});

test('a second rewind meanwhile is refused and leaves what the first one wrote', async (t) => {
  const { world, goOn } = await waiting(t);
  await assert.rejects(world.gateway.replays.rewind('default', 's', 'earliest'), { code: 'in_flight', retryAfterMs: 1_000 });
  await goOn();
  await world.publish('1');
  await world.restart('abandon');
  await world.clock.advance(3_000);
  assert.deepEqual(world.fresh().slice(0, 1), ['1']);
  assert.equal((await world.directory.get('subscription', 'default', 's'))?.value.pass, 1);
});

test('of two rewinds that are asked for at once one is done and counts, also after a crash', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s');
  await world.publish('1', '2');
  await world.gateway.subscriptions.pause('default', 's');
  world.fresh();
  const { rewind } = world.gateway.replays;
  const results = await Promise.allSettled([rewind('default', 's', 'earliest'), rewind('default', 's', 'latest')]);
  assert.deepEqual(
    results.map(({ status }) => status),
    ['fulfilled', 'rejected'],
  );
  await world.clock.advance(3_000);
  await world.restart('abandon');
  await world.gateway.subscriptions.resume('default', 's');
  await world.clock.advance(3_000);
  assert.deepEqual(world.fresh(), ['1', '2']);
});

test('deleted meanwhile, it can be created again', async (t) => {
  const { world, goOn } = await waiting(t);
  await world.gateway.subscriptions.delete('default', 's');
  await goOn();
  await world.subscribe('s');
  await world.publish('1');
  assert.deepEqual(world.fresh(), ['1']);
});

test('a dead letter can not be redriven into what is being given up: it stays a dead letter', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s', { retry: { schedule: [] }, concurrency: 4 });
  world.sender.script = ({ event }) => (event === 'x' ? 400 : undefined);
  await world.publish('x', '0');
  await settle();
  const [letter] = await world.gateway.deadLetters.list('default', 's', { limit: 1 });
  const rewound = world.gateway.replays.rewind('default', 's', 'latest');
  await settle();
  const { redrive } = world.gateway.deadLetters;
  await assert.rejects(redrive('default', 's', letter?.id ?? ''), { code: 'in_flight', retryAfterMs: 1_000 });
  world.sender.script = () => 200;
  world.sender.sent.at(-1)?.answer(200);
  await rewound;
  world.fresh();
  await redrive('default', 's', letter?.id ?? '');
  await settle();
  assert.deepEqual(world.fresh(), ['x']);
});

test('likewise of a replay that is being cancelled', async (t) => {
  const world = await handWorld(t);
  await world.publish('x', '0');
  await world.subscribe('s', { retry: { schedule: [] }, concurrency: 4 });
  world.sender.script = ({ event }) => (event === 'x' ? 400 : undefined);
  const run = await world.gateway.replays.start('default', 's', { from: 'earliest' });
  await settle();
  const [letter] = await world.gateway.deadLetters.list('default', 's', { limit: 1 });
  await world.gateway.replays.cancel('default', run.id);
  const { redrive } = world.gateway.deadLetters;
  await assert.rejects(redrive('default', 's', letter?.id ?? ''), { code: 'in_flight' });
  world.sender.script = () => 200;
  world.sender.sent.at(-1)?.answer(200);
  await settle();
  world.fresh();
  await redrive('default', 's', letter?.id ?? '');
  await settle();
  assert.deepEqual(world.fresh(), ['x']);
});

/** The next subscription that is put is stored, but its answer is lost. */
function loseAnswer(directory: Directory): void {
  const { put } = directory;
  directory.put = async (...args) => {
    const now = await put(...args);
    if (args[0] !== 'subscription') return now;
    directory.put = put;
    throw new Error('the connection was lost');
  };
}

test('a rewind that was stored is done, though the answer was lost', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s');
  await world.publish('1');
  loseAnswer(world.directory);
  assert.equal((await world.gateway.replays.rewind('default', 's', 'earliest')).value.pass, 1);
  await world.clock.advance(3_000);
  assert.deepEqual(world.fresh(), ['1', '1']);
});

test('a pass that a start had stored, though the answer was lost, is gone on with', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s');
  await world.publish('1');
  await world.clock.advance(3_000);
  await world.gateway.stop();
  loseAnswer(world.directory);
  await world.restart('stop', { log: createMemoryLog({ now: world.clock.now }) });
  world.fresh();
  await world.publish('2');
  assert.deepEqual(world.fresh(), ['2']);
  assert.equal((await world.directory.get('subscription', 'default', 's'))?.value.pass, 1);
});

function entryOf(id: string): Entry {
  const event = draftOf(id) as Event;
  return { environment: 'default', app: 'shop', event, bytes: encodeEvent(event) };
}

/** A log of which only so many shards are seen. */
function growing(log: Log): Log & { seen: number } {
  const grown = { ...log, seen: 1, shards: () => log.shards().slice(0, grown.seen) };
  return grown;
}

test('a shard that appears meanwhile is entered by the new pass alone', async (t) => {
  const world = await handWorld(t);
  const inner = createMemoryLog({ now: world.clock.now, shards: 2 });
  const log = growing(inner);
  await world.restart('stop', { log });
  await world.subscribe('s', { from: 'earliest', ordering: 'key', concurrency: 16 });
  world.sender.script = () => undefined;
  for (const id of ['b/1', 'a/1', 'a/2']) await inner.append([entryOf(id)]);
  await settle();
  const rewound = world.gateway.replays.rewind('default', 's', 'earliest');
  await settle();
  log.seen = 2;
  await world.gateway.health('default', 's');
  await settle();
  for (const sent of world.sender.sent) sent.answer(200);
  await rewound;
  await settle();
  const open = world.sender.sent.filter(({ answered }) => !answered).map(({ event }) => event);
  assert.deepEqual(open.toSorted(), ['a/1', 'b/1']);
});

test('a shard that appears while another one is being entered is entered too', async (t) => {
  const world = await handWorld(t);
  const inner = createMemoryLog({ now: world.clock.now, shards: 3 });
  const log = growing(inner);
  const gate = Promise.withResolvers<void>();
  await world.restart('stop', { log });
  await world.subscribe('other');
  log.bounds = async (shard) => {
    if (shard === 'memory-1') await gate.promise;
    return inner.bounds(shard);
  };
  log.seen = 2;
  const looked = world.gateway.health('default', 'other');
  const created = world.subscribe('s', { from: 'earliest' });
  await settle();
  log.seen = 3;
  gate.resolve();
  await Promise.all([looked, created]);
  for (const id of ['a/1', 'b/1', 'c/1', 'd/1', 'e/1']) await inner.append([entryOf(id)]);
  await world.clock.advance(2_000);
  const mine = world.sender.sent.filter(({ headers }) => headers['millrace-subscription'] === 's').map(({ event }) => event);
  assert.deepEqual(mine.toSorted(), ['a/1', 'b/1', 'c/1', 'd/1', 'e/1']);
});
