/** What consumers hold when their gateway stops, their slots move or their group is set back: it is waited for, and no longer than it may. */
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { handWorld, type HandWorld } from '../../test/clock.ts';
import { idOf } from '../http/delivery-ids.ts';
import { createGathering } from '../realtime/gathering.ts';
import { createMessages } from '../realtime/messages.ts';
import { pullGroup } from '../realtime/pull-here.ts';
import type { PullSettle } from '../realtime/pull-frames.ts';
import type { Handed, Member } from './group.ts';
import { SLOTS } from './subscriber.ts';

const DRAIN_MS = 3_000;
const TAKE_BACK_MS = 5_000;
const ALL_SLOTS = new Set(Array.from({ length: SLOTS }, (_, slot) => slot));

describe('a stop', () => {
  test('waits no longer than its bound for what a pull has handed over: it comes again after the next start', async (t) => {
    const world = await withGroup(t);
    await world.publish('k/1', 'k/2', 'free');
    const [first, free] = (await pull(world)) as [Frame, Frame];
    assert.deepEqual([first.event.id, free.event.id], ['k/1', 'free']);
    assert.equal((await ack(world, free.id))[0]?.op, 'acked');
    const isOver = watched(world.gateway.stop());
    await world.clock.advance(DRAIN_MS - 1);
    assert.ok(!isOver());
    await world.clock.advance(1);
    assert.ok(isOver());
    await world.restart('stop');
    const [again] = await pull(world);
    // It was given back: no attempt counts, and its key has waited for it.
    assert.deepEqual([again?.event.id, again?.attempt, again?.idempotencyKey], ['k/1', 1, first.idempotencyKey]);
    assert.equal((await ack(world, first.id))[0]?.op, 'acked');
    assert.deepEqual(idsOf(await pull(world)), ['k/2']);
  });

  test('likewise where the time to ack was extended, and the delivery written down meanwhile', async (t) => {
    const world = await withGroup(t);
    await world.publish('k/1');
    const [msg] = (await pull(world)) as [Frame];
    await settleIn(world, { op: 'extend', group: 'g', ids: [msg.id], ms: 43_200_000 });
    await world.clock.advance(60_000);
    assert.equal((await world.gateway.health('default', 'g')).parked, 1);
    const isOver = watched(world.gateway.stop());
    await world.clock.advance(DRAIN_MS);
    assert.ok(isOver());
    await world.restart('stop');
    await world.clock.advance(0);
    assert.deepEqual(idsOf(await pull(world)), ['k/1']);
  });

  test('hears a consumer that acks within the bound, and ends with it', async (t) => {
    const world = await withGroup(t);
    const [member, taken] = join(world);
    await world.publish('k/1', 'k/2');
    const isOver = watched(world.gateway.stop());
    await world.clock.advance(DRAIN_MS - 1);
    assert.ok(!isOver());
    assert.equal(member.settle(taken, { kind: 'acked' }).length, 1);
    const confirmed = world.gateway.groups.settled();
    await world.clock.advance(0);
    await confirmed;
    assert.ok(isOver());
    await world.restart('stop');
    assert.deepEqual(idsOf(await pull(world)), ['k/2']);
  });

  test('has a rewind that waits for a consumer go on, and loses nothing by it', async (t) => {
    const world = await withGroup(t);
    await world.publish('k/1');
    await pull(world);
    const rewound = watched(world.gateway.replays.rewind('default', 'g', 'earliest'));
    const isOver = watched(world.gateway.stop());
    await world.clock.advance(DRAIN_MS);
    assert.ok(isOver() && rewound());
    await world.restart('stop');
    assert.deepEqual(idsOf(await pull(world)), ['k/1']);
  });
});

describe('a move', () => {
  test('waits no longer than its bound for what a pull has handed over: it comes again at the next node', async (t) => {
    const world = await withGroup(t);
    await world.publish('k/1', 'k/2');
    await pull(world);
    const isOver = watched(world.gateway.slots.leave(ALL_SLOTS));
    await world.clock.advance(DRAIN_MS - 1);
    assert.ok(!isOver());
    await world.clock.advance(1);
    assert.ok(isOver());
    await world.restart('stop');
    const [again] = await pull(world);
    assert.deepEqual([again?.event.id, again?.attempt], ['k/1', 1]);
  });

  test('hears a consumer that acks within the bound, and ends with it', async (t) => {
    const world = await withGroup(t);
    const [member, taken] = join(world);
    await world.publish('k/1', 'k/2');
    const isOver = watched(world.gateway.slots.leave(ALL_SLOTS));
    await world.clock.advance(DRAIN_MS - 1);
    assert.ok(!isOver());
    member.settle(taken, { kind: 'acked' });
    await world.clock.advance(0);
    assert.ok(isOver());
    await world.restart('stop');
    assert.deepEqual(idsOf(await pull(world)), ['k/2']);
  });
});

