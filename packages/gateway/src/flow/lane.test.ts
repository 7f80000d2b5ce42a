/** Lanes through the gateway: order by key under failure, pausing, bounds that stop, retention, slow requests. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { draftOf, failure, type HandWorld, handWorld, settle } from '../../test/clock.ts';

const KEYED = { ordering: 'key', breaker: false, retry: { schedule: ['10s'], jitter: 0 } } as const;

test('events of one key go one at a time in order, other keys and events without one flow beside them', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s', KEYED);
  world.sender.script = ({ event }) => (event.startsWith('a') ? undefined : 200);
  await world.publish('a/1', 'a/2', 'b/1', 'free', 'b/2', 'a/3');
  assert.deepEqual(world.fresh(), ['a/1', 'b/1', 'free', 'b/2']);
  for (const next of ['a/2', 'a/3']) {
    world.sender.sent.findLast(({ event }) => event.startsWith('a'))?.answer(200);
    await settle();
    assert.deepEqual(world.fresh(), [next]);
  }
});

test('while the head of a key waits for its next attempt, its successors wait behind it', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s', KEYED);
  world.sender.script = ({ event }) => (event === 'a/1' && world.sender.sent.length === 1 ? 500 : 200);
  await world.publish('a/1', 'a/2', 'b/1', 'a/3');
  assert.deepEqual(world.fresh(), ['a/1', 'b/1']);
  await world.publish('a/4');
  await world.clock.advance(9_999);
  assert.deepEqual(world.fresh(), []);
  assert.equal((await world.gateway.health('default', 's')).held, 3);
  await world.clock.advance(1);
  assert.deepEqual(world.fresh(), ['a/1', 'a/2', 'a/3', 'a/4']);
  assert.equal((await world.gateway.health('default', 's')).held, 0);
});

test('a dead letter lets its key go on', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s', KEYED);
  world.sender.script = ({ event }) => (event === 'a/1' ? 400 : 200);
  await world.publish('a/1', 'a/2', 'a/3');
  await world.clock.advance(10_000);
  assert.deepEqual(world.fresh(), ['a/1', 'a/1', 'a/2', 'a/3']);
});

test('order holds over a crash in the middle of a parked head with held successors', async (t) => {
  const world = await handWorld(t, { limits: { openMs: 1_000 } });
  await world.subscribe('s', { ...KEYED, retry: { schedule: ['1m'], jitter: 0 } });
  world.sender.script = ({ event }) => (event === 'a/1' && world.sender.sent.length === 1 ? 500 : 200);
  await world.publish('a/1', 'a/2', 'b/1', 'a/3');
  await world.clock.advance(5_000);
  world.fresh();
  await world.restart('abandon');
  await world.publish('a/4', 'b/2');
  assert.deepEqual(world.fresh(), ['b/2']);
  await world.clock.advance(55_000);
  assert.deepEqual(world.fresh(), ['a/1', 'a/2', 'a/3', 'a/4']);
});

test('paused, a subscription sends nothing, also nothing that falls due; resumed, it goes on where it stood', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s');
  world.sender.script = ({ event }) => (event === '1' ? 500 : 200);
  await world.publish('1');
  await world.gateway.subscriptions.pause('default', 's');
  await world.publish('2', '3');
  await world.clock.advance(30_000);
  assert.deepEqual(world.fresh(), ['1']);
  await world.restart('abandon');
  await world.clock.advance(1_000);
  assert.deepEqual(world.fresh(), []);
  world.sender.script = () => 200;
  await world.gateway.subscriptions.resume('default', 's');
  await settle();
  assert.deepEqual(world.fresh().toSorted(), ['1', '2', '3']);
});

test('at the bound of parked deliveries the lane stands and says so; with room it goes on, and nothing is lost', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s', { breaker: false, bounds: { parked: 2 } });
  world.sender.script = () => 500;
  await world.publish('1', '2', '3', '4');
  assert.deepEqual(world.fresh(), ['1', '2']);
  const { stoppedBy, parked } = await world.gateway.health('default', 's');
  assert.deepEqual([stoppedBy, parked], ['parked', 2]);
  const told = world.notices.filter(({ kind }) => kind === 'bound_reached');
  assert.deepEqual(told, [{ kind: 'bound_reached', environment: 'default', subscription: 's', bound: 'parked' }]);
  world.sender.script = () => 200;
  await world.clock.advance(10_000);
  assert.deepEqual(world.fresh(), ['1', '2', '3', '4']);
  assert.equal((await world.gateway.health('default', 's')).stoppedBy, undefined);
});

test('at the bound of dead letters the lane stands until a person has discarded one', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s', { breaker: false, retry: { schedule: [] }, bounds: { deadLetters: 1 } });
  world.sender.script = () => 400;
  await world.publish('1', '2');
  assert.deepEqual(world.fresh(), ['1']);
  assert.equal((await world.gateway.health('default', 's')).stoppedBy, 'deadLetters');
  const [letter] = await world.gateway.deadLetters.list('default', 's', { limit: 1 });
  world.sender.script = () => 200;
  await world.gateway.deadLetters.discard('default', 's', letter?.id ?? '');
  await settle();
  assert.deepEqual(world.fresh(), ['2']);
});

test('at the bound of held deliveries the lane stands, also for other keys', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s', { ...KEYED, bounds: { held: 1 } });
  world.sender.script = ({ event }) => (event === 'a/1' && world.sender.sent.length === 1 ? 500 : 200);
  await world.publish('a/1', 'a/2', 'a/3', 'b/1');
  assert.deepEqual(world.fresh(), ['a/1']);
  assert.equal((await world.gateway.health('default', 's')).stoppedBy, 'held');
  await world.clock.advance(10_000);
  assert.deepEqual(world.fresh().toSorted(), ['a/1', 'a/2', 'a/3', 'b/1']);
});

test('retention that passes a paused lane leaves one dead letter for the range, and warnings on the way there', async (t) => {
  const world = await handWorld(t, { topics: { 'orders.created': { retentionMs: 600_000 } } });
  await world.subscribe('s');
  await world.publish('0');
  await world.clock.advance(2_000);
  await world.gateway.subscriptions.pause('default', 's');
  await world.publish('1', '2', '3');
  await world.clock.advance(720_000);
  await world.restart('abandon');
  await world.publish('4');
  await world.gateway.subscriptions.resume('default', 's');
  await world.clock.advance(2_000);
  assert.deepEqual(world.fresh(), ['0', '4']);
  const letters = await world.gateway.deadLetters.list('default', 's', { limit: 10 });
  assert.deepEqual(
    letters.map(({ cause, range }) => [cause, range?.count]),
    [['expired', 3]],
  );
  const near = world.notices.flatMap((notice) => (notice.kind === 'retention_near' ? [notice.percent] : []));
  assert.deepEqual(near, [50, 80]);
  assert.ok(world.notices.some(({ kind }) => kind === 'range_expired'));
});

test('a delivery that waits beyond retention keeps its event and is sent all the same', async (t) => {
  const world = await handWorld(t, { limits: { keepBytesMs: 60_000 }, topics: { 'orders.created': { retentionMs: 600_000 } } });
  await world.subscribe('s', { retry: { schedule: ['20m'], jitter: 0 } });
  world.sender.script = () => (world.sender.sent.length === 1 ? 500 : 200);
  await world.publish('1');
  await world.restart('stop');
  await world.clock.advance(1_200_000);
  assert.deepEqual(world.fresh(), ['1', '1']);
  assert.deepEqual(await world.gateway.deadLetters.list('default', 's', { limit: 10 }), []);
});

test('a request that hangs does not hold the cursor: after a crash only it is sent again', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s');
  world.sender.script = ({ event }) => (event === 'slow' ? undefined : 200);
  const [slow] = await world.publish('slow', '1', '2');
  await world.clock.advance(7_000);
  const { cursors } = await world.gateway.health('default', 's');
  assert.ok(slow?.status === 'appended' && (cursors[slow.shard] ?? '') > slow.position);
  world.fresh();
  world.sender.script = () => 200;
  await world.restart('abandon');
  await world.clock.advance(1_000);
  assert.deepEqual(world.fresh(), ['slow']);
});

test('a 429 slows the whole subscription down for as long as was asked, and opens no breaker', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s', { concurrency: 1 });
  world.sender.script = () => ({ status: 429, retryAfterMs: 30_000, durationMs: 1 });
  await world.publish('1', '2');
  world.sender.script = () => 200;
  await world.clock.advance(29_999);
  assert.deepEqual(world.fresh(), ['1']);
  await world.clock.advance(1);
  assert.deepEqual(world.fresh().toSorted(), ['1', '2']);
  assert.equal((await world.gateway.health('default', 's')).breaker, 'closed');
});

test('while the ledger takes nothing more is begun than may be unrecorded, and nothing is lost when it is back', async (t) => {
  const world = await handWorld(t, { limits: { unrecorded: 4 } });
  await world.subscribe('s', { concurrency: 1 });
  const { commit } = world.ledger;
  world.ledger.commit = () => Promise.reject(new Error('gone'));
  await world.publish(...Array.from({ length: 20 }, (_, at) => `${at}`));
  assert.equal(world.sender.sent.length, 4);
  world.ledger.commit = commit;
  await world.clock.advance(10_000);
  assert.equal(world.sender.sent.length, 20);
  assert.ok(world.notices.some(({ kind }) => kind === 'ledger_failing'));
});

test('breaker off: every event walks its own schedule to its dead letter', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s', { breaker: false, retry: { schedule: ['10s'], jitter: 0 } });
  world.sender.script = () => failure('refused');
  await world.publish('1', '2', '3', '4', '5');
  await world.clock.advance(10_000);
  assert.equal((await world.gateway.health('default', 's')).deadLetters, 5);
});

/** Has no answer for a long list without a y. */
const COSTLY = { data: { list: ['y', ...Array.from({ length: 900 }, (_, at) => ({ prefix: `p${at}` }))] } };
const LONG = Array.from({ length: 10_000 }, () => 'x');

