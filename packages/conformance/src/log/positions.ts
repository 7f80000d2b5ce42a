/** Positions, append times, finding a place by time, bounds and the names of log and shards. */
import assert from 'node:assert/strict';
import type { Position } from '@millrace/gateway/ports/log';
import type { Behaviours } from '../behaviours.ts';
import { ascend, holdsExactly, readAll } from './walk.ts';
import { BEFORE_ALL, entries, entry, MB, shardOf, START_MS } from './world.ts';
import type { LogWorld, Placed } from './world.ts';

const POSITION = /^[\x20-\x7e]{1,64}$/;

/** One event at each of these times. */
async function appendAt(world: LogWorld, ...times: readonly number[]): Promise<Placed[]> {
  const all: Placed[] = [];
  for (const ms of times) {
    world.clock.ms = ms;
    all.push(...(await world.append(entry({ id: `${all.length + 1}` }))));
  }
  return all;
}

/** The position for `timeMs` leads to exactly those appended at or after it. */
async function leadsToTime(world: LogWorld, all: readonly Placed[], timeMs: number): Promise<void> {
  const shard = shardOf(all);
  const after = await world.log.positionAt(shard, timeMs);
  const found = await readAll(world.log, shard, { after });
  assert.deepEqual(
    found.map(({ position }) => position),
    all.filter((each) => each.timeMs >= timeMs).map(({ position }) => position),
  );
}

export const positions: Behaviours<LogWorld> = {
  'gives positions of at most 64 printable characters that sort in log order': async (world) => {
    const all = [...(await world.append(...entries(120))), ...(await world.append(...entries(1_100)))];
    shardOf(all);
    assert.ok(all.every(({ position }) => POSITION.test(position)));
    ascend([BEFORE_ALL, ...all.map(({ position }) => position)]);
  },

  'never gives a position twice, not even when retention emptied the shard': async (world) => {
    await world.log.declareTopic({ environment: 'default', topic: 'orders.created', retentionMs: 1_000 });
    const before = await world.append(...entries(3));
    world.clock.ms += 5_000;
    await world.log.trim();
    ascend([...before, ...(await world.append(...entries(3)))].map(({ position }) => position));
  },

  'stamps events with the time of their append': async (world) => {
    const all = await appendAt(world, START_MS, START_MS + 1, START_MS + 86_400_000);
    assert.deepEqual(
      all.map(({ timeMs }) => timeMs),
      [START_MS, START_MS + 1, START_MS + 86_400_000],
    );
    await holdsExactly(world.log, all);
  },

  'never lets append time run backwards when the clock is set back': async (world) => {
    const all = await appendAt(world, START_MS, START_MS - 3_600_000, START_MS - 1, START_MS + 1);
    const times = all.map(({ timeMs }) => timeMs);
    assert.deepEqual(
      times,
      times.toSorted((a, b) => a - b),
    );
    assert.equal(times.at(-1), START_MS + 1, 'time goes on where the clock has caught up');
    await holdsExactly(world.log, all);
  },
};

