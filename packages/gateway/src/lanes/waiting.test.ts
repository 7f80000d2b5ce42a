/** What waits in the log: how old the oldest event is that a subscription has not come to. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { handWorld, settle } from '../../test/clock.ts';

test('nothing waits while all is delivered, and what is parked does not count', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s');
  const behind = async () => (await world.gateway.health('default', 's')).behindMs;
  assert.equal(await behind(), 0);
  await world.publish('1');
  assert.equal(await behind(), 0);
  world.sender.script = () => 500;
  await world.publish('2');
  await world.clock.advance(1_000);
  assert.deepEqual([(await world.gateway.health('default', 's')).parked, await behind()], [1, 0]);
});

test('paused, it falls behind by as much as its oldest event has waited, whatever others wanted meanwhile', async (t) => {
  const world = await handWorld(t, { topics: { 'users.changed': {} } });
  await world.subscribe('s', { filter: { id: ['2', '3'] } });
  const behind = async () => (await world.gateway.health('default', 's')).behindMs;
  await world.gateway.subscriptions.pause('default', 's');
  await settle();
  await world.publish('1');
  await world.clock.advance(5_000);
  assert.equal(await behind(), 0);
  await world.publish('2');
  await world.clock.advance(7_000);
  await world.publish('3');
  await world.clock.advance(1_000);
  assert.equal(await behind(), 8_000);
  await world.gateway.subscriptions.resume('default', 's');
  await settle();
  assert.equal(await behind(), 0);
  assert.deepEqual(world.fresh(), ['2', '3']);
});

test('a request under way counts until it is answered', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s');
  world.sender.script = () => undefined;
  await world.publish('1');
  await world.clock.advance(300);
  assert.equal((await world.gateway.health('default', 's')).behindMs, 300);
  world.sender.sent[0]?.answer(200);
  await settle();
  assert.equal((await world.gateway.health('default', 's')).behindMs, 0);
});