/** Those whose id ends with ! are what the filter above has no answer for; the others match. */
async function publishLists(world: HandWorld, ...ids: readonly string[]): Promise<void> {
  const dataOf = (id: string): Uint8Array => Buffer.from(JSON.stringify({ list: id.endsWith('!') ? LONG : ['y'] }));
  const events = ids.map((id) => ({ ...draftOf(id), data: dataOf(id) }));
  for (const { status } of await world.gateway.publish({ environment: 'default', app: 'shop', events }))
    assert.equal(status, 'appended');
  await settle();
}

const lettersOf = (world: HandWorld) => world.gateway.deadLetters.list('default', 's', { limit: 10 });

test('an event for which the filter has no answer is a dead letter, never sent, and holds up nothing', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s', { filter: COSTLY });
  await publishLists(world, '1', '2!', '3');
  assert.deepEqual(world.fresh(), ['1', '3']);
  const [letter, ...more] = await lettersOf(world);
  assert.ok(letter !== undefined && more.length === 0);
  assert.deepEqual([letter.cause, letter.eventId, letter.attempts], ['filter_too_costly', '2!', 0]);
  assert.deepEqual(await world.ledger.attemptsOf(letter.lane, letter.shard, letter.position), []);
  const [notice] = world.notices.filter(({ kind }) => kind === 'dead');
  assert.ok(notice !== undefined && 'cause' in notice && 'n' in notice);
  assert.deepEqual([notice.cause, notice.n], ['filter_too_costly', 0]);
  assert.equal((await world.gateway.health('default', 's')).deadLetters, 1);
  await world.restart('abandon');
  await publishLists(world, '4');
  assert.deepEqual([world.fresh(), (await lettersOf(world)).length], [['4'], 1]);
});

