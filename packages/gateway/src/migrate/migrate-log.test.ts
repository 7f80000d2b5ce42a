/** A log moved to another one, and what its subscriptions see of that: nothing. On memory drivers; with real ones in packages/cli/test. */
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { encodeEvent } from '@millrace/core/event-bytes';
import { createMemoryLog } from '@millrace/memory/log';
import { chance, draftOf, type HandOptions, type HandWorld, handWorld, settle } from '../../test/clock.ts';
import { moveOf } from '../../test/moved-log.ts';
import type { Gateway } from '../api.ts';
import { cursorAt } from '../lanes/cursor.ts';
import { rangeLetter } from '../lanes/rows.ts';
import { HIGH_WATER, highWaterOf } from '../lanes/trust.ts';
import type { DeadLetter } from '../ports/ledger.ts';
import type { Entry, Log, LogRecord } from '../ports/log.ts';
import { readMigration, readMoved } from './files.ts';
import type { Progress } from './migrate-log.ts';

const HOUR_MS = 3_600_000;

async function recordsOf(log: Log): Promise<readonly LogRecord[]> {
  const all: LogRecord[] = [];
  for (const shard of log.shards())
    all.push(...(await log.read({ shard, after: '', limit: 4_096, maxBytes: 16 * 1024 * 1024 })).records);
  return all;
}

const idsIn = async (log: Log): Promise<string[]> => (await recordsOf(log)).map(({ event }) => event.id);

function entryOf(id: string): Entry {
  const { type, source = '', extensions = {}, data } = draftOf(id);
  const event = { id, source, type: type ?? '', extensions, ...(data === undefined ? {} : { data }) };
  return { environment: 'default', app: 'native', event, bytes: encodeEvent(event) };
}

async function publish(gateway: Gateway, ...ids: readonly string[]): Promise<void> {
  await gateway.publish({ environment: 'default', app: 'shop', events: ids.map(draftOf) });
  await settle();
}

async function lettersOf(ledger: HandWorld['ledger'], world: HandWorld, id = 's'): Promise<readonly DeadLetter[]> {
  const subscription = (await world.directory.get('subscription', 'default', id))!.value.uid;
  return ledger.deadLetters({ subscription, limit: 100 });
}

/** Ended in order, moved, and started on the other log. */
async function moved(t: TestContext, world: HandWorld, how: 'stop' | 'abandon' = 'stop') {
  if (how === 'stop') await world.gateway.stop();
  else world.gateway.abandon();
  const move = moveOf(t, world);
  const result = await move.run();
  return { ...move, result, gateway: await move.start() };
}

