/** Failures that are reported after the fact, by hand-driven time: what becomes of the delivery, and that nothing is doubled. */
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { type HandOptions, type HandWorld, handWorld, settle } from '../../test/clock.ts';
import type { SaidFailed, Settled } from '../api.ts';
import { placeIn } from '../http/delivery-ids.ts';
import { Problem } from '@millrace/core/problem';

const HOUR_MS = 3_600_000;

interface Reporting extends HandWorld {
  /** As the receiver of the request number `at` (from the last one). */
  report(said?: Partial<SaidFailed>, at?: number): Promise<Settled>;
  /** The code it is refused with. */
  refusal(said?: Partial<SaidFailed>, at?: number): Promise<string>;
}

async function reporting(t: TestContext, options: HandOptions = {}): Promise<Reporting> {
  const world = await handWorld(t, { publicUrl: 'https://events.example', ...options });
  async function report(said: Partial<SaidFailed> = {}, at = -1): Promise<Settled> {
    const [address = '', token] = world.sender.sent.at(at)?.headers['millrace-failed']?.split(' ') ?? [];
    const id = decodeURIComponent(/^https:\/\/events\.example\/v1\/deliveries\/([^/]+)\/failed$/.exec(address)?.[1] ?? '');
    const place = placeIn(id);
    assert.ok(place);
    const { failures } = world.gateway;
    const settled = failures.report('default', 's', place, { reported: failures.read(id, token), reason: 'no', ...said });
    void settled.catch(() => undefined);
    await settle();
    await world.clock.advance(0);
    return settled;
  }
  return Object.assign(world, {
    report,
    async refusal(said?: Partial<SaidFailed>, at?: number) {
      try {
        await report(said, at);
      } catch (error) {
        if (error instanceof Problem) return error.code;
        throw error;
      }
      return 'none';
    },
  });
}

const counts = async ({ gateway }: HandWorld) => {
  const { parked, deadLetters } = await gateway.health('default', 's');
  return { parked, deadLetters };
};

