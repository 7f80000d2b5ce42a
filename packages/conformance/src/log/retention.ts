/** Retention: hidden at once, reported exactly, given back by trim. */
import assert from 'node:assert/strict';
import type { Behaviours } from '../behaviours.ts';
import { holdsExactly, readAll } from './walk.ts';
import { DAY_MS, entries, entry, shardOf } from './world.ts';
import type { LogWorld, Placed } from './world.ts';

const SHORT_MS = 10_000;
const ofShort = ({ entry: { environment, event } }: Placed) => environment === 'default' && event.type === 'short';
const some = (...topics: readonly string[]) => ({ only: { environment: 'default', topics } });

async function declare(world: LogWorld, topic: string, retentionMs: number, environment = 'default'): Promise<void> {
  await world.log.declareTopic({ environment, topic, retentionMs });
}

/** Events of a short-lived topic and others between them, the short-lived ones expired. `short` of staging lives on. */
async function halfExpired(world: LogWorld): Promise<readonly Placed[]> {
  await declare(world, 'short', SHORT_MS);
  await declare(world, 'long', DAY_MS);
  const all: Placed[] = [];
  for (let i = 0; i < 30; i++) {
    const topic = ['short', 'long', 'undeclared', 'short', 'short'][i % 5]!;
    const [one] = await world.append(entry({ id: `${i}`, topic, environment: i % 5 === 4 ? 'staging' : 'default' }));
    all.push(one!);
    world.clock.ms += 10;
  }
  world.clock.ms += SHORT_MS;
  return all;
}

async function showsExactlyWhatIsLost(world: LogWorld, all: readonly Placed[], limit = 1_000): Promise<void> {
  await holdsExactly(world.log, all, { limit }, ofShort);
  await holdsExactly(world.log, all, { ...some('short'), limit }, ofShort);
  await holdsExactly(world.log, all, { ...some('long', 'short'), limit }, ofShort);
  for (const { shard, position: after } of all) {
    const ofShard = all.filter((each) => each.shard === shard);
    for (const page of [await world.log.read({ shard, after, limit, maxBytes: 1_000_000 })]) {
      const lost = ofShard.filter((each) => ofShort(each) && each.position > after && each.position <= page.through).at(-1);
      assert.equal(page.expired?.last.position, lost?.position);
    }
  }
}