describe('after a log was moved', () => {
  test('what was delivered stays delivered, and what is published next arrives', async (t) => {
    const world = await handWorld(t);
    await world.subscribe('s');
    await world.publish('1', '2', '3');
    world.fresh();
    const { log, gateway, result, ledger } = await moved(t, world);
    assert.equal(result.events, 3);
    assert.deepEqual(await idsIn(log), ['1', '2', '3']);
    await publish(gateway, '4');
    await world.clock.advance(3_000);
    assert.deepEqual(world.fresh(), ['4']);
    assert.equal((await lettersOf(ledger, world)).length, 0);
  });

  test('how far the log was read is known for all, and for each slot of a cluster', async (t) => {
    const world = await handWorld(t);
    await world.subscribe('s');
    await world.publish('1', '2');
    await world.clock.advance(3_000);
    await world.gateway.stop();
    const { log, ledger, run } = moveOf(t, world);
    await run();
    const end = cursorAt((await recordsOf(log)).at(-1)!, log.identity);
    const rows = await ledger.slots();
    for (const slot of [HIGH_WATER, highWaterOf(0), highWaterOf(127)])
      assert.deepEqual(rows.find((row) => row.slot === slot)?.cursor, end);
  });

  test('every event is the one it was, with its app, its environment and its webhook-id', async (t) => {
    const world = await handWorld(t);
    await world.subscribe('s');
    world.sender.script = () => 503;
    await world.publish('1');
    const [before] = world.sender.sent;
    const { log } = await moved(t, world);
    world.sender.script = () => 200;
    await world.clock.advance(10_000);
    const after = world.sender.sent.at(-1)!;
    assert.notEqual(after, before);
    assert.equal(after.headers['webhook-id'], before!.headers['webhook-id']);
    const [was, is] = [await recordsOf(world.log), await recordsOf(log)];
    const bare = ({ environment, app, event }: LogRecord): object => ({ environment, app, bytes: encodeEvent(event) });
    assert.deepEqual(is.map(bare), was.map(bare));
  });

  test('a subscription that is behind goes on there, and only what was under way is sent again', async (t) => {
    const world = await handWorld(t);
    await world.subscribe('s', { concurrency: 1 });
    world.sender.script = ({ event }) => (event === '3' ? undefined : 200);
    await world.publish('1', '2', '3', '4', '5');
    await world.clock.advance(2_000);
    assert.deepEqual(world.fresh(), ['1', '2', '3']);
    world.sender.script = () => 200;
    await moved(t, world, 'abandon');
    await world.clock.advance(3_000);
    assert.deepEqual(world.fresh(), ['3', '4', '5']);
  });

  test('what was settled behind an open delivery is not sent again', async (t) => {
    const world = await handWorld(t);
    await world.subscribe('s', { concurrency: 8 });
    world.sender.script = ({ event }) => (event === '1' ? undefined : 200);
    await world.publish('1', '2', '3');
    await world.clock.advance(1_000);
    world.fresh();
    world.sender.script = () => 200;
    await moved(t, world, 'abandon');
    await world.clock.advance(3_000);
    assert.deepEqual(world.fresh(), ['1']);
  });

  test('a paused subscription gets what came meanwhile when it is resumed', async (t) => {
    const world = await handWorld(t);
    await world.subscribe('s');
    await world.publish('1');
    await world.gateway.subscriptions.pause('default', 's');
    await world.publish('2', '3');
    world.fresh();
    const { gateway } = await moved(t, world);
    await world.clock.advance(3_000);
    assert.deepEqual(world.fresh(), []);
    await gateway.subscriptions.resume('default', 's');
    await settle();
    assert.deepEqual(world.fresh(), ['2', '3']);
  });

  test('a parked delivery is tried when it is due, and goes on counting', async (t) => {
    const world = await handWorld(t);
    await world.subscribe('s', { retry: { schedule: ['10s', '1m', '1m'], jitter: 0 } });
    world.sender.script = () => 503;
    await world.publish('1');
    await world.clock.advance(2_000);
    world.fresh();
    const { ledger } = await moved(t, world);
    world.sender.script = () => 200;
    await world.clock.advance(7_000);
    assert.deepEqual(world.fresh(), []);
    await world.clock.advance(1_000);
    assert.deepEqual(world.fresh(), ['1']);
    await world.clock.advance(2_000);
    const subscription = (await world.directory.get('subscription', 'default', 's'))!.value.uid;
    const attempts = await ledger.attempts({ subscription, limit: 10 });
    assert.deepEqual(
      attempts.map(({ n, outcome }) => [n, outcome]),
      [
        [2, 'delivered'],
        [1, 'retry'],
      ],
    );
    assert.equal(new Set(attempts.map(({ position }) => position)).size, 1);
  });

  test('the order of a key is kept behind its parked head', async (t) => {
    const world = await handWorld(t);
    await world.subscribe('s', { ordering: 'key', concurrency: 8 });
    world.sender.script = ({ event }) => (event.startsWith('a/') ? 503 : 200);
    await world.publish('a/1', 'b/1', 'a/2', 'a/3', 'b/2');
    await world.clock.advance(8_000);
    const { ledger } = world;
    assert.equal(
      (await ledger.openLanes()).reduce((sum, { held }) => sum + held, 0),
      2,
    );
    world.fresh();
    const { result } = await moved(t, world);
    assert.deepEqual([result.parked, result.held], [1, 2]);
    world.sender.script = () => 200;
    await world.clock.advance(60_000);
    assert.deepEqual(world.fresh(), ['a/1', 'a/2', 'a/3']);
  });

  test('a dead letter that holds its key holds it on, and lets it go when it is discarded', async (t) => {
    const world = await handWorld(t);
    await world.subscribe('s', { ordering: 'key', onDead: 'hold', retry: { schedule: [], jitter: 0 } });
    world.sender.script = ({ event }) => (event === 'a/1' ? 503 : 200);
    await world.publish('a/1', 'a/2');
    await world.clock.advance(8_000);
    world.fresh();
    const { gateway, ledger } = await moved(t, world);
    await publish(gateway, 'a/3', 'b/1');
    await world.clock.advance(3_000);
    assert.deepEqual(world.fresh(), ['b/1']);
    const [letter] = await lettersOf(ledger, world);
    await gateway.deadLetters.discard('default', 's', letter!.id);
    await world.clock.advance(3_000);
    assert.deepEqual(world.fresh(), ['a/2', 'a/3']);
  });

  test('a dead letter is redriven, with its attempts', async (t) => {
    const world = await handWorld(t);
    await world.subscribe('s', { retry: { schedule: [], jitter: 0 } });
    world.sender.script = () => 503;
    await world.publish('1', '2');
    await world.clock.advance(2_000);
    world.fresh();
    const { gateway, ledger } = await moved(t, world);
    const letters = await lettersOf(ledger, world);
    assert.deepEqual(letters.map(({ eventId }) => eventId).sort(), ['1', '2']);
    for (const { lane, shard, position } of letters) assert.equal((await ledger.attemptsOf(lane, shard, position)).length, 1);
    world.sender.script = () => 200;
    await gateway.deadLetters.redrive('default', 's', letters.find(({ eventId }) => eventId === '2')!.id);
    await world.clock.advance(3_000);
    assert.deepEqual(world.fresh(), ['2']);
    assert.deepEqual(
      (await lettersOf(ledger, world)).map(({ eventId }) => eventId),
      ['1'],
    );
  });

  test('a replay that was under way goes on over the same events', async (t) => {
    const world = await handWorld(t);
    await world.subscribe('s', { concurrency: 1 });
    await world.publish('1', '2', '3', '4');
    await world.clock.advance(2_000);
    world.fresh();
    world.sender.script = ({ event }) => (event === '3' ? undefined : 200);
    await world.gateway.replays.start('default', 's', { from: 'earliest' });
    await settle();
    await world.clock.advance(2_000);
    assert.deepEqual(world.fresh(), ['1', '2', '3']);
    world.sender.script = () => 200;
    const { directory } = await moved(t, world, 'abandon');
    await world.clock.advance(3_000);
    assert.deepEqual(world.fresh(), ['3', '4']);
    const [run] = await directory.list('run', { limit: 10 });
    assert.equal(run?.value.state, 'done');
  });

  test('from when on a subscription is owed events is told on the clock of the new log', async (t) => {
    const world = await handWorld(t);
    await world.publish('before');
    await world.clock.advance(HOUR_MS);
    await world.subscribe('s');
    await world.subscribe('all', { from: 'earliest' });
    await world.publish('1');
    await world.clock.advance(HOUR_MS);
    const { directory, log } = await moved(t, world);
    const begins = async (id: string) => (await directory.get('subscription', 'default', id))?.value.beginsMs;
    assert.equal(await begins('s'), (await recordsOf(log))[0]?.timeMs);
    assert.equal(await begins('all'), 0);
  });

  test('a replay by time finds what was moved, from the time of the move on', async (t) => {
    const world = await handWorld(t);
    await world.subscribe('s');
    await world.publish('1', '2');
    await world.clock.advance(HOUR_MS);
    world.fresh();
    const { gateway } = await moved(t, world);
    await gateway.replays.start('default', 's', { from: { timeMs: world.clock.now() - 1_000 } });
    await world.clock.advance(3_000);
    assert.deepEqual(world.fresh(), ['1', '2']);
  });
});

