/** Recovery through the gateway: another process over the same stores, over a changed log, over an older ledger. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { encodeEvent } from '@millrace/core/event-bytes';
import { createMemoryLedger } from '@millrace/memory/ledger';
import { createMemoryLog } from '@millrace/memory/log';
import { draftOf, handWorld, settle } from '../../test/clock.ts';
import type { Commit, Ledger } from '../ports/ledger.ts';
import type { Entry } from '../ports/log.ts';

/** Keeps what is committed, so that a ledger of an earlier moment can be made again, as from a backup. */
function keeping(ledger: Ledger): { commits: Commit[]; asOf(count: number): Promise<Ledger> } {
  const commits: Commit[] = [];
  const { commit } = ledger;
  ledger.commit = (one) => {
    commits.push(structuredClone(one));
    return commit(one);
  };
  return {
    commits,
    async asOf(count) {
      const older = createMemoryLedger();
      for (const one of commits.slice(0, count)) await older.commit(one);
      return older;
    },
  };
}

test('after a crash only what was not recorded is sent again, under its old webhook-id', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s', { concurrency: 4 });
  world.sender.script = ({ event }) => (event === '2' || event === '5' ? undefined : 200);
  await world.publish('1', '2', '3', '4', '5', '6');
  assert.deepEqual(world.fresh(), ['1', '2', '3', '4', '5', '6']);
  world.sender.script = () => 200;
  await world.restart('abandon');
  await world.clock.advance(3_000);
  assert.deepEqual(world.fresh(), ['2', '5']);
  assert.equal(new Set(world.sender.sent.map(({ headers }) => headers['webhook-id'])).size, 6);
});

test('what was published while no gateway ran is delivered by the next', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s');
  await world.publish('1');
  await world.clock.advance(3_000);
  await world.gateway.stop();
  const other = await handWorld(t);
  await other.restart('stop', { log: world.log });
  await other.publish('2');
  await world.restart('stop');
  assert.deepEqual(world.fresh(), ['1', '2']);
});

test('a crash before the first checkpoint starts from the cursor that was fixed at creation', async (t) => {
  const world = await handWorld(t);
  await world.publish('before');
  await world.subscribe('s');
  await world.subscribe('from-start', { from: 'earliest' });
  world.fresh();
  world.sender.script = () => undefined;
  await world.publish('1');
  world.fresh();
  world.sender.script = () => 200;
  await world.restart('abandon');
  await world.clock.advance(2_000);
  assert.deepEqual(world.fresh(), ['1', '1']);
});

test('many restarts repeat nothing and lose nothing', async (t) => {
  const world = await handWorld(t);
  for (const id of ['a', 'b']) await world.subscribe(id);
  await world.subscribe('c', { ordering: 'key' });
  const all: string[] = [];
  for (let round = 0; round < 10; round++) {
    await world.publish(`k/${round}`, `${round}`);
    all.push(`k/${round}`, `${round}`);
    if (round % 3 === 0) await world.clock.advance(2_500);
    await world.restart(round % 2 === 0 ? 'abandon' : 'stop');
  }
  await world.clock.advance(5_000);
  assert.deepEqual(world.fresh().toSorted(), [...all, ...all, ...all].toSorted());
});

test('a log that is another one: a new pass, the events from the time on, and a letter for what can not be known', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s');
  await world.publish('1', '2');
  await world.clock.advance(3_000);
  await world.gateway.stop();
  world.fresh();
  await world.restart('stop', { log: createMemoryLog({ now: world.clock.now }) });
  await world.publish('2', '3');
  await world.clock.advance(3_000);
  assert.deepEqual(world.fresh(), ['2', '3']);
  const stored = await world.directory.get('subscription', 'default', 's');
  assert.equal(stored?.value.pass, 1);
  const letters = await world.gateway.deadLetters.list('default', 's', { limit: 10 });
  assert.deepEqual(
    letters.map(({ cause, range }) => [cause, range?.through]),
    [['log_changed', '']],
  );
  assert.ok(world.notices.some(({ kind }) => kind === 'log_changed'));

  await world.restart('abandon');
  await world.clock.advance(3_000);
  assert.deepEqual(world.fresh(), []);
  assert.equal((await world.gateway.deadLetters.list('default', 's', { limit: 10 })).length, 1);
});

