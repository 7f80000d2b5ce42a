/** Reading forward: pages, their bounds, and reading only some topics. */
import assert from 'node:assert/strict';
import type { ReadRequest } from '@millrace/gateway/ports/log';
import type { Behaviours } from '../behaviours.ts';
import { holdsExactly, readAll, sizeOf, walk } from './walk.ts';
import { BEFORE_ALL, entries, entry, MB, shardOf } from './world.ts';
import type { LogWorld } from './world.ts';

const page: Omit<ReadRequest, 'shard'> = { after: BEFORE_ALL, limit: 100, maxBytes: MB };
const some = (...topics: readonly string[]) => ({ only: { environment: 'default', topics } });

/** Events of several topics, interleaved, some of them in another environment. */
const mixed = Array.from({ length: 40 }, (_, i) => {
  const topic = ['orders.created', 'orders.paid', 'orders.items.added', 'users.created', 'orders'][i % 5]!;
  return entry({ id: `${i}`, topic, environment: i % 4 === 3 ? 'staging' : 'default' });
});

export const read: Behaviours<LogWorld> = {
  'begins after the position given, which is not read again': async (world) => {
    const all = await world.append(...entries(5));
    for (const { position: after } of all) await holdsExactly(world.log, all, { after });
  },

  'holds a page to its limit of records': async (world) => {
    const all = await world.append(...entries(10));
    for (const limit of [1, 3, 10, 11]) await holdsExactly(world.log, all, { limit });
    const pages = await walk(world.log, shardOf(all), { limit: 3 });
    assert.deepEqual(
      pages.map(({ records }) => records.length).filter((count) => count > 0),
      [3, 3, 3, 1],
    );
  },

  'holds a page to its bytes': async (world) => {
    const all = await world.append(...entries(9, { data: new Uint8Array(1_000) }));
    const size = all[0]!.entry.bytes.length;
    await holdsExactly(world.log, all, { maxBytes: 3 * size });
    const { records } = await world.log.read({ ...page, shard: shardOf(all), maxBytes: 3 * size });
    assert.equal(sizeOf(records), 3 * size);
  },

  'returns one record where even the first is larger than the bytes allowed': async (world) => {
    const all = await world.append(...entries(3, { data: new Uint8Array(1_000) }));
    const { records } = await world.log.read({ ...page, shard: shardOf(all), maxBytes: 1 });
    assert.equal(records.length, 1);
    await holdsExactly(world.log, all, { maxBytes: 1 });
  },

  'finds nothing in an empty shard': async ({ log }) => {
    for (const shard of log.shards()) {
      assert.deepEqual(await log.read({ ...page, shard }), { records: [], through: BEFORE_ALL, atEnd: true });
    }
  },

  'stays where it is when nothing is newer': async (world) => {
    const all = await world.append(...entries(3));
    const after = all.at(-1)!.position;
    assert.deepEqual(await world.log.read({ ...page, shard: shardOf(all), after }), { records: [], through: after, atEnd: true });
  },

  'says whether a page reached the end': async (world) => {
    const all = await world.append(...entries(4));
    const shard = shardOf(all);
    assert.equal((await world.log.read({ ...page, shard, limit: 3 })).atEnd, false);
    assert.equal((await world.log.read({ ...page, shard, after: all[2]!.position })).atEnd, true);
  },

  'goes on where a page ended while more is appended': async (world) => {
    const all = [...(await world.append(...entries(4)))];
    const shard = shardOf(all);
    const first = await world.log.read({ ...page, shard, limit: 2 });
    all.push(...(await world.append(...entries(4))));
    await holdsExactly(world.log, all, { after: first.through });
  },

  'gives readers of one shard the same, side by side': async (world) => {
    const all = await world.append(...entries(50));
    await Promise.all([1, 2, 3, 7, 50].map((limit) => holdsExactly(world.log, all, { limit })));
  },

  'reads only the topics asked for': async (world) => {
    const all = await world.append(...mixed);
    await holdsExactly(world.log, all, some('orders.paid'));
    await holdsExactly(world.log, all, some('orders.*'));
    await holdsExactly(world.log, all, some('orders.>'));
    await holdsExactly(world.log, all, some('>'));
    await holdsExactly(world.log, all, some('*.created', 'orders', 'orders.paid'));
  },

  'reads topics in pages without leaving one out': async (world) => {
    const all = await world.append(...mixed);
    for (const limit of [1, 2, 5]) await holdsExactly(world.log, all, { ...some('orders.*'), limit });
    await holdsExactly(world.log, all, { ...some('orders.*'), maxBytes: 1 });
  },

  'reads one environment where topics are asked for': async (world) => {
    const all = await world.append(...mixed);
    await holdsExactly(world.log, all, { only: { environment: 'staging', topics: ['orders.>'] } });
    await holdsExactly(world.log, all, { only: { environment: 'nobodys', topics: ['>'] } });
  },

  'reads all environments where none is asked for': async (world) => {
    await holdsExactly(world.log, await world.append(...mixed));
  },

  'matches topics with their case and as whole tokens': async (world) => {
    const all = await world.append(
      ...['orders.created', 'Orders.created', 'orders.created2', 'orders.created.late', 'orders_created', 'ordersXcreated'].map(
        (topic) => entry({ topic }),
      ),
    );
    await holdsExactly(world.log, all, some('orders.created'));
    await holdsExactly(world.log, all, some('orders.*'));
  },

  'passes what was not asked for, up to the end': async (world) => {
    await world.append(...mixed);
    for (const shard of world.log.shards()) {
      const pages = await walk(world.log, shard, some('nobody.publishes'));
      assert.equal(pages.at(-1)!.through, (await world.log.bounds(shard)).end);
      assert.deepEqual(await readAll(world.log, shard, some('nobody.publishes')), []);
    }
  },

  'finds what comes after a stretch that was not asked for': async (world) => {
    const before = await world.append(...entries(2_000, { topic: 'users.created' }));
    const all = [...before, ...(await world.append(entry({ topic: 'orders.created' })))];
    await holdsExactly(world.log, all, { ...some('orders.created'), limit: 10 });
  },

  'finds nothing newer than a position beyond the end, as a cursor of a lost tail is': async (world) => {
    const all = await world.append(...entries(2));
    const longer = await world.another();
    const beyond = (await longer.append(entries(200))).at(-1)!;
    assert.ok(beyond.status === 'appended');
    const { records, through, atEnd } = await world.log.read({ ...page, shard: shardOf(all), after: beyond.position });
    assert.deepEqual({ records, through, atEnd }, { records: [], through: beyond.position, atEnd: true });
  },
};