describe('of events that retention took', () => {
  const SHORT: HandOptions = { topics: { 'orders.short': { retentionMs: 2 * HOUR_MS } } };

  async function publishShort(world: HandWorld, id: string): Promise<void> {
    await world.gateway.publish({
      environment: 'default',
      app: 'shop',
      events: [{ ...draftOf(id), type: 'orders.short' }],
    });
    await settle();
  }

  test('what a dead letter keeps is put where it stood, is redriven, and reaches nobody who has passed it', async (t) => {
    const world = await handWorld(t, SHORT);
    await world.subscribe('s', { retry: { schedule: [], jitter: 0 } });
    await world.subscribe('other');
    world.sender.script = ({ event }) => (event === 'x' ? 503 : 200);
    await world.publish('1');
    await publishShort(world, 'x');
    await world.publish('2');
    await world.clock.advance(3 * HOUR_MS);
    assert.deepEqual(await idsIn(world.log), ['1', '2']);
    world.fresh();
    const { log, gateway, ledger, result } = await moved(t, world);
    assert.deepEqual([result.events, result.kept], [3, 1]);
    assert.deepEqual(await idsIn(log), ['1', 'x', '2']);
    world.sender.script = () => 200;
    await world.clock.advance(3_000);
    assert.deepEqual(
      world.fresh().filter((id) => id !== 'x'),
      [],
    );
    const letter = (await lettersOf(ledger, world)).find(({ eventId }) => eventId === 'x')!;
    const { lane, shard, position } = letter;
    assert.equal((await log.fetch(shard, position))?.event.id, 'x');
    assert.equal((await ledger.attemptsOf(lane, shard, position)).length, 1);
    await gateway.deadLetters.redrive('default', 's', letter.id);
    await world.clock.advance(3_000);
    assert.deepEqual(world.fresh(), ['x']);
  });

  test('what waits long is sent when it is due', async (t) => {
    const world = await handWorld(t, SHORT);
    await world.subscribe('s', { retry: { schedule: ['5h'], jitter: 0 } });
    world.sender.script = () => 503;
    await publishShort(world, 'x');
    await world.clock.advance(3 * HOUR_MS);
    assert.deepEqual(await idsIn(world.log), []);
    world.fresh();
    const { gateway } = await moved(t, world);
    world.sender.script = () => 200;
    await publish(gateway, '1');
    assert.deepEqual(world.fresh(), ['1']);
    await world.clock.advance(3 * HOUR_MS);
    assert.deepEqual(world.fresh(), ['x']);
  });

  test('what waited without its event is a dead letter, and its key goes on', async (t) => {
    const world = await handWorld(t, SHORT);
    await world.subscribe('s', { ordering: 'key', concurrency: 4, retry: { schedule: ['50m'], jitter: 0 } });
    world.sender.script = () => 503;
    await publishShort(world, 'a/x');
    await world.clock.advance(10 * 60_000);
    await world.publish('a/1');
    await world.clock.advance(8_000);
    await world.gateway.stop();
    await world.clock.advance(3 * HOUR_MS);
    world.fresh();
    const move = moveOf(t, world);
    const result = await move.run();
    assert.deepEqual([result.expired, result.parked, result.held], [1, 0, 1]);
    world.sender.script = () => 200;
    await move.start();
    await world.clock.advance(3_000);
    assert.deepEqual(world.fresh(), ['a/1']);
    const [letter] = await lettersOf(move.ledger, world);
    assert.deepEqual([letter?.cause, letter?.attempts], ['expired', 1]);
  });

  test('attempts are read as before, though nothing is there to send', async (t) => {
    const world = await handWorld(t, SHORT);
    await world.subscribe('s');
    await publishShort(world, 'x');
    await publishShort(world, 'y');
    await world.clock.advance(3 * HOUR_MS);
    world.fresh();
    const { gateway, ledger, log } = await moved(t, world);
    const subscription = (await world.directory.get('subscription', 'default', 's'))!.value.uid;
    const attempts = await ledger.attempts({ subscription, limit: 10 });
    assert.deepEqual(attempts.map(({ eventId }) => eventId).sort(), ['x', 'y']);
    for (const { lane, shard, position, eventId } of attempts) {
      assert.equal((await ledger.attemptsOf(lane, shard, position)).length, 1);
      assert.ok(!log.shards().includes(shard), 'no event of the new log is taken for it');
      assert.equal(await gateway.deliveries.webhookIdOf('default', { lane, shard, position }, eventId), undefined);
      await assert.rejects(gateway.deliveries.retry('default', 's', { lane, shard, position }), { code: 'not_redrivable' });
    }
  });

  test('dead letters without an event stay what they are, those of ranges too, and are discarded', async (t) => {
    const world = await handWorld(t, SHORT);
    await world.subscribe('s', { retry: { schedule: ['50m'], jitter: 0 } });
    world.sender.script = () => 503;
    await publishShort(world, 'x');
    await publishShort(world, 'y');
    await world.clock.advance(3_000);
    await world.gateway.stop();
    await world.clock.advance(3 * HOUR_MS);
    await world.restart('abandon');
    await world.clock.advance(3_000);
    const singles = await lettersOf(world.ledger, world);
    assert.deepEqual(
      singles.map(({ cause, kept }) => [cause, kept]),
      [
        ['expired', undefined],
        ['expired', undefined],
      ],
    );
    const { lane, shard, position: through } = singles[0]!;
    const lost = { cause: 'expired', through, timeMs: 1, throughTimeMs: 2, count: 7 } as const;
    // Two ranges that lie where nothing is any more: both are told of.
    const ranges = ['', singles.map(({ position }) => position).sort()[0]!].map((after) =>
      rangeLetter({ lane, shard }, { ...lost, after }, world.clock.now()),
    );
    await world.ledger.commit({ bury: ranges });
    const before = await lettersOf(world.ledger, world);
    assert.equal(before.length, 4);
    world.fresh();
    const { gateway, ledger } = await moved(t, world);
    const after = await lettersOf(ledger, world);
    const bare = ({ cause, range, timeMs, attempts }: DeadLetter): string => JSON.stringify([cause, range, timeMs, attempts]);
    assert.deepEqual(after.map(bare).sort(), before.map(bare).sort());
    for (const { id } of after) await gateway.deadLetters.discard('default', 's', id);
    assert.deepEqual(await lettersOf(ledger, world), []);
    assert.deepEqual(world.fresh(), []);
  });
});

