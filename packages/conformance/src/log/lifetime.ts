/** Reopening and closing. */
import assert from 'node:assert/strict';
import type { Log } from '@millrace/gateway/ports/log';
import { gap } from '../behaviours.ts';
import type { Behaviours } from '../behaviours.ts';
import { ascend, holdsExactly, readAll } from './walk.ts';
import { BEFORE_ALL, DAY_MS, entries, entry, MB, placed, shardOf, START_MS } from './world.ts';
import type { LogWorld, Placed } from './world.ts';

type Reopenable = LogWorld & { readonly reopen: () => Promise<void> };

const reopening: Behaviours<Reopenable> = {
  'keeps all it has answered, and its name': async (world) => {
    const { identity } = world.log;
    const all = await world.append(
      ...entries(50, { data: Uint8Array.of(0, 255, 1) }),
      ...entries(5, { topic: 'users.created', environment: 'staging' }),
    );
    await world.reopen();
    await holdsExactly(world.log, all);
    assert.equal(world.log.identity, identity);
  },

  'keeps its bounds, places by time and single events': async (world) => {
    const all = await world.append(...entries(5));
    const shard = shardOf(all);
    const before = [
      await world.log.bounds(shard),
      await world.log.positionAt(shard, START_MS),
      await world.log.fetch(shard, all[2]!.position),
    ];
    await world.reopen();
    assert.deepEqual(
      [
        await world.log.bounds(shard),
        await world.log.positionAt(shard, START_MS),
        await world.log.fetch(shard, all[2]!.position),
      ],
      before,
    );
  },

  'goes on after the last position and time, also when the clock was set back meanwhile': async (world) => {
    const all: Placed[] = [];
    for (let i = 0; i < 3; i++) {
      all.push(...(await world.append(...entries(3))));
      await world.reopen();
      world.clock.ms -= 60_000;
    }
    ascend(all.map(({ position }) => position));
    assert.deepEqual(
      all.map(({ timeMs }) => timeMs),
      all.map(() => START_MS),
    );
    await holdsExactly(world.log, all);
  },

  'keeps idempotency keys': async (world, context) => {
    if (!world.log.supports.dedupe) return context.skip(gap('this log leaves dedupe to the gateway'));
    const once = entry({ dedupe: { key: 'k', digest: 'a', windowMs: DAY_MS } });
    const [first] = await world.append(once);
    await world.reopen();
    const [again] = await world.log.append([once]);
    assert.deepEqual(again, {
      status: 'duplicate',
      shard: first!.shard,
      position: first!.position,
      timeMs: first!.timeMs,
      id: '1',
    });
  },

  'keeps what it was told of topics': async (world) => {
    await world.log.declareTopic({ environment: 'default', topic: 'orders.created', retentionMs: 1_000 });
    const all = await world.append(...entries(3));
    await world.reopen();
    world.clock.ms += 1_001;
    await holdsExactly(world.log, all, {}, () => true);
  },

  'keeps the report of what retention took, and gives no position twice': async (world) => {
    await world.log.declareTopic({ environment: 'default', topic: 'orders.created', retentionMs: 1_000 });
    const gone = await world.append(...entries(30), ...entries(3, { topic: 'users.created' }));
    const lost = ({ entry: { event }, timeMs }: Placed) => event.type === 'orders.created' && timeMs === START_MS;
    world.clock.ms += 5_000;
    await world.log.trim();
    await world.reopen();
    const all = [...gone, ...(await world.append(...entries(2)))];
    await holdsExactly(world.log, all, {}, lost);
    await holdsExactly(world.log, all, { only: { environment: 'default', topics: ['users.*'] } });
  },

  'signals appends to whoever listens to the reopened log': async (world) => {
    const shard = shardOf(await world.append(entry()));
    await world.reopen();
    const heard = new Promise<void>((resolve) => world.log.onAppend(shard, resolve));
    await world.append(entry({ id: '2' }));
    await heard;
  },

  'keeps what was answered while it was being closed': async (world) => {
    const calls = Array.from({ length: 20 }, (_, i) => entries(5, { event: { source: `/publisher/${i}` } }));
    const appends = calls.map((call) => world.log.append(call));
    await world.log.close();
    const outcomes = await Promise.allSettled(appends);
    await world.reopen();
    const answered = outcomes.flatMap((outcome, i) => (outcome.status === 'fulfilled' ? placed(calls[i]!, outcome.value) : []));
    const kept = new Set(
      (await Promise.all(world.log.shards().map((shard) => readAll(world.log, shard))))
        .flat()
        .map((record) => `${record.shard} ${record.position}`),
    );
    assert.ok(answered.every((each) => kept.has(`${each.shard} ${each.position}`)));
  },
};

export const reopen: Behaviours<LogWorld> = Object.fromEntries(
  Object.entries(reopening).map(([title, show]) => [
    title,
    async (world, context) => (canReopen(world) ? show(world, context) : context.skip(gap('this log forgets when it is closed'))),
  ]) satisfies [string, Behaviours<LogWorld>[string]][],
);

function canReopen(world: LogWorld): world is Reopenable {
  assert.equal(
    world.reopen !== undefined,
    world.log.supports.durable,
    'a durable log is opened with a way to reopen it, another without',
  );
  return world.reopen !== undefined;
}

function everyCall(log: Log, shard: string): Record<string, () => Promise<unknown>> {
  return {
    append: () => log.append(entries(1)),
    read: () => log.read({ shard, after: BEFORE_ALL, limit: 1, maxBytes: MB }),
    fetch: () => log.fetch(shard, BEFORE_ALL),
    positionAt: () => log.positionAt(shard, START_MS),
    bounds: () => log.bounds(shard),
    declareTopic: () => log.declareTopic({ environment: 'default', topic: 'a', retentionMs: 1 }),
    trim: () => log.trim(),
  };
}

export const close: Behaviours<LogWorld> = {
  'rejects what is called after it was closed': async (world) => {
    const shard = shardOf(await world.append(entry()));
    await world.log.close();
    for (const [name, call] of Object.entries(everyCall(world.log, shard))) await assert.rejects(async () => call(), Error, name);
  },

  'closes twice, and at the same time twice, without complaint': async ({ log }) => {
    await Promise.all([log.close(), log.close()]);
    await log.close();
  },

  'has settled everything in flight when it is closed': async ({ log }) => {
    let open = 0;
    const track = async (call: Promise<unknown>): Promise<void> => {
      open++;
      await call.catch(() => {});
      open--;
    };
    const [shard] = log.shards();
    const calls = Array.from({ length: 20 }, () => [
      track(log.append(entries(3))),
      ...(shard === undefined ? [] : [track(log.bounds(shard))]),
    ]);
    await log.close();
    // One turn of the event loop: the promises are settled, what waits on them has not run yet.
    await new Promise(setImmediate);
    assert.equal(open, 0);
    await Promise.all(calls.flat());
  },
};
