/** The whole gateway between a hand-driven clock and a scripted sender: the journey, failure, outage, and the end of it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { failure, handWorld, settle } from '../test/clock.ts';
import type { Gateway } from './api.ts';
import { createGateway } from './gateway.ts';
import { createVault } from './vault.ts';

test('an event reaches every subscription that wants it, once', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('all');
  await world.subscribe('seven', { filter: { data: { id: ['7'] } } });
  await world.subscribe('invoices', { topics: ['invoices.>'] });
  await world.publish('6', '7');
  assert.deepEqual(world.sender.sent.map(({ headers, event }) => `${headers['millrace-subscription']} ${event}`).toSorted(), [
    'all 6',
    'all 7',
    'seven 7',
  ]);
});

test('publishing twice with one id appends once, and another body under it is refused', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('all');
  const publish = (text: string) => {
    const event = { type: 'orders.created', source: '/s', id: 'x', data: Buffer.from(text) };
    return world.gateway.publish({ environment: 'default', app: 'shop', events: [event] });
  };
  const [first] = await publish('1');
  const [second] = await publish('1');
  const [third] = await publish('2');
  await settle();
  assert.ok(first?.status === 'appended' && second?.status === 'duplicate');
  assert.deepEqual({ ...second, status: 'appended' }, first);
  assert.ok(third?.status === 'refused');
  assert.equal(third.problem.code, 'idempotency_key_reused');
  assert.deepEqual(world.fresh(), ['x']);
});

test('of a batch the good events are kept and each bad one says why, in order', async (t) => {
  const world = await handWorld(t);
  const events = [{ type: 'orders.created', id: 'a' }, { type: 'nowhere' }, { type: 'orders.created', id: 'b' }];
  const published = await world.gateway.publish({ environment: 'default', app: 'shop', events });
  assert.deepEqual(
    published.map((one) => (one.status === 'refused' ? one.problem.code : one.id)),
    ['a', 'unknown_topic', 'b'],
  );
});

test('a failed delivery is tried again on its schedule, with the same webhook-id, while others go on', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s');
  world.sender.script = ({ event }) => (event === 'bad' && world.sender.sent.length < 4 ? 500 : 200);
  await world.publish('bad', 'good');
  assert.deepEqual(world.fresh(), ['bad', 'good']);
  await world.clock.advance(9_999);
  assert.deepEqual(world.fresh(), []);
  await world.clock.advance(1);
  assert.deepEqual(world.fresh(), ['bad']);
  await world.clock.advance(60_000);
  assert.deepEqual(world.fresh(), ['bad']);
  const ids = world.sender.sent.filter(({ event }) => event === 'bad').map(({ headers }) => headers['webhook-id']);
  assert.equal(new Set(ids).size, 1);
  const health = await world.gateway.health('default', 's');
  assert.equal(health.parked, 0);
  assert.equal(health.deadLetters, 0);
});

test('the last failure of a schedule is a dead letter that says why and carries its event', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s');
  world.sender.script = () => ({ status: 422, snippet: 'no such order', durationMs: 1 });
  await world.publish('1');
  await world.clock.advance(70_000);
  const [letter] = await world.gateway.deadLetters.list('default', 's', { limit: 10 });
  assert.equal(world.fresh().length, 3);
  assert.equal(letter?.cause, 'http_422');
  assert.equal(letter.detail, 'no such order');
  assert.equal(letter.attempts, 3);
  assert.equal(letter.eventId, '1');
  assert.ok(letter.kept !== undefined);
  const attempts = await world.ledger.attemptsOf(letter.lane, letter.shard, letter.position);
  assert.deepEqual(
    attempts.map(({ n, outcome }) => [n, outcome]),
    [
      [1, 'retry'],
      [2, 'retry'],
      [3, 'dead'],
    ],
  );
});

test('an endpoint that is down opens the breaker: only probes go out, no event dies, the backlog waits in the log', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s', { concurrency: 1, retry: { schedule: ['10s'], jitter: 0 } });
  world.sender.script = () => failure('refused');
  await world.publish(...Array.from({ length: 40 }, (_, at) => `${at}`));
  assert.deepEqual(world.fresh(), ['0', '1', '2']);
  assert.equal((await world.gateway.health('default', 's')).breaker, 'open');
  await world.clock.advance(600_000);
  const probes = world.fresh();
  assert.equal(probes.length, 60);
  assert.ok(new Set(probes).size >= 10, 'each probe is another event');
  const health = await world.gateway.health('default', 's');
  assert.deepEqual([health.deadLetters, health.parked], [0, 3]);

  world.sender.script = () => 200;
  await world.clock.advance(10_000);
  const after = world.fresh();
  assert.deepEqual(after.toSorted(), Array.from({ length: 40 }, (_, at) => `${at}`).toSorted());
  assert.deepEqual(
    world.notices.map(({ kind }) => kind).filter((kind) => kind.startsWith('breaker')),
    ['breaker_open', 'breaker_closed'],
  );
});

for (const [what, change] of [
  ['resuming a subscription', (gateway) => gateway.subscriptions.resume('default', 's')],
  [
    'another address',
    (gateway) => gateway.subscriptions.update('default', 's', { deliver: { webhook: { url: 'https://other.example/' } } }),
  ],
] as const satisfies [string, (gateway: Gateway) => Promise<unknown>][])
  test(`${what} has an open breaker probe at once`, async (t) => {
    const world = await handWorld(t);
    await world.subscribe('s', { breaker: { failures: 1 } });
    world.sender.script = () => failure('refused');
    await world.publish('1', '2');
    world.fresh();
    world.sender.script = () => 200;
    await change(world.gateway);
    await settle();
    assert.equal((await world.gateway.health('default', 's')).breaker, 'closed');
    assert.deepEqual(world.fresh().length > 0, true);
  });

test('when most endpoints can not be reached at once, one notice says that the fault is ours', async (t) => {
  const world = await handWorld(t);
  for (const id of ['a', 'b', 'c', 'd']) await world.subscribe(id, { breaker: { failures: 1 } });
  world.sender.script = () => failure('refused');
  await world.publish('1');
  assert.deepEqual(
    world.notices.filter(({ kind }) => kind === 'egress_failing'),
    [{ kind: 'egress_failing', subscriptions: 3 }],
  );
});

test('stopping waits for what is in flight, keeps what it learnt, and takes no events any more', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s', { concurrency: 1 });
  world.sender.script = () => undefined;
  await world.publish('1', '2');
  const stopped = world.gateway.stop();
  let done = false;
  void stopped.then(() => (done = true));
  await settle();
  assert.ok(!done);
  await assert.rejects(world.publish('3'), { code: 'shutting_down' });
  world.sender.sent[0]?.answer(200);
  await stopped;
  world.sender.script = () => 200;
  await world.restart('stop');
  assert.deepEqual(world.fresh(), ['1', '2']);
});

test('stopping waits no longer than its bound: what is still open is sent again after the next start', async (t) => {
  const world = await handWorld(t, { limits: { drainMs: 3_000 } });
  await world.subscribe('s');
  world.sender.script = () => undefined;
  await world.publish('1');
  const stopped = world.gateway.stop();
  await world.clock.advance(3_000);
  await stopped;
  world.sender.script = () => 200;
  await world.restart('stop');
  assert.deepEqual(world.fresh(), ['1', '1']);
  const ids = new Set(world.sender.sent.map(({ headers }) => headers['webhook-id']));
  assert.equal(ids.size, 1);
});

test('a gateway that has not started takes no events', async (t) => {
  const { clock, sender, log, directory, ledger } = await handWorld(t);
  const gateway = createGateway({ ports: { log, directory, ledger, sender, clock, vault: createVault(new Uint8Array(32)) } });
  const event = { type: 'orders.created' };
  await assert.rejects(gateway.publish({ environment: 'default', app: 'shop', events: [event] }), { code: 'shutting_down' });
});

test('wall time that jumps back or forth neither loses nor repeats anything', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s', { from: 'earliest' });
  await world.publish('1');
  world.clock.jump(-86_400_000);
  await world.publish('2');
  world.clock.jump(2 * 86_400_000);
  await world.publish('3');
  await world.clock.advance(5_000);
  await world.restart('abandon');
  assert.deepEqual(world.fresh(), ['1', '2', '3']);
});

test('a stop ends though the ledger can not be written: what is not recorded is sent again after the next start', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s');
  const { commit } = world.ledger;
  world.ledger.commit = () => Promise.reject(new Error('the disk is full'));
  await world.publish('1');
  const stopped = world.gateway.stop();
  await world.clock.advance(60_000);
  await stopped;
  world.ledger.commit = commit;
  await world.restart('stop');
  await world.clock.advance(3_000);
  assert.deepEqual(world.fresh(), ['1', '1']);
});

test('a replay that has ended is marked done, also when the directory fails at first', async (t) => {
  const world = await handWorld(t);
  await world.publish('1');
  await world.subscribe('s');
  const { put } = world.directory;
  let failures = 2;
  world.directory.put = (...args) => {
    const isDone = args[0] === 'run' && (args[3] as { state: string }).state === 'done';
    return isDone && failures-- > 0 ? Promise.reject(new Error('away')) : put(...args);
  };
  const run = await world.gateway.replays.start('default', 's', { from: 'earliest' });
  await world.clock.advance(30_000);
  assert.equal((await world.directory.get('run', 'default', run.id))?.value.state, 'done');
});