describe('a move that ended too soon', () => {
  /** Behind one that fails, with parked, held and dead ones. */
  async function busy(t: TestContext): Promise<HandWorld> {
    const world = await handWorld(t);
    await world.subscribe('s', { ordering: 'key', concurrency: 4 });
    await world.subscribe('dead', { retry: { schedule: [], jitter: 0 } });
    world.sender.script = ({ event }) => (event.startsWith('a/') ? 503 : 200);
    await world.publish('a/1', 'b/1', 'a/2', '3', '4');
    await world.clock.advance(8_000);
    await world.gateway.stop();
    world.fresh();
    return world;
  }

  for (const step of ['begin', 'copy', 'verify', 'store', 'directory', 'ledger', 'switch'] as const) {
    test(`before '${step}' has switched nothing, and goes on to the same end`, async (t) => {
      const world = await busy(t);
      const move = moveOf(t, world);
      const reached = (at: string): void => {
        if (at === step) throw new Error('ended here');
      };
      await assert.rejects(move.run({ reached }), /ended here/);
      assert.equal(readMoved(move.data), undefined);
      await world.clock.advance(60_000);
      const result = await move.run();
      assert.equal(result.state, 'moved');
      assert.equal(readMigration(move.data), undefined);
      assert.equal(readMoved(move.data)?.sha256, result.sha256);
      assert.deepEqual(await idsIn(move.log), ['a/1', 'b/1', 'a/2', '3', '4']);
      world.sender.script = () => 200;
      await move.start();
      await world.clock.advance(60_000);
      assert.deepEqual(world.fresh(), ['a/1', 'a/2']);
      assert.equal((await lettersOf(move.ledger, world, 'dead')).length, 2);
    });
  }

  test('in the middle of an append is gone on with behind what was stored of it', async (t) => {
    const world = await busy(t);
    const log = createMemoryLog({ now: world.clock.now });
    let calls = 0;
    const torn: Log = {
      ...log,
      async append(entries) {
        if (++calls > 1) return log.append(entries);
        await log.append(entries.slice(0, 2));
        throw new Error('killed');
      },
    };
    const move = moveOf(t, world, { log: torn });
    await assert.rejects(move.run(), /killed/);
    await move.run();
    assert.deepEqual(await idsIn(log), ['a/1', 'b/1', 'a/2', '3', '4']);
  });

  test('judges what is too old by the moment it began, and so does the one that goes on with it', async (t) => {
    const world = await busy(t);
    const move = moveOf(t, world);
    const reached = (at: string): void => {
      if (at === 'verify') throw new Error('ended here');
    };
    await assert.rejects(move.run({ reached }), /ended here/);
    await world.clock.advance(HOUR_MS);
    await move.run();
    const [first, second] = move.judgedMs;
    assert.equal(second, first);
  });

  test('by a signal ends where it is, and goes on', async (t) => {
    const world = await busy(t);
    const move = moveOf(t, world);
    const ending = new AbortController();
    const onProgress = ({ phase, done }: Progress): void => {
      if (phase === 'verify' && done === 2) ending.abort(new Error('enough'));
    };
    await assert.rejects(move.run({ signal: ending.signal, onProgress }), /enough/);
    assert.equal(readMoved(move.data), undefined);
    assert.equal((await move.run()).events, 5);
    assert.equal((await idsIn(move.log)).length, 5);
  });

  test('lets the gateway go on over the former log, and what that adds is moved then', async (t) => {
    const world = await busy(t);
    const move = moveOf(t, world);
    const reached = (at: string): void => {
      if (at === 'switch') throw new Error('ended here');
    };
    await assert.rejects(move.run({ reached }), /ended here/);
    world.sender.script = () => 200;
    await world.restart('stop');
    await world.publish('5');
    await world.clock.advance(60_000);
    assert.deepEqual(world.fresh().sort(), ['5', '5', 'a/1', 'a/2']);
    await world.gateway.stop();
    const result = await move.run();
    assert.deepEqual([result.events, result.parked, result.held, result.deadLetters], [6, 0, 0, 2]);
    await move.start();
    await world.clock.advance(60_000);
    assert.deepEqual(world.fresh(), []);
  });

  test('is refused where what stands there is no beginning of the log any more', async (t) => {
    const world = await handWorld(t, { topics: { 'orders.created': { retentionMs: HOUR_MS } } });
    await world.publish('1');
    await world.clock.advance(40 * 60_000);
    await world.publish('2');
    await world.gateway.stop();
    const move = moveOf(t, world);
    const reached = (at: string): void => {
      if (at === 'verify') throw new Error('ended here');
    };
    await assert.rejects(move.run({ reached }), /ended here/);
    await world.clock.advance(40 * 60_000);
    await world.log.trim();
    await assert.rejects(move.run(), { code: 'migration_conflict' });
    assert.equal(readMoved(move.data), undefined);
    const elsewhere = moveOf(t, world);
    await elsewhere.run();
    assert.deepEqual(await idsIn(elsewhere.log), ['2']);
  });

  test('and is run once more when it is done says so, and refuses another log', async (t) => {
    const world = await busy(t);
    const move = moveOf(t, world);
    const { sha256, events } = await move.run();
    const again = await move.run();
    assert.deepEqual([again.state, again.sha256, again.events], ['already-moved', sha256, events]);
    await assert.rejects(move.run({ log: 'memory://elsewhere' }), { code: 'migration_conflict' });
  });
});