test('a log that lost its tail, and has written other events there since, is noticed too', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s');
  await world.publish('1');
  await world.clock.advance(3_000);
  const restored = createMemoryLog({ now: world.clock.now, identity: world.log.identity });
  await restored.append(
    (await world.log.read({ shard: 'memory-0', after: '', limit: 10, maxBytes: 1e6 })).records.map((record) => ({
      ...record,
      bytes: new Uint8Array(record.size),
    })),
  );
  await world.publish('2', '3');
  await world.clock.advance(3_000);
  world.fresh();
  await world.restart('abandon', { log: restored });
  await world.publish('4', '5', '6');
  await world.clock.advance(3_000);
  assert.deepEqual(
    world.fresh().filter((id) => id >= '4'),
    ['4', '5', '6'],
  );
  const letters = await world.gateway.deadLetters.list('default', 's', { limit: 10 });
  assert.deepEqual(
    letters.map(({ cause }) => cause),
    ['log_changed'],
  );
});

test('a parked delivery whose place means another event now is never sent as that event', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s', { retry: { schedule: ['1m'], jitter: 0 } });
  world.sender.script = () => 500;
  await world.publish('1');
  await world.clock.advance(2_000);
  world.fresh();
  world.sender.script = () => 200;
  const other = createMemoryLog({ now: world.clock.now });
  await world.restart('abandon', { log: other });
  await world.publish('9');
  await world.clock.advance(60_000);
  assert.deepEqual(world.fresh(), ['9']);
  const causes = (await world.gateway.deadLetters.list('default', 's', { limit: 10 })).map(({ cause }) => cause);
  assert.deepEqual(new Set(causes), new Set(['log_changed']));
  assert.equal((await world.gateway.health('default', 's')).parked, 0);
});

test('a ledger older than its log repeats, under the same ids, and skips nothing', async (t) => {
  const world = await handWorld(t);
  const kept = keeping(world.ledger);
  await world.subscribe('s');
  await world.publish('1', '2');
  await world.clock.advance(3_000);
  const moment = kept.commits.length;
  await world.publish('3', '4');
  await world.clock.advance(3_000);
  world.fresh();
  for (const count of [moment, 1]) {
    await world.restart('abandon', { ledger: await kept.asOf(count) });
    await world.clock.advance(3_000);
    const sent = world.fresh();
    assert.deepEqual(sent.slice(-2), ['3', '4']);
    assert.ok(sent.length === (count === moment ? 2 : 4), sent.join());
  }
  assert.equal(new Set(world.sender.sent.map(({ headers }) => headers['webhook-id'])).size, 4);
});

test('a ledger older than a rewind sends again what the rewind asked for', async (t) => {
  const world = await handWorld(t);
  const kept = keeping(world.ledger);
  await world.subscribe('s');
  await world.publish('1', '2');
  await world.clock.advance(3_000);
  const moment = kept.commits.length;
  await world.gateway.replays.rewind('default', 's', 'earliest');
  await world.clock.advance(3_000);
  assert.deepEqual(world.fresh(), ['1', '2', '1', '2']);
  await world.restart('abandon', { ledger: await kept.asOf(moment) });
  await world.publish('3');
  await world.clock.advance(3_000);
  assert.deepEqual(world.fresh(), ['1', '2', '3']);
});

test('a rewind that a crash cut short is finished: what was parked before is given up', async (t) => {
  const world = await handWorld(t);
  const kept = keeping(world.ledger);
  await world.subscribe('s', { retry: { schedule: ['1m'], jitter: 0 } });
  world.sender.script = () => 500;
  await world.publish('1');
  await world.clock.advance(2_000);
  await world.gateway.replays.rewind('default', 's', 'latest');
  await settle();
  const cut = kept.commits.findIndex(({ dropLanes = [] }) => dropLanes.length > 0);
  world.fresh();
  world.sender.script = () => 200;
  await world.restart('abandon', { ledger: await kept.asOf(cut) });
  assert.equal((await world.gateway.health('default', 's')).parked, 0);
  await world.clock.advance(60_000);
  await world.publish('2');
  assert.deepEqual(world.fresh(), ['2']);
});

test('what was delivered long ago is not sent again after a restart, though its attempts are forgotten', async (t) => {
  const world = await handWorld(t);
  await world.publish('1', '2');
  await world.subscribe('s', { from: 'earliest' });
  await world.clock.advance(3_000);
  assert.deepEqual(world.fresh(), ['1', '2']);
  await world.ledger.pruneAttempts(Infinity);
  await world.restart('abandon');
  await world.publish('3');
  await world.clock.advance(3_000);
  assert.deepEqual(world.fresh(), ['3']);
});

