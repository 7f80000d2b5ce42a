/** Dead letters in a person's hands: redriven, discarded, and what they hold meanwhile. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { handWorld, settle } from '../test/clock.ts';
import type { SubscriptionSpec } from './api.ts';

async function withLetter(t: TestContext, spec: Partial<SubscriptionSpec> = {}, ...events: readonly string[]) {
  const world = await handWorld(t);
  const created = await world.subscribe('s', { retry: { schedule: ['10s'], jitter: 0 }, breaker: false, ...spec });
  world.sender.script = () => 500;
  await world.publish(...(events.length === 0 ? ['1'] : events));
  await world.clock.advance(10_000);
  const [letter] = await world.gateway.deadLetters.list('default', 's', { limit: 1 });
  assert.ok(letter !== undefined);
  world.fresh();
  return { world, letter, uid: created.subscription.value.uid };
}

const KEYED = { ordering: 'key', onDead: 'hold' } as const;

test('a redriven letter is sent at once under the same webhook-id, and is a letter no more', async (t) => {
  const { world, letter } = await withLetter(t);
  world.sender.script = () => 200;
  await world.gateway.deadLetters.redrive('default', 's', letter.id);
  await settle();
  assert.deepEqual(world.fresh(), ['1']);
  assert.equal(new Set(world.sender.sent.map(({ headers }) => headers['webhook-id'])).size, 1);
  assert.deepEqual(await world.gateway.deadLetters.list('default', 's', { limit: 10 }), []);
  const { deadLetters, parked } = await world.gateway.health('default', 's');
  assert.deepEqual([deadLetters, parked], [0, 0]);
});

test('a redrive has a fresh schedule while its attempts go on counting, and dies as the same letter', async (t) => {
  const { world, letter } = await withLetter(t);
  await world.gateway.deadLetters.redrive('default', 's', letter.id);
  await settle();
  assert.equal(world.fresh().length, 1);
  await world.clock.advance(10_000);
  assert.equal(world.fresh().length, 1);
  const [again] = await world.gateway.deadLetters.list('default', 's', { limit: 10 });
  assert.equal(again?.id, letter.id);
  assert.equal(again.attempts, 4);
  const attempts = await world.ledger.attemptsOf(letter.lane, letter.shard, letter.position);
  assert.deepEqual(
    attempts.map(({ n, outcome }) => `${n} ${outcome}`),
    ['1 retry', '2 dead', '3 retry', '4 dead'],
  );
  assert.equal((await world.gateway.health('default', 's')).deadLetters, 1);
});

test('a redrive that waits for its next attempt survives a crash with its count', async (t) => {
  const { world, letter } = await withLetter(t);
  await world.gateway.deadLetters.redrive('default', 's', letter.id);
  await settle();
  await world.restart('abandon');
  world.sender.script = () => 200;
  await world.clock.advance(10_000);
  assert.deepEqual(world.fresh(), ['1', '1']);
  const attempts = await world.ledger.attemptsOf(letter.lane, letter.shard, letter.position);
  assert.deepEqual(
    attempts.map(({ n }) => n),
    [1, 2, 3, 4],
  );
});

test('a letter that holds its key keeps the successors waiting, until it is redriven and delivered', async (t) => {
  const { world, letter } = await withLetter(t, KEYED, 'a/1', 'a/2', 'a/3');
  await world.clock.advance(60_000);
  assert.deepEqual(world.fresh(), []);
  assert.equal(letter.holdsKey, 'a');
  world.sender.script = () => undefined;
  await world.gateway.deadLetters.redrive('default', 's', letter.id);
  await settle();
  assert.deepEqual(world.fresh(), ['a/1']);
  world.sender.script = () => 200;
  world.sender.sent.at(-1)?.answer(200);
  await settle();
  assert.deepEqual(world.fresh(), ['a/2', 'a/3']);
});

test('a letter that holds its key lets it go when it is discarded, also after a restart', async (t) => {
  const { world, letter } = await withLetter(t, KEYED, 'a/1', 'a/2');
  world.sender.script = () => 200;
  await world.restart('abandon');
  await world.publish('a/3', 'b/1');
  await world.clock.advance(60_000);
  assert.deepEqual(world.fresh(), ['b/1']);
  await world.gateway.deadLetters.discard('default', 's', letter.id);
  await settle();
  assert.deepEqual(world.fresh(), ['a/2', 'a/3']);
  assert.equal((await world.gateway.health('default', 's')).deadLetters, 0);
});

test('a letter that does not hold its key is an order of its own when it is redriven', async (t) => {
  const { world, letter } = await withLetter(t, { ordering: 'key' }, 'a/1');
  world.sender.script = ({ event }) => (event === 'a/2' ? undefined : 200);
  await world.publish('a/2');
  await world.gateway.deadLetters.redrive('default', 's', letter.id);
  await settle();
  assert.deepEqual(world.fresh(), ['a/2', 'a/1']);
});

test('a letter for a range has nothing to send', async (t) => {
  const world = await handWorld(t, { topics: { 'orders.created': { retentionMs: 60_000 } } });
  await world.subscribe('s');
  await world.gateway.subscriptions.pause('default', 's');
  await world.publish('1');
  await world.restart('stop');
  await world.clock.advance(180_000);
  await world.publish('2');
  await world.gateway.subscriptions.resume('default', 's');
  await world.restart('stop');
  await world.clock.advance(60_000);
  const letters = await world.gateway.deadLetters.list('default', 's', { limit: 10 });
  assert.deepEqual(
    letters.map(({ cause }) => cause),
    ['expired'],
  );
  const { id = '' } = letters[0] ?? {};
  await assert.rejects(world.gateway.deadLetters.redrive('default', 's', id), { code: 'not_redrivable' });
  await world.gateway.deadLetters.discard('default', 's', id);
  assert.equal((await world.gateway.health('default', 's')).deadLetters, 0);
});

test('two answers to one letter at once: the second is told to wait, and it counts once', async (t) => {
  const { world, letter } = await withLetter(t);
  const first = world.gateway.deadLetters.discard('default', 's', letter.id);
  await assert.rejects(world.gateway.deadLetters.discard('default', 's', letter.id), { code: 'in_flight' });
  await first;
  await assert.rejects(world.gateway.deadLetters.redrive('default', 's', letter.id), { code: 'not_found' });
  assert.equal((await world.gateway.health('default', 's')).deadLetters, 0);
});

test("nobody reaches a letter through another subscription's name", async (t) => {
  const { world, letter } = await withLetter(t);
  await world.subscribe('other');
  for (const act of [world.gateway.deadLetters.discard, world.gateway.deadLetters.redrive]) {
    await assert.rejects(act('default', 'other', letter.id), { code: 'not_found' });
    await assert.rejects(act('staging', 's', letter.id), { code: 'not_found' });
  }
  assert.deepEqual(await world.gateway.deadLetters.list('default', 'other', { limit: 10 }), []);
});

test('a redrive is refused while the bound of parked deliveries has no room', async (t) => {
  const { world, letter } = await withLetter(t, { bounds: { parked: 1 } });
  await world.publish('2');
  await assert.rejects(world.gateway.deadLetters.redrive('default', 's', letter.id), { code: 'overloaded' });
  assert.equal((await world.gateway.deadLetters.list('default', 's', { limit: 10 })).length, 1);
});