describe('the other log', () => {
  test('may hold events already: they stay, and nobody is sent them', async (t) => {
    const world = await handWorld(t);
    await world.subscribe('s');
    await world.publish('1');
    await world.gateway.stop();
    const log = createMemoryLog({ now: world.clock.now });
    await log.append([entryOf('native')]);
    world.fresh();
    const move = moveOf(t, world, { log });
    assert.equal((await move.run()).events, 1);
    assert.deepEqual(await idsIn(log), ['native', '1']);
    const gateway = await move.start();
    await publish(gateway, '2');
    await world.clock.advance(3_000);
    assert.deepEqual(world.fresh(), ['2']);
  });

  test('may hold events and get none: subscriptions stand at its end', async (t) => {
    const world = await handWorld(t);
    await world.subscribe('s');
    await world.gateway.stop();
    const log = createMemoryLog({ now: world.clock.now });
    await log.append([entryOf('native')]);
    const move = moveOf(t, world, { log });
    assert.equal((await move.run()).events, 0);
    const gateway = await move.start();
    await publish(gateway, '2');
    await world.clock.advance(3_000);
    assert.deepEqual(world.fresh(), ['2']);
  });

  test('into which somebody else publishes meanwhile is refused', async (t) => {
    const world = await handWorld(t);
    await world.publish('1', '2');
    await world.gateway.stop();
    const log = createMemoryLog({ now: world.clock.now });
    const move = moveOf(t, world, { log });
    const reached = (at: string): void => {
      if (at === 'verify') void log.append([entryOf('native')]);
    };
    await assert.rejects(move.run({ reached }), { code: 'migration_conflict' });
    assert.equal(readMoved(move.data), undefined);
  });

  test('that loses events is noticed, and nothing is switched over', async (t) => {
    const world = await handWorld(t);
    await world.publish('1', '2', '3');
    await world.gateway.stop();
    const log = createMemoryLog({ now: world.clock.now });
    const leaky: Log = { ...log, append: async (entries) => log.append(entries.slice(0, -1)) };
    const move = moveOf(t, world, { log: leaky });
    await assert.rejects(move.run(), { code: 'migration_mismatch' });
    assert.equal(readMoved(move.data), undefined);
  });

  test('that is lost when all stands there is not switched to', async (t) => {
    const world = await handWorld(t);
    await world.publish('1');
    await world.gateway.stop();
    const move = moveOf(t, world);
    const reached = (at: string): void => {
      if (at === 'ledger') move.fail(new Error('the stream is gone'));
    };
    await assert.rejects(move.run({ reached }), /the stream is gone/);
    await settle();
    assert.equal((await move.run()).state, 'moved');
  });

  test('that changes events is noticed', async (t) => {
    const world = await handWorld(t);
    await world.publish('1');
    await world.gateway.stop();
    const log = createMemoryLog({ now: world.clock.now });
    const changing: Log = {
      ...log,
      append: (entries) => log.append(entries.map((one) => ({ ...one, event: { ...one.event, subject: 'other' } }))),
    };
    await assert.rejects(moveOf(t, world, { log: changing }).run(), { code: 'migration_conflict' });
  });

  test('may have several shards', async (t) => {
    const world = await handWorld(t);
    await world.subscribe('s', { ordering: 'key', concurrency: 8 });
    await world.subscribe('behind', { concurrency: 1 });
    const slow = (await world.directory.get('subscription', 'default', 'behind'))!.value.uid;
    world.sender.script = ({ event, subscription }) =>
      subscription === slow && event === 'c/1' ? undefined : event.startsWith('a/') && subscription !== slow ? 503 : 200;
    await world.publish('a/1', 'b/1', 'a/2', 'c/1', 'd/1', 'b/2');
    await world.clock.advance(8_000);
    world.fresh();
    world.gateway.abandon();
    const log = createMemoryLog({ now: world.clock.now, shards: 3 });
    const move = moveOf(t, world, { log });
    let isFirst = true;
    const reached = (at: string): void => {
      if (at === 'verify' && isFirst) {
        isFirst = false;
        throw new Error('ended here');
      }
    };
    await assert.rejects(move.run({ reached }), /ended here/);
    await move.run();
    assert.equal((await recordsOf(log)).length, 6);
    world.sender.script = () => 200;
    await move.start();
    await world.clock.advance(60_000);
    const fresh = world.fresh();
    assert.deepEqual(
      fresh.filter((id) => id.startsWith('a/')),
      ['a/1', 'a/2'],
    );
    assert.deepEqual(fresh.filter((id) => !id.startsWith('a/')).sort(), ['b/2', 'c/1', 'd/1']);
  });
});