test('after a restart the head of a key is still who was sent, though a wider filter let in somebody before it', async (t) => {
  const world = await handWorld(t);
  const narrow = { data: { id: [{ 'anything-but': ['a/1'] }] } };
  await world.subscribe('s', { ordering: 'key', filter: narrow, retry: { schedule: ['1m'], jitter: 0 } });
  // `x` never ends, so that the cursor stays before all of them.
  world.sender.script = ({ event }) => (event === 'x' ? undefined : 500);
  await world.publish('x', 'a/1', 'a/2');
  world.gateway.abandon();
  const { value, version } = (await world.directory.get('subscription', 'default', 's')) ?? assert.fail();
  const { filter: _, ...wide } = value;
  await world.directory.put('subscription', 'default', 's', wide, version);
  for (const round of [1, 2]) {
    await world.restart('abandon');
    await world.clock.advance(7_000);
    assert.ok(!world.fresh().includes('a/1'), `restart ${round}`);
  }
  world.sender.script = () => 200;
  await world.clock.advance(60_000);
  assert.deepEqual(
    world.fresh().filter((id) => id !== 'x'),
    ['a/2', 'a/1'],
  );
});

test('an empty ledger starts every subscription where it is owed events', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('all', { from: 'earliest' });
  await world.publish('1');
  await world.clock.advance(10);
  await world.subscribe('later');
  await world.clock.advance(10);
  await world.publish('2');
  world.sender.sent.length = 0;
  await world.restart('abandon', { ledger: createMemoryLedger() });
  await world.clock.advance(3_000);
  const of = (id: string) =>
    world.sender.sent.filter(({ headers }) => headers['millrace-subscription'] === id).map(({ event }) => event);
  assert.deepEqual(of('all'), ['1', '2']);
  assert.ok(of('later').includes('2'));
});

test('what the ledger has of a subscription that was deleted meanwhile is forgotten', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s', { retry: { schedule: [] } });
  world.sender.script = () => 400;
  await world.publish('1');
  await world.clock.advance(2_000);
  await world.gateway.stop();
  await world.directory.delete('subscription', 'default', 's');
  await world.restart('stop');
  await settle();
  assert.deepEqual([await world.ledger.lanes(), await world.ledger.deadLetterCounts()], [[], []]);
});

test('a ledger that can not be read at the start is asked until it can, and then nothing was lost', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s');
  world.sender.script = () => undefined;
  await world.publish('1');
  world.gateway.abandon();
  world.fresh();
  world.sender.script = () => 200;
  const { handledAfter } = world.ledger;
  let failures = 3;
  world.ledger.handledAfter = (...place) => (failures-- > 0 ? Promise.reject(new Error('gone')) : handledAfter(...place));
  const restarted = world.restart('abandon');
  await world.clock.advance(1_000);
  await restarted;
  await settle();
  assert.deepEqual(world.fresh(), ['1']);
  assert.ok(world.notices.some(({ kind }) => kind === 'ledger_failing'));
});

test('where retention took the newest events, restarts repeat nothing and raise no alarm', async (t) => {
  const world = await handWorld(t, { topics: { 'short.lived': { retentionMs: 60_000 } } });
  await world.subscribe('s');
  await world.publish('1', '2');
  await world.clock.advance(3_000);
  await world.gateway.publish({
    environment: 'default',
    app: 'shop',
    events: [{ ...draftOf('short'), type: 'short.lived' }],
  });
  await world.clock.advance(200_000);
  world.fresh();
  let restarts = 0;
  for (const how of ['stop', 'stop', 'abandon', 'stop'] as const) {
    await world.restart(how);
    await world.subscribe(`other-${restarts++}`);
    await world.clock.advance(3_000);
  }
  world.clock.jump(30 * 86_400_000);
  for (const how of ['stop', 'stop', 'abandon'] as const) {
    await world.restart(how);
    await world.clock.advance(3_000);
  }
  assert.deepEqual(world.fresh(), []);
  assert.ok(!world.notices.some(({ kind }) => kind === 'log_changed'));
  await world.publish('3');
  assert.ok(world.fresh().includes('3'));
});