export const finding: Behaviours<LogWorld> = {
  'finds a place before, between, at and after the events of a shard by time': async (world) => {
    const all = await appendAt(world, START_MS, START_MS + 1_000, START_MS + 2_000);
    for (const ms of [0, -1, 1, 999, 1_000, 1_001, 2_000, 2_001]) await leadsToTime(world, all, START_MS + ms);
    await leadsToTime(world, all, 0);
  },

  'finds the first of several events of one time': async (world) => {
    const all = await appendAt(world, START_MS, START_MS + 5, START_MS + 5, START_MS + 5, START_MS + 9);
    for (const ms of [4, 5, 6]) await leadsToTime(world, all, START_MS + ms);
  },

  'finds a time among events of one call': async (world) => {
    const all = [...(await world.append(...entries(5)))];
    world.clock.ms += 1;
    all.push(...(await world.append(...entries(5))));
    for (const ms of [0, 1, 2]) await leadsToTime(world, all, START_MS + ms);
  },

  'finds a place by time across a clock that was set back': async (world) => {
    const all = await appendAt(world, START_MS, START_MS + 5_000, START_MS + 1_000, START_MS + 2_000, START_MS + 6_000);
    for (const ms of [0, 1, 1_000, 2_000, 5_000, 5_001, 6_000]) await leadsToTime(world, all, START_MS + ms);
  },

  'finds the end for a time in the future': async (world) => {
    const all = await appendAt(world, START_MS, START_MS + 1);
    const shard = shardOf(all);
    const after = await world.log.positionAt(shard, START_MS + 3_600_000);
    assert.equal(after, (await world.log.bounds(shard)).end);
    const [later] = await world.append(entry({ id: 'later' }));
    assert.deepEqual(
      (await readAll(world.log, shard, { after })).map(({ position }) => position),
      [later!.position],
    );
  },

  'finds the end for a time in the future where retention emptied the shard': async (world) => {
    const shard = shardOf(await appendAt(world, START_MS, START_MS + 1));
    await world.log.declareTopic({ environment: 'default', topic: 'orders.created', retentionMs: 1_000 });
    world.clock.ms += 5_000;
    const { end } = await world.log.bounds(shard);
    assert.equal(await world.log.positionAt(shard, world.clock.ms + 1), end);
    await world.log.trim();
    assert.equal(await world.log.positionAt(shard, world.clock.ms + 1), end);
  },

  'finds the end of an empty shard, whatever the time': async (world) => {
    const before = new Map<string, Position>();
    for (const shard of world.log.shards()) before.set(shard, await world.log.positionAt(shard, START_MS - 1));
    const [first] = await world.append(entry());
    const found = await readAll(world.log, first!.shard, { after: before.get(first!.shard) ?? BEFORE_ALL });
    assert.equal(found.length, 1);
  },

  'finds the first event that is left where retention took those of that time': async (world) => {
    const all = await appendAt(world, START_MS, START_MS + 1_000, START_MS + 9_000);
    await world.log.declareTopic({ environment: 'default', topic: 'orders.created', retentionMs: 5_000 });
    await leadsToTime(world, all.slice(2), START_MS - 1);
    await world.log.trim();
    await leadsToTime(world, all.slice(2), START_MS - 1);
    await leadsToTime(world, all.slice(2), START_MS + 500);
  },

  'reports what retention took since the time that was asked for': async (world) => {
    const all = await appendAt(world, START_MS, START_MS + 1_000, START_MS + 2_000, START_MS + 9_000);
    const shard = shardOf(all);
    await world.log.declareTopic({ environment: 'default', topic: 'orders.created', retentionMs: 5_000 });
    const after = await world.log.positionAt(shard, START_MS + 500);
    assert.ok(after <= all[0]!.position);
    await holdsExactly(world.log, all, { after }, ({ timeMs }) => timeMs < START_MS + 4_000);
  },
};

