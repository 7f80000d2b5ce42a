/** The append signal: what a reader at the end waits for. */
import assert from 'node:assert/strict';
import type { Log, LogRecord } from '@millrace/gateway/ports/log';
import type { Behaviours } from '../behaviours.ts';
import { BEFORE_ALL, entries, entry, MB, placed, shardOf } from './world.ts';
import type { LogWorld } from './world.ts';

/** A signal that stays up until it is waited for: what arrives between a read and the wait is not missed. */
function watch(log: Log, shard: string) {
  let up = false;
  let wake = () => {};
  const stop = log.onAppend(shard, () => {
    up = true;
    wake();
  });
  return {
    stop,
    async next(): Promise<void> {
      if (!up) await new Promise<void>((resolve) => (wake = resolve));
      up = false;
    },
  };
}

/** Reads from `after` on, waiting for the signal at each end, until it has `count` records. */
async function follow(world: LogWorld, shard: string, count: number, after = BEFORE_ALL): Promise<readonly LogRecord[]> {
  const signal = watch(world.log, shard);
  const seen: LogRecord[] = [];
  for (let from = after; seen.length < count;) {
    const page = await world.log.read({ shard, after: from, limit: 7, maxBytes: MB });
    seen.push(...page.records);
    assert.ok(page.atEnd || page.through > from, 'a page that is not the last gets on');
    from = page.through;
    if (page.atEnd && seen.length < count) await signal.next();
  }
  signal.stop();
  return seen;
}

export const signal: Behaviours<LogWorld> = {
  'calls a listener after an append, when the event can be read': async (world) => {
    const [first] = await world.append(entry());
    const signal = watch(world.log, first!.shard);
    const [second] = await world.append(entry({ id: '2' }));
    await signal.next();
    const { records } = await world.log.read({ shard: first!.shard, after: first!.position, limit: 1, maxBytes: MB });
    assert.equal(records[0]?.position, second!.position);
  },

  'calls a listener for every append that comes after the last call was seen': async (world) => {
    const shard = shardOf(await world.append(entry()));
    const signal = watch(world.log, shard);
    for (let i = 0; i < 50; i++) {
      await world.append(entry({ id: `${i}` }));
      await signal.next();
    }
  },

  'lets a reader that waits at the end miss nothing while many append': async (world) => {
    const shard = shardOf(await world.append(entry()));
    const followed = follow(world, shard, 201);
    await Promise.all(Array.from({ length: 50 }, () => world.log.append(entries(4))));
    const positions = (await followed).map(({ position }) => position);
    assert.equal(new Set(positions).size, 201);
    assert.deepEqual(positions, positions.toSorted());
  },

  'lets a reader that comes later find what was appended before': async (world) => {
    const before = await world.append(...entries(10));
    const followed = follow(world, shardOf(before), 20);
    await world.append(...entries(10));
    assert.equal((await followed).length, 20);
  },

  'calls every listener, also one that was registered twice and taken back once': async (world) => {
    const shard = shardOf(await world.append(entry()));
    const others = [watch(world.log, shard), watch(world.log, shard)];
    let wake = () => {};
    const called = new Promise<void>((resolve) => (wake = resolve));
    const twice = () => wake();
    const takeBack = world.log.onAppend(shard, twice);
    world.log.onAppend(shard, twice);
    takeBack();
    takeBack();
    await world.append(entry({ id: '2' }));
    await Promise.all([...others.map((other) => other.next()), called]);
  },

  'leaves a listener alone once it is taken back, which is safe twice': async (world) => {
    const shard = shardOf(await world.append(entry()));
    let calls = 0;
    const stop = world.log.onAppend(shard, () => calls++);
    const other = watch(world.log, shard);
    await world.append(entry({ id: '2' }));
    await other.next();
    const appending = world.log.append([entry({ id: '3' })]);
    stop();
    stop();
    const before = calls;
    await appending;
    await other.next();
    for (let i = 0; i < 3; i++) {
      await world.append(entry({ id: '3' }));
      await other.next();
    }
    assert.equal(calls, before);
  },

  'calls the listeners of the shard that was appended to': async (world) => {
    const keys = Array.from({ length: 40 }, (_, i) => `${i}`);
    const shards = new Set((await world.append(...keys.map((key) => entry({ key })))).map((each) => each.shard));
    const signals = [...shards].map((shard) => watch(world.log, shard));
    const again = keys.map((key) => entry({ key }));
    placed(again, await world.log.append(again));
    await Promise.all(signals.map((each) => each.next()));
  },
};