export const retention: Behaviours<LogWorld> = {
  'keeps events of topics never declared for seven days': async (world) => {
    const all = await world.append(...entries(3));
    world.clock.ms += 7 * DAY_MS;
    await holdsExactly(world.log, all);
    world.clock.ms += 1;
    await holdsExactly(world.log, all, {}, () => true);
  },

  'hides events once they are older than their topic’s retention, before anything is trimmed': async (world) => {
    await declare(world, 'orders.created', SHORT_MS);
    const old = await world.append(...entries(3));
    world.clock.ms += SHORT_MS;
    const all = [...old, ...(await world.append(...entries(2)))];
    await holdsExactly(world.log, all);
    world.clock.ms += 1;
    await holdsExactly(world.log, all, {}, (each) => old.includes(each));
  },

  'keeps every topic of every environment for its own time': async (world) => {
    await declare(world, 'a', SHORT_MS);
    await declare(world, 'b', 2 * SHORT_MS);
    await declare(world, 'a', 3 * SHORT_MS, 'staging');
    const all = await world.append(
      entry({ topic: 'a' }),
      entry({ topic: 'b' }),
      entry({ topic: 'a', environment: 'staging' }),
      entry({ topic: 'a.b' }),
    );
    const lifeMs = [SHORT_MS, 2 * SHORT_MS, 3 * SHORT_MS, 7 * DAY_MS];
    for (let age = SHORT_MS / 2; age < 4 * SHORT_MS; age += SHORT_MS) {
      world.clock.ms = all[0]!.timeMs + age;
      await holdsExactly(world.log, all, {}, (each) => lifeMs[all.indexOf(each)]! < age);
    }
  },

  'counts the latest word on a topic, also for events that are there already': async (world) => {
    await declare(world, 'orders.created', DAY_MS);
    const all = await world.append(...entries(2));
    world.clock.ms += SHORT_MS;
    await declare(world, 'orders.created', 2 * SHORT_MS);
    await declare(world, 'orders.created', 2 * SHORT_MS);
    await holdsExactly(world.log, all);
    await declare(world, 'orders.created', SHORT_MS - 1);
    await holdsExactly(world.log, all, {}, () => true);
  },

  'keeps events longer when their topic is given longer in time': async (world) => {
    await declare(world, 'orders.created', SHORT_MS);
    const all = await world.append(...entries(2));
    await declare(world, 'orders.created', DAY_MS);
    world.clock.ms += 2 * SHORT_MS;
    await world.log.trim();
    await holdsExactly(world.log, all);
  },

  'reports exactly what is hidden': async (world) => {
    await showsExactlyWhatIsLost(world, await halfExpired(world));
  },

  'reports exactly what is hidden, page by page': async (world) => {
    const all = await halfExpired(world);
    for (const limit of [1, 2, 3]) await showsExactlyWhatIsLost(world, all, limit);
  },

  'reports exactly what was trimmed': async (world) => {
    const all = await halfExpired(world);
    await world.log.trim();
    await showsExactlyWhatIsLost(world, all);
  },

  'reports exactly what was trimmed, page by page': async (world) => {
    const all = await halfExpired(world);
    await world.log.trim();
    for (const limit of [1, 2, 3]) await showsExactlyWhatIsLost(world, all, limit);
  },

  'reports together what was trimmed and what is hidden since': async (world) => {
    const all = [...(await halfExpired(world))];
    await world.log.trim();
    all.push(...(await world.append(...entries(3, { topic: 'short' }), ...entries(3, { topic: 'long' }))));
    world.clock.ms += SHORT_MS + 1;
    await showsExactlyWhatIsLost(world, all);
  },

  'reports no loss to who asks for topics that lost nothing': async (world) => {
    const all = await halfExpired(world);
    const asked = [some('long'), some('undeclared', 'long'), some('never'), { only: { environment: 'staging', topics: ['>'] } }];
    for (const query of asked) await holdsExactly(world.log, all, query);
    await world.log.trim();
    for (const query of asked) await holdsExactly(world.log, all, { ...query, limit: 2 });
  },

  'reports no loss behind the reader': async (world) => {
    const all = await halfExpired(world);
    const lastLost = all.findLast(ofShort)!;
    for (let i = 0; i < 2; i++) {
      await holdsExactly(
        world.log,
        all.filter((each) => each.shard === lastLost.shard),
        { after: lastLost.position, ...some('>') },
      );
      await world.log.trim();
    }
  },

  'reports a loss where everything is gone, and goes on behind it': async (world) => {
    await declare(world, 'orders.created', SHORT_MS);
    const gone = await world.append(...entries(50));
    world.clock.ms += SHORT_MS + 1;
    await world.log.trim();
    await holdsExactly(world.log, gone, {}, () => true);
    const all = [...gone, ...(await world.append(...entries(2)))];
    await holdsExactly(world.log, all, {}, (each) => gone.includes(each));
  },

  'reports what was lost since the cursor of a reader that stood still': async (world) => {
    await declare(world, 'orders.created', SHORT_MS);
    const all = await world.append(...entries(50));
    world.clock.ms += SHORT_MS + 1;
    for (let i = 0; i < 2; i++) {
      await holdsExactly(world.log, all, { after: all[19]!.position }, () => true);
      await world.log.trim();
    }
  },

  'gives nothing back that is still kept': async (world) => {
    const all = await world.append(...entries(100));
    await world.log.trim();
    world.clock.ms += 7 * DAY_MS;
    await world.log.trim();
    await world.log.trim();
    await holdsExactly(world.log, all);
  },

  'trims at any time: empty, twice, while others append and read': async (world) => {
    await world.log.trim();
    await declare(world, 'orders.created', SHORT_MS);
    const old = await world.append(...entries(20));
    world.clock.ms += SHORT_MS + 1;
    const shard = shardOf(old);
    const [results] = await Promise.all([
      world.log.append(entries(20)),
      world.log.trim(),
      readAll(world.log, shard),
      world.log.trim(),
      world.log.bounds(shard),
    ]);
    await world.settle();
    assert.ok(results.every(({ status }) => status === 'appended'));
    assert.equal((await readAll(world.log, shard)).length, 20);
  },

  'counts an event’s age from the time its record carries': async (world) => {
    await declare(world, 'orders.created', SHORT_MS);
    const first = await world.append(...entries(2));
    world.clock.ms -= SHORT_MS / 2;
    const all = [...first, ...(await world.append(...entries(2)))];
    await holdsExactly(world.log, all);
    world.clock.ms = first[0]!.timeMs + 2 * SHORT_MS;
    await holdsExactly(world.log, all, {}, () => true);
  },
};