test('redriven, it is asked again: it dies again of the same filter, and goes out when the filter is another one', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s', { filter: COSTLY });
  await publishLists(world, '1!');
  for (let round = 0; round < 2; round++) {
    const [letter] = await lettersOf(world);
    assert.deepEqual([letter?.cause, letter?.attempts], ['filter_too_costly', 0]);
    await world.gateway.deadLetters.redrive('default', 's', letter?.id ?? '');
    await settle();
    assert.deepEqual(world.fresh(), []);
  }
  await world.gateway.subscriptions.update('default', 's', { filter: { data: { list: [{ exists: true }] } } });
  const [letter] = await lettersOf(world);
  await world.gateway.deadLetters.redrive('default', 's', letter?.id ?? '');
  await settle();
  assert.deepEqual([world.fresh(), await lettersOf(world)], [['1!'], []]);
  assert.equal((await world.gateway.health('default', 's')).parked, 0);
});

test('with keys it dies when its turn comes, also after a crash, and holds its key where dead letters do', async (t) => {
  const world = await handWorld(t, { limits: { openMs: 1_000 } });
  await world.subscribe('s', { ...KEYED, onDead: 'hold', filter: COSTLY });
  world.sender.script = ({ event }) => (event === 'a/1' && world.sender.sent.length === 1 ? 500 : 200);
  await publishLists(world, 'a/1', 'a/2!', 'a/3', 'b/1!', 'b/2');
  assert.deepEqual(world.fresh(), ['a/1']);
  assert.deepEqual(
    (await lettersOf(world)).map(({ eventId }) => eventId),
    ['b/1!'],
  );
  // The held ones have their rows by now.
  await world.clock.advance(5_000);
  await world.restart('abandon');
  await world.clock.advance(5_000);
  assert.deepEqual(world.fresh(), ['a/1']);
  const letters = await lettersOf(world);
  assert.deepEqual(letters.map(({ eventId, holdsKey }) => `${eventId} ${holdsKey}`).toSorted(), ['a/2! a', 'b/1! b']);
  for (const { id } of letters) await world.gateway.deadLetters.discard('default', 's', id);
  await settle();
  assert.deepEqual(world.fresh().toSorted(), ['a/3', 'b/2']);
});