test('begun at a time that was still to come, it is owed what came from its creation on', async (t) => {
  const world = await handWorld(t);
  await world.publish('0');
  await world.subscribe('s', { from: { timeMs: world.clock.now() + 300_000 } });
  await world.clock.advance(60_000);
  world.sender.script = () => undefined;
  await world.publish('1');
  world.fresh();
  world.sender.script = () => 200;
  await world.restart('abandon', { ledger: createMemoryLedger() });
  await world.clock.advance(3_000);
  assert.ok(world.fresh().includes('1'));
});

test('what is parked on a shard the log does not have waits, and the rest runs', async (t) => {
  const world = await handWorld(t);
  await world.restart('stop', { log: createMemoryLog({ now: world.clock.now, shards: 2 }) });
  await world.subscribe('s', { retry: { schedule: ['1m'], jitter: 0 } });
  world.sender.script = () => 500;
  await world.publish('a/1', 'b/1', 'c/1', 'd/1');
  await world.clock.advance(3_000);
  world.sender.script = () => 200;
  await world.restart('stop', { log: createMemoryLog({ now: world.clock.now }) });
  await world.clock.advance(100_000);
  world.fresh();
  await world.publish('2');
  assert.deepEqual(world.fresh(), ['2']);
  assert.ok((await world.gateway.health('default', 's')).parked > 0);
});

test('a shard that appears while a changed log is recovered is entered from when the subscription is owed events', async (t) => {
  const world = await handWorld(t);
  await world.restart('stop', { log: createMemoryLog({ now: world.clock.now, shards: 2 }) });
  await world.subscribe('s');
  await world.publish('a/1', 'b/1', 'c/1', 'd/1');
  world.fresh();
  // Another log; it shows its second shard only after the first look at it.
  const log = createMemoryLog({ now: world.clock.now, shards: 2 });
  const entries: Entry[] = ['a/2', 'b/2', 'c/2', 'd/2', 'e/2', 'f/2'].map((id) => {
    const event = { ...draftOf(id), id, source: '/shop', extensions: { partitionkey: id[0] as string } };
    return { environment: 'default', app: 'shop', event, bytes: encodeEvent(event) };
  });
  const shards = new Set((await log.append(entries)).map((one) => ('shard' in one ? one.shard : '')));
  assert.equal(shards.size, 2);
  let looks = 0;
  await world.restart('stop', { log: { ...log, shards: () => log.shards().slice(0, looks++ === 0 ? 1 : 2) } });
  await world.clock.advance(100_000);
  assert.deepEqual(new Set(world.fresh()), new Set(entries.map(({ event }) => event.id)));
});

/** A gateway after a crash, with event x dead and 1 and 2 delivered but not yet passed by a cursor. */
async function withDeadLetter(t: TestContext) {
  const world = await handWorld(t);
  await world.subscribe('s', { retry: { schedule: [] } });
  world.sender.script = ({ event }) => (event === 'x' ? 400 : 200);
  await world.publish('x');
  await world.clock.advance(3_000);
  await world.publish('1', '2');
  world.fresh();
  world.sender.script = () => 200;
  const gate = Promise.withResolvers<void>();
  return {
    world,
    gate,
    async redrive() {
      const [letter] = await world.gateway.deadLetters.list('default', 's', { limit: 1 });
      await world.gateway.deadLetters.redrive('default', 's', letter?.id ?? '');
      await settle();
      gate.resolve();
      await world.clock.advance(3_000);
    },
  };
}

test('a redrive before the tail has read the gap of a crash does not repeat what stands there', async (t) => {
  const { world, gate, redrive } = await withDeadLetter(t);
  const { read } = world.log;
  world.log.read = async (request) => {
    await gate.promise;
    return read(request);
  };
  await world.restart('abandon');
  await redrive();
  assert.deepEqual(world.fresh(), ['x']);
});

test('a redrive while its lane is still asking the ledger is counted once', async (t) => {
  const { world, gate, redrive } = await withDeadLetter(t);
  const { handledAfter } = world.ledger;
  world.ledger.handledAfter = async (...place) => {
    await gate.promise;
    return handledAfter(...place);
  };
  await world.restart('abandon');
  await redrive();
  assert.deepEqual(world.fresh(), ['x']);
  await world.gateway.replays.rewind('default', 's', 'latest');
  const { parked, parkedBytes } = await world.gateway.health('default', 's');
  assert.deepEqual([parked, parkedBytes], [0, 0]);
});