describe('a failure that is reported later', { timeout: 30_000 }, () => {
  test('has the delivery tried again by the schedule, as the next attempt, with the same id', async (t) => {
    const world = await reporting(t);
    await world.subscribe('s');
    await world.publish('1');
    const settled = await world.report();
    assert.deepEqual(settled, { outcome: 'retry', dueMs: world.clock.now() + 10_000 });
    assert.deepEqual(await counts(world), { parked: 1, deadLetters: 0 });
    world.fresh();
    await world.clock.advance(9_999);
    assert.deepEqual(world.fresh(), []);
    await world.clock.advance(1);
    assert.deepEqual(world.fresh(), ['1']);
    const [first, second] = world.sender.sent;
    assert.equal(first?.headers['webhook-id'], second?.headers['webhook-id']);
    assert.notEqual(first?.headers['millrace-failed'], second?.headers['millrace-failed']);
    assert.deepEqual(await counts(world), { parked: 0, deadLetters: 0 });
    const place = { lane: '', shard: '', position: '', ...placeOf(world) };
    const attempts = await world.ledger.attemptsOf(place.lane, place.shard, place.position);
    assert.deepEqual(
      attempts.map(({ n, outcome, cause, snippet }) => [n, outcome, cause, snippet]),
      [
        [1, 'delivered', '', ''],
        [1, 'retry', 'reported_failed', 'no'],
        [2, 'delivered', '', ''],
      ],
    );
    const [notice] = world.notices.filter(({ kind }) => kind === 'reported');
    assert.deepEqual(notice, {
      kind: 'reported',
      environment: 'default',
      subscription: 's',
      event: '1',
      topic: 'orders.created',
      n: 1,
      outcome: 'retry',
    });
  });

  test('goes on in the schedule, and ends as a dead letter when that is over', async (t) => {
    const world = await reporting(t);
    await world.subscribe('s');
    await world.publish('1');
    await world.report();
    await world.clock.advance(10_000);
    assert.deepEqual(await world.report(), { outcome: 'retry', dueMs: world.clock.now() + 60_000 });
    await world.clock.advance(60_000);
    assert.deepEqual(await world.report({ reason: 'still no' }), { outcome: 'dead' });
    const [letter] = await world.gateway.deadLetters.list('default', 's', { limit: 10 });
    assert.deepEqual([letter?.cause, letter?.detail, letter?.attempts, letter?.eventId], ['reported_failed', 'still no', 3, '1']);
    // Redriven it has a fresh schedule, which a report goes by.
    await redrive(world, letter?.id ?? '');
    await world.clock.advance(0);
    assert.equal(world.sender.sent.length, 4);
    assert.deepEqual(await world.report(), { outcome: 'retry', dueMs: world.clock.now() + 10_000 });
  });

  test('with dead is a dead letter at once, that holds its event', async (t) => {
    const world = await reporting(t);
    await world.subscribe('s');
    await world.publish('1');
    assert.deepEqual(await world.report({ dead: true }), { outcome: 'dead' });
    assert.deepEqual(await counts(world), { parked: 0, deadLetters: 1 });
    const [letter] = await world.gateway.deadLetters.list('default', 's', { limit: 10 });
    assert.ok(letter?.kept);
    await redrive(world, letter.id);
    await world.clock.advance(0);
    assert.deepEqual(world.fresh(), ['1', '1']);
    assert.deepEqual(await counts(world), { parked: 0, deadLetters: 0 });
  });

  test('with a delay is tried again after that', async (t) => {
    const world = await reporting(t);
    await world.subscribe('s');
    await world.publish('1');
    await world.report({ delayMs: 2 * HOUR_MS });
    world.fresh();
    await world.clock.advance(2 * HOUR_MS - 1);
    assert.deepEqual(world.fresh(), []);
    await world.clock.advance(1);
    assert.deepEqual(world.fresh(), ['1']);
  });

  test('counts once for each attempt: said again it is as it is, and decided otherwise it is refused', async (t) => {
    const world = await reporting(t);
    await world.subscribe('s');
    await world.publish('1');
    const first = await world.report();
    assert.deepEqual(await world.report(), first);
    assert.equal(await world.refusal({ dead: true }), 'conflict');
    assert.deepEqual(await counts(world), { parked: 1, deadLetters: 0 });
    await world.clock.advance(10_000);
    assert.equal(world.sender.sent.length, 2);
    assert.equal(await world.refusal({}, 0), 'conflict', 'it was sent again since');
    assert.deepEqual(await world.report({ dead: true }), { outcome: 'dead' });
    assert.deepEqual(await world.report({ dead: true }), { outcome: 'dead' });
    assert.equal(await world.refusal(), 'conflict', 'a dead letter is a matter of people');
    assert.deepEqual(await counts(world), { parked: 0, deadLetters: 1 });
  });

  test('two at once are one', async (t) => {
    const world = await reporting(t);
    await world.subscribe('s');
    await world.publish('1');
    const both = await Promise.allSettled([world.report(), world.report()]);
    assert.deepEqual(both.map(({ status }) => status).toSorted(), ['fulfilled', 'rejected']);
    assert.deepEqual(await counts(world), { parked: 1, deadLetters: 0 });
  });

  test('before the answer is there, or while it is on its way again, is to be said again', async (t) => {
    const world = await reporting(t);
    await world.subscribe('s');
    world.sender.script = () => undefined;
    await world.publish('1');
    assert.equal(await world.refusal(), 'in_flight');
    world.sender.sent[0]?.answer(200);
    await settle();
    await world.report({ delayMs: 0 });
    await world.clock.advance(0);
    assert.equal(world.sender.sent.length, 2);
    // It is out as attempt 2, whose receiver has not answered yet.
    assert.equal(await world.refusal(), 'in_flight');
    world.sender.sent[1]?.answer(200);
    await settle();
    assert.equal((await world.report()).outcome, 'retry');
  });

  test('of a delivery that failed for the gateway, too, leaves it as it is', async (t) => {
    const world = await reporting(t);
    await world.subscribe('s');
    world.sender.script = () => 500;
    await world.publish('1');
    assert.deepEqual(await world.report(), { outcome: 'retry', dueMs: world.clock.now() + 10_000 });
    assert.deepEqual(await counts(world), { parked: 1, deadLetters: 0 });
  });

  test('of an ordered key comes after what was delivered since, and holds up nobody', async (t) => {
    const world = await reporting(t);
    await world.subscribe('s', { ordering: 'key', onDead: 'hold' });
    await world.publish('a/1', 'a/2');
    assert.deepEqual(world.fresh(), ['a/1', 'a/2']);
    await world.report({}, 0);
    await world.publish('a/3');
    assert.deepEqual(world.fresh(), ['a/3']);
    await world.clock.advance(10_000);
    assert.deepEqual(world.fresh(), ['a/1']);
    // Nor does its dead letter hold the key.
    await world.report({ dead: true });
    await world.publish('a/4');
    assert.deepEqual(world.fresh(), ['a/4']);
  });

  for (const how of ['stop', 'abandon'] as const)
    test(`outlives the process (${how}): its token before the report, what it came to after it`, async (t) => {
      const world = await reporting(t);
      await world.subscribe('s');
      await world.publish('1', '2');
      await world.clock.advance(2_000);
      await world.restart(how);
      await world.report({}, 0);
      assert.deepEqual(await world.report({ dead: true }, 1), { outcome: 'dead' });
      await world.restart(how);
      world.fresh();
      assert.deepEqual(await counts(world), { parked: 1, deadLetters: 1 });
      await world.clock.advance(10_000);
      assert.deepEqual(world.fresh(), ['1']);
    });

  test('waits where the subscription is paused, and finds room within its bounds only', async (t) => {
    const world = await reporting(t);
    await world.subscribe('s', { bounds: { parked: 1, deadLetters: 1 } });
    await world.publish('1');
    await world.publish('2');
    await world.publish('3');
    await world.gateway.subscriptions.pause('default', 's');
    await world.report({}, 0);
    assert.equal(await world.refusal({}, 1), 'overloaded');
    await world.report({ dead: true }, 1);
    assert.equal(await world.refusal({ dead: true }, 2), 'overloaded');
    world.fresh();
    await world.clock.advance(60_000);
    assert.deepEqual(world.fresh(), []);
    await world.gateway.subscriptions.resume('default', 's');
    await world.gateway.deadLetters.discard(
      'default',
      's',
      (await world.gateway.deadLetters.list('default', 's', { limit: 1 }))[0]?.id ?? '',
    );
    await world.clock.advance(0);
    assert.deepEqual(world.fresh(), ['1']);
  });

  test('is taken so fast and no faster', async (t) => {
    const world = await reporting(t, { limits: { failedPerSecond: 1 } });
    await world.subscribe('s');
    await world.publish('1');
    for (let said = 0; said < 5; said++) await world.report();
    assert.equal(await world.refusal(), 'too_many_requests');
    await world.clock.advance(1_000);
    await world.report();
  });

  test('of a replay is the replay’s, and not known once that is forgotten', async (t) => {
    const world = await reporting(t);
    await world.subscribe('s');
    await world.publish('1');
    await world.gateway.replays.start('default', 's', { from: 'earliest' });
    await world.clock.advance(1_000);
    assert.equal(world.sender.sent.length, 2);
    assert.equal((await world.report()).outcome, 'retry');
    await world.clock.advance(10_000);
    assert.equal(world.sender.sent.length, 3);
  });

  test('once retention took the event can only be a dead letter', async (t) => {
    const world = await reporting(t, { topics: { 'orders.created': { retentionMs: 60_000 } }, limits: { retentionMs: 1_000 } });
    await world.subscribe('s');
    await world.publish('1');
    await world.clock.advance(120_000);
    await world.publish('2');
    await world.clock.advance(120_000);
    assert.equal(await world.refusal({}, 0), 'not_redrivable');
    assert.deepEqual(await world.report({ dead: true }, 0), { outcome: 'dead' });
  });

  test('is offered to nobody where the address of the gateway is not known, nor with a test', async (t) => {
    const unknown = await handWorld(t);
    await unknown.subscribe('s');
    await unknown.publish('1');
    assert.equal(unknown.sender.sent[0]?.headers['millrace-failed'], undefined);
    const known = await reporting(t);
    await known.subscribe('s');
    await known.gateway.subscriptions.test('default', 's', { topic: 'orders.created', data: Buffer.from('{}') });
    assert.equal(known.sender.sent[0]?.headers['millrace-failed'], undefined);
  });
});

function placeOf(world: HandWorld): ReturnType<typeof placeIn> {
  const address = world.sender.sent[0]?.headers['millrace-failed']?.split(' ')[0] ?? '';
  return placeIn(decodeURIComponent(address.split('/').at(-2) ?? ''));
}

async function redrive(world: HandWorld, letter: string): Promise<void> {
  await world.gateway.deadLetters.redrive('default', 's', letter);
  await settle();
}