test('with keys that dead letters do not hold, its successors go on', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s', { ...KEYED, filter: COSTLY });
  await publishLists(world, 'a/1!', 'a/2', 'a/3!', 'a/4');
  assert.deepEqual(world.fresh(), ['a/2', 'a/4']);
  assert.equal((await lettersOf(world)).length, 2);
});

test('at the bound of dead letters such events wait like others, and the lane goes on when there is room', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s', { filter: COSTLY, bounds: { deadLetters: 2 } });
  await publishLists(world, '1!', '2!', '3!', '4');
  assert.deepEqual([world.fresh(), (await lettersOf(world)).length], [[], 2]);
  assert.equal((await world.gateway.health('default', 's')).stoppedBy, 'deadLetters');
  for (const { id } of await lettersOf(world)) await world.gateway.deadLetters.discard('default', 's', id);
  await settle();
  assert.deepEqual(world.fresh(), ['4']);
  assert.deepEqual(
    (await lettersOf(world)).map(({ eventId }) => eventId),
    ['3!'],
  );
});

test('behind an open breaker it costs no probe, and does not close it', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s', { filter: COSTLY, breaker: { failures: 1, events: 1 } });
  world.sender.script = () => failure('refused');
  await publishLists(world, '1', '2!', '3!', '4');
  await world.clock.advance(3_600_000);
  world.sender.script = () => 200;
  await world.clock.advance(86_400_000);
  assert.deepEqual([...new Set(world.fresh())].toSorted(), ['1', '4']);
  assert.deepEqual((await lettersOf(world)).map(({ eventId, cause }) => `${eventId} ${cause}`).toSorted(), [
    '2! filter_too_costly',
    '3! filter_too_costly',
  ]);
});
