/** Appending: what goes in is what is kept. */
import assert from 'node:assert/strict';
import type { Event } from '@millrace/core/event';
import type { Behaviours } from '../behaviours.ts';
import { holdsExactly, sameEvent } from './walk.ts';
import { entries, entry, MB, placed, shardOf } from './world.ts';
import type { LogWorld } from './world.ts';

const PAYLOAD_BYTES_MAX = 524_288;
const ATTRIBUTE_BYTES_MAX = 16_384;
const everyByte = Uint8Array.from({ length: 256 }, (_, i) => i);

export const append: Behaviours<LogWorld> = {
  'answers one result per entry, in their order': async ({ log, settle }) => {
    const given = entries(20);
    const results = placed(given, await log.append(given));
    await settle();
    assert.ok(results.every(({ shard }) => log.shards().includes(shard)));
    await holdsExactly(log, results);
  },

  'keeps the order of calls that do not wait for one another': async ({ log, settle }) => {
    const calls = entries(12).map((one) => [one]);
    const results = await Promise.all(calls.map((call) => log.append(call)));
    await settle();
    const inOrder = placed(calls.flat(), results.flat());
    for (const shard of log.shards()) {
      const positions = inOrder.filter((one) => one.shard === shard).map(({ position }) => position);
      assert.deepEqual(positions, positions.toSorted());
    }
    await holdsExactly(log, inOrder);
  },

  'answers an append of nothing with nothing': async ({ log }) => {
    assert.deepEqual([...(await log.append([]))], []);
  },

  'keeps whose an event is': async (world) => {
    const mine = [
      entry({ environment: 'staging', app: 'shop' }),
      entry({ environment: 'default', app: 'crm' }),
      entry({ app: 'Ünï-😀' }),
    ];
    await holdsExactly(world.log, await world.append(...mine));
  },

  'keeps every attribute exactly': async (world) => {
    await keepsEvent(world, {
      id: 'id with spaces, "quotes", \\ and 😀',
      source: 'https://shop.example/a?b=c#d',
      type: 'orders.created',
      subject: 'Straße/42',
      time: '2026-11-02T12:00:00.123456789+01:00',
      datacontenttype: 'application/vnd.shop+json; charset=utf-8',
      dataschema: 'https://shop.example/schemas/order/7',
      extensions: {
        partitionkey: 'köy',
        audience: 'crm',
        traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
        n: -7,
        yes: true,
        no: false,
        empty: '',
      },
    });
  },

  'keeps an event of only what must be there': async (world) => {
    await keepsEvent(world, { id: '1', source: '/', type: 'a', extensions: {} });
  },

  'keeps a payload byte for byte, text or not': async (world) => {
    const json = new TextEncoder().encode('{"n": 12345678901234567890,\r\n\t"b":1.0, "a":"\\u0041", "a":2 }');
    await holdsExactly(world.log, await world.append(entry({ id: '1', data: everyByte }), entry({ id: '2', data: json })));
  },

  'keeps no payload and an empty payload apart': async (world) => {
    await holdsExactly(
      world.log,
      await world.append(
        entry({ id: '1' }),
        entry({ id: '2', data: new Uint8Array() }),
        entry({ id: '3', data: Uint8Array.of(0) }),
      ),
    );
  },

  'takes the largest payload with the most attributes': async (world) => {
    const data = new Uint8Array(PAYLOAD_BYTES_MAX).map((_, i) => i % 251);
    const extensions = { partitionkey: 'k', long: 'x'.repeat(ATTRIBUTE_BYTES_MAX - 200) };
    await holdsExactly(world.log, await world.append(entry({ data, event: { extensions } })));
  },

  'takes a payload that is a view into a larger buffer': async (world) => {
    await holdsExactly(world.log, await world.append(entry({ data: everyByte.subarray(100, 110) })));
  },

  'takes 4,096 entries in one call': async (world) => {
    await holdsExactly(world.log, await world.append(...entries(4_096)));
  },

  'takes 16 MB in one call': async (world) => {
    const data = new Uint8Array(PAYLOAD_BYTES_MAX - 1_024).fill(7);
    await holdsExactly(world.log, await world.append(...entries((16 * MB) / PAYLOAD_BYTES_MAX, { data })), { maxBytes: 2 * MB });
  },

  'takes topics, environments and apps that were never declared': async (world) => {
    await holdsExactly(world.log, await world.append(entry({ topic: 'never.declared', environment: 'nobodys', app: 'none' })));
  },

  'appends the same event as often as it is sent without a dedupe key': async (world) => {
    const twice = [entry(), entry()];
    await holdsExactly(world.log, [...(await world.append(...twice)), ...(await world.append(...twice))]);
  },

  'keeps the events of one topic and key in one shard': async (world) => {
    const keys = ['a', 'b', 'c', 'd', 'e'];
    const all = await world.append(...keys.flatMap((key) => entries(3, { key })));
    const later = await world.append(...keys.flatMap((key) => entries(3, { key })));
    for (const key of keys) shardOf([...all, ...later].filter((each) => each.entry.event.extensions['partitionkey'] === key));
  },

  'keeps the order of each call among appends that run together': async (world) => {
    const calls = Array.from({ length: 32 }, (_, i) => entries(8, { event: { source: `/publisher/${i}` } }));
    const results = await Promise.all(calls.map(async (call) => placed(call, await world.log.append(call))));
    await world.settle();
    shardOf(results.flat());
    for (const call of results) assert.ok(call.every((each, i) => i === 0 || call[i - 1]!.position < each.position));
    await holdsExactly(
      world.log,
      results.flat().sort((a, b) => (a.position < b.position ? -1 : 1)),
    );
  },

  'keeps the order of appends that follow one another': async (world) => {
    const all = [];
    for (let i = 0; i < 50; i++) all.push(...(await world.append(entry({ id: `${i}` }))));
    shardOf(all);
    await holdsExactly(world.log, all);
  },

  'shows what it has answered to whoever reads next': async (world) => {
    for (let i = 1; i <= 20; i++) {
      const [one] = await world.append(entry({ id: `${i}` }));
      const page = await world.log.read({ shard: one!.shard, after: '', limit: 100, maxBytes: MB });
      assert.equal(page.records.length, i);
    }
  },
};

async function keepsEvent(world: LogWorld, event: Event): Promise<void> {
  const [one] = await world.append(entry({ event }));
  const { records } = await world.log.read({ shard: one!.shard, after: '', limit: 1, maxBytes: MB });
  sameEvent(records[0]!.event, event);
}