export const bounds: Behaviours<LogWorld> = {
  'tells an empty shard by having neither first nor last': async ({ log }) => {
    for (const shard of log.shards()) {
      const { first, last, end } = await log.bounds(shard);
      assert.deepEqual([first, last], [undefined, undefined]);
      assert.deepEqual(await readAll(log, shard, { after: end }), []);
    }
  },

  'tells the first and the last event of a shard with their times': async (world) => {
    const all = await appendAt(world, START_MS, START_MS + 1, START_MS + 2);
    const { first, last, end } = await world.log.bounds(shardOf(all));
    assert.deepEqual(
      [first, last],
      [all[0], all[2]].map((each) => ({ position: each!.position, timeMs: each!.timeMs })),
    );
    assert.ok(end >= all[2]!.position);
  },

  'tells where a read after everything starts, and that is where the next event is found': async (world) => {
    const shard = shardOf(await world.append(...entries(3)));
    const { end } = await world.log.bounds(shard);
    const [next] = await world.append(entry({ id: 'next' }));
    assert.deepEqual(
      (await readAll(world.log, shard, { after: end })).map(({ position }) => position),
      [next!.position],
    );
  },

  'keeps the end of a shard that retention emptied': async (world) => {
    const all = await appendAt(world, START_MS, START_MS + 1);
    const shard = shardOf(all);
    await world.log.declareTopic({ environment: 'default', topic: 'orders.created', retentionMs: 1_000 });
    const { end } = await world.log.bounds(shard);
    world.clock.ms += 5_000;
    assert.deepEqual(await world.log.bounds(shard), { end });
    await world.log.trim();
    assert.deepEqual(await world.log.bounds(shard), { end });
  },

  'tells the first and last that are left when retention took some': async (world) => {
    await world.log.declareTopic({ environment: 'default', topic: 'orders.created', retentionMs: 1_000 });
    await appendAt(world, START_MS, START_MS + 500);
    const [third, fourth] = await appendAt(world, START_MS + 2_000, START_MS + 2_500);
    const left = [third, fourth].map((each) => ({ position: each!.position, timeMs: each!.timeMs }));
    const { first, last } = await world.log.bounds(third!.shard);
    assert.deepEqual([first, last], left);
  },

  'tells the last that is left where what came after it expired': async (world) => {
    await world.log.declareTopic({ environment: 'default', topic: 'short', retentionMs: 1_000 });
    const all = await world.append(...['short', 'long', 'long', 'short'].map((topic) => entry({ topic })));
    world.clock.ms += 1_001;
    const left = all
      .filter(({ entry: { event } }) => event.type === 'long')
      .map(({ position, timeMs }) => ({ position, timeMs }));
    for (let i = 0; i < 2; i++) {
      const { first, last } = await world.log.bounds(all[1]!.shard);
      assert.deepEqual([first, last], left);
      await world.log.trim();
    }
  },
};

export const names: Behaviours<LogWorld> = {
  'has a name of its own of at most 64 characters': async ({ log, another }) => {
    assert.ok(log.identity.length > 0 && log.identity.length <= 64);
    assert.notEqual(log.identity, (await another()).identity);
  },

  'names its shards, each once': async (world) => {
    await world.append(...entries(3), ...entries(3, { topic: 'users.created' }));
    const shards = world.log.shards();
    assert.equal(new Set(shards).size, shards.length);
    assert.ok(world.log.supports.shards === 'many' ? shards.length > 0 : shards.length === 1);
  },
};

export const fetch: Behaviours<LogWorld> = {
  'fetches the record at a position as a read returns it': async (world) => {
    const all = await world.append(...entries(20, { data: new Uint8Array([1, 2, 3]) }));
    const shard = shardOf(all);
    for (const record of (await world.log.read({ shard, after: BEFORE_ALL, limit: 20, maxBytes: MB })).records) {
      assert.deepEqual(await world.log.fetch(shard, record.position), record);
    }
  },

  'fetches nothing where nothing ever was': async (world) => {
    const shard = shardOf(await world.append(...entries(2)));
    assert.equal(await world.log.fetch(shard, BEFORE_ALL), undefined);
    const beyond = (await (await world.another()).append(entries(50))).at(-1)!;
    assert.ok(beyond.status === 'appended');
    assert.equal(await world.log.fetch(shard, beyond.position), undefined);
  },

  'fetches nothing where retention hides or took the event': async (world) => {
    await world.log.declareTopic({ environment: 'default', topic: 'orders.created', retentionMs: 1_000 });
    const [old] = await world.append(entry({ id: 'old' }));
    world.clock.ms += 2_000;
    const [fresh] = await world.append(entry({ id: 'fresh' }));
    assert.equal(await world.log.fetch(old!.shard, old!.position), undefined);
    await world.log.trim();
    assert.equal(await world.log.fetch(old!.shard, old!.position), undefined);
    assert.equal((await world.log.fetch(fresh!.shard, fresh!.position))?.event.id, 'fresh');
  },
};