describe('a rewind', () => {
  test('waits no longer than its bound for a consumer that keeps extending: what it has is taken back, and an ack of it comes too late', async (t) => {
    const world = await withGroup(t);
    const [member, taken] = join(world);
    await world.publish('k/1', 'free');
    const isOver = watched(world.gateway.replays.rewind('default', 'g', 'earliest'));
    await world.clock.advance(TAKE_BACK_MS - 1);
    assert.equal(member.extend(taken, 43_200_000).length, 2);
    assert.ok(!isOver());
    await world.clock.advance(1);
    assert.ok(isOver());
    const [first] = taken as [Handed];
    assert.deepEqual(member.settle([first], { kind: 'acked' }), []);
    const [answer] = await ack(world, idOf(first));
    assert.deepEqual([answer.op, answer.code, answer.ids], ['error', 'unknown_delivery', [idOf(first)]]);
    // As the new pass gives them, to the same consumer.
    const again = taken.splice(2);
    assert.deepEqual(
      again.map(({ record, attempt }) => [record.event.id, attempt]),
      [
        ['k/1', 1],
        ['free', 1],
      ],
    );
    assert.equal(member.settle(again, { kind: 'acked' }).length, 2);
    await world.clock.advance(1_000);
    await world.restart('abandon');
    assert.deepEqual(idsOf(await pull(world)), []);
  });

  test('hears a consumer that acks within the bound, and goes on with it', async (t) => {
    const world = await withGroup(t);
    const [member, taken] = join(world);
    await world.publish('k/1', 'k/2');
    const isOver = watched(world.gateway.replays.rewind('default', 'g', 'latest'));
    await world.clock.advance(TAKE_BACK_MS - 1);
    assert.equal(member.settle(taken, { kind: 'acked' }).length, 1);
    await world.clock.advance(0);
    assert.ok(isOver());
    await world.publish('k/3');
    assert.deepEqual(
      taken.map(({ record }) => record.event.id),
      ['k/1', 'k/3'],
    );
  });

  test('leaves a replay of the same group what that has out, and a cancelled one is taken back from likewise', async (t) => {
    const world = await withGroup(t);
    const [member, taken] = join(world);
    await world.publish('free');
    const run = await world.gateway.replays.start('default', 'g', { from: 'earliest', ids: 'as-new' });
    await world.clock.advance(0);
    const [ofPass, ofRun] = taken as [Handed, Handed];
    assert.ok(ofRun.lane.endsWith(run.id));
    const isOver = watched(world.gateway.replays.rewind('default', 'g', 'latest'));
    await world.clock.advance(TAKE_BACK_MS);
    assert.ok(isOver());
    assert.deepEqual(member.extend([ofPass, ofRun], 43_200_000), [ofRun]);
    await world.gateway.replays.cancel('default', run.id);
    await world.clock.advance(TAKE_BACK_MS - 1);
    assert.deepEqual(member.extend([ofRun], 43_200_000), [ofRun]);
    await world.clock.advance(1);
    assert.deepEqual(member.settle([ofRun], { kind: 'acked' }), []);
    // Its lanes are gone: nothing holds them any more.
    assert.equal((await world.gateway.health('default', 'g')).inFlight, 0);
  });
});

// oxlint-disable-next-line typescript/no-explicit-any -- frames of every shape
type Frame = any;

const GROUP = { topics: ['orders.*'], deliver: { stream: { ackWait: '10m' } }, ordering: 'key' } as const;
const idsOf = (frames: readonly Frame[]): string[] => frames.map(({ event }) => event.id);

async function withGroup(t: TestContext): Promise<HandWorld> {
  const world = await handWorld(t, { limits: { drainMs: DRAIN_MS, takeBackMs: TAKE_BACK_MS } });
  await world.subscribe('g', GROUP);
  return world;
}

/** A consumer that is connected. */
function join({ gateway }: HandWorld): [Member, Handed[]] {
  const taken: Handed[] = [];
  const member = gateway.groups.join('default', 'g', { take: (handed) => void taken.push(handed), left: () => undefined });
  member.addCredit(10);
  return [member, taken];
}

/** The messages that a long poll is answered with; nobody is connected afterwards. */
const pull = async (world: HandWorld): Promise<Frame[]> => (await call(world, [], true)).filter(({ op }) => op === 'msg');

const ack = (world: HandWorld, id: string): Promise<Frame[]> => settleIn(world, { op: 'ack', group: 'g', ids: [id] });
const settleIn = (world: HandWorld, one: PullSettle): Promise<Frame[]> => call(world, [one], false);

async function call({ gateway, directory, clock }: HandWorld, settles: readonly PullSettle[], asks: boolean): Promise<Frame[]> {
  const subscription = await directory.get('subscription', 'default', 'g');
  assert.ok(subscription !== undefined);
  const caller = { key: '', environment: 'default', app: 'crm', scopes: [], admin: true };
  const onError = (error: unknown): never => assert.fail(String(error));
  const here = { groups: gateway.groups, messages: createMessages(), caller, clock, onError };
  const wait = { clock, waitMs: 0, maxBytes: 1_000_000, hold: () => true, ended: new AbortController().signal };
  const sub = { op: 'sub', sub: 1, group: 'g', credit: 10, waitMs: 0 } as const;
  const part = pullGroup({ subscription, settles, ...(asks ? { sub } : {}) }, here, () => createGathering(wait));
  await clock.advance(100);
  return (await part).frames.map((frame) => JSON.parse(frame.toString()));
}

function watched(work: Promise<unknown>): () => boolean {
  let isOver = false;
  void work.then(() => (isOver = true));
  return () => isOver;
}