test('a ledger that is not of the log is not moved', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s');
  await world.publish('1');
  await world.clock.advance(3_000);
  await world.gateway.stop();
  const other = createMemoryLog({ now: world.clock.now });
  await other.append([entryOf('9')]);
  await assert.rejects(moveOf(t, world, { from: other }).run(), { code: 'migration_conflict', advice: /Start the gateway/ });
});

test('a store that another gateway uses is refused; one of an earlier try is made as it should be', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s');
  await world.publish('1');
  await world.gateway.stop();
  const move = moveOf(t, world);
  await move.directory.put('app', 'default', 'theirs', { name: 'Theirs', createdMs: 0 });
  await assert.rejects(move.run({ store: 'memory://store' }), { code: 'migration_conflict' });
  await move.directory.delete('app', 'default', 'theirs');
  const reached = (at: string): void => {
    if (at === 'ledger') throw new Error('ended here');
  };
  await assert.rejects(move.run({ store: 'memory://store', reached }), /ended here/);
  await move.directory.put('app', 'default', 'of-before', { name: 'Deleted since', createdMs: 0 });
  assert.equal((await move.run({ store: 'memory://store' })).state, 'moved');
  assert.equal(await move.directory.get('app', 'default', 'of-before'), undefined);
});

test('a dry run counts and writes nothing', async (t) => {
  const world = await handWorld(t);
  await world.subscribe('s', { retry: { schedule: [], jitter: 0 } });
  world.sender.script = () => 503;
  await world.publish('1', '2');
  await world.clock.advance(3_000);
  await world.gateway.stop();
  const move = moveOf(t, world);
  const phases = new Set<string>();
  const result = await move.run({ dryRun: true, onProgress: ({ phase }) => phases.add(phase) });
  assert.deepEqual([result.state, result.events, result.deadLetters, result.subscriptions], ['planned', 2, 2, 1]);
  assert.deepEqual([...phases], ['look']);
  assert.deepEqual([readMigration(move.data), readMoved(move.data)], [undefined, undefined]);
  assert.deepEqual(await idsIn(move.log), []);
});

describe('a gateway whose log was moved does what it would have done without', () => {
  /** The same chances, whatever was drawn elsewhere. */
  async function lived(t: TestContext, seed: number, isMoved: boolean): Promise<readonly string[]> {
    const random = chance(seed);
    const world = await handWorld(t, { topics: { 'orders.short': { retentionMs: HOUR_MS } } });
    await world.subscribe('plain', { concurrency: 4 });
    await world.subscribe('keyed', { ordering: 'key', concurrency: 4, deliver: { webhook: { url: 'https://keyed.example/' } } });
    await world.subscribe('hold', { ordering: 'key', onDead: 'hold', retry: { schedule: ['10s'], jitter: 0 } });
    // Which answer a request gets depends on what it is, so that both lives get the same.
    world.sender.script = ({ event, url, atMs }) => (hashOf(`${seed} ${event} ${url} ${atMs}`) % 3 === 0 ? 503 : 200);
    for (let n = 0; n < 60; n++) {
      const key = 'abcd'[Math.floor(random() * 4)];
      await world.publish(random() < 0.7 ? `${key}/${n}` : `${n}`);
      if (random() < 0.3) await world.clock.advance(Math.floor(random() * 5_000));
    }
    await world.gateway.stop();
    await world.clock.advance(Math.floor(random() * 5_000));
    world.fresh();
    const told = world.sender.sent.length;
    if (isMoved) {
      const move = moveOf(t, world);
      await move.run();
      await move.start();
    } else await world.restart('abandon');
    world.sender.script = () => 200;
    await world.clock.advance(10 * 60_000);
    return world.sender.sent.slice(told).map(({ event, url, atMs }) => `${atMs} ${url} ${event}`);
  }

  for (let seed = 1; seed <= 10; seed++) {
    test(`by the chances of ${seed}`, async (t) => {
      const without = await lived(t, seed, false);
      assert.ok(without.length > 0);
      assert.deepEqual(await lived(t, seed, true), without);
    });
  }
});

function hashOf(text: string): number {
  let sum = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) sum = Math.imul(sum ^ text.charCodeAt(at), 0x01000193);
  return sum >>> 0;
}
