/** What is the memory log's own; all that it shares with other logs is in memory.test.ts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AttributeValue, Event } from '@millrace/core/event';
import { encodeEvent } from '@millrace/core/event-bytes';
import type { Dedupe, Entry } from '@millrace/gateway/ports/log';
import { createMemoryLog } from './log.ts';

function entry(type = 'orders.created', { key, dedupe }: { readonly key?: string; readonly dedupe?: Dedupe } = {}): Entry {
  const extensions: Record<string, AttributeValue> = key === undefined ? {} : { partitionkey: key };
  const event: Event = { id: '1', source: '/shop', type, extensions };
  return { environment: 'default', app: 'shop', event, bytes: encodeEvent(event), ...(dedupe && { dedupe }) };
}

const SIZE = entry().bytes.length;
const page = { after: '', limit: 100_000, maxBytes: Number.MAX_SAFE_INTEGER };

test('positions are numbers of sixteen digits from one on', async () => {
  const results = await createMemoryLog().append([entry(), entry()]);
  assert.deepEqual(
    results.map((result) => result.status === 'appended' && result.position),
    ['0000000000000001', '0000000000000002'],
  );
});

test('the identity can be given', () => {
  assert.equal(createMemoryLog({ identity: 'seed-7' }).identity, 'seed-7');
});

test('events without a key go round the shards', async () => {
  const log = createMemoryLog({ shards: 3 });
  const results = await log.append(Array.from({ length: 6 }, () => entry()));
  assert.deepEqual(
    results.map((result) => result.status === 'appended' && result.shard),
    [...log.shards(), ...log.shards()],
  );
});

test('keys spread over the shards', async () => {
  const log = createMemoryLog({ shards: 4 });
  await log.append(Array.from({ length: 4_000 }, (_, i) => entry('orders.created', { key: `customer-${i}` })));
  for (const shard of log.shards()) {
    const { records } = await log.read({ ...page, shard });
    assert.ok(records.length > 800 && records.length < 1_200, `${records.length} of 4,000`);
  }
});

test('a full log refuses the whole append and keeps what it has', async () => {
  const log = createMemoryLog({ maxBytes: 3 * SIZE });
  await log.append([entry(), entry()]);
  await assert.rejects(log.append([entry(), entry()]), { code: 'log_full' });
  await log.append([entry()]);
  await assert.rejects(log.append([entry()]), { code: 'log_full' });
  assert.equal((await log.read({ ...page, shard: log.shards()[0]! })).records.length, 3);
});

test('a full log still answers repeats', async () => {
  const log = createMemoryLog({ maxBytes: SIZE });
  const once = entry('orders.created', { dedupe: { key: 'k', digest: 'a', windowMs: 1_000 } });
  await log.append([once]);
  assert.equal((await log.append([once]))[0]?.status, 'duplicate');
});

test('a full log makes room by what has expired', async () => {
  const clock = { ms: 0 };
  const log = createMemoryLog({ maxBytes: 2 * SIZE, now: () => clock.ms });
  await log.declareTopic({ environment: 'default', topic: 'orders.created', retentionMs: 10 });
  await log.append([entry(), entry()]);
  clock.ms = 11;
  await log.append([entry()]);
  const { records, expired } = await log.read({ ...page, shard: log.shards()[0]! });
  assert.deepEqual([records.length, expired?.count], [1, 2]);
});

test('listeners run outside the call of whoever appends', async () => {
  const log = createMemoryLog();
  let heard = false;
  log.onAppend(log.shards()[0]!, () => (heard = true));
  const appending = log.append([entry()]);
  assert.equal(heard, false);
  await appending;
  assert.equal(heard, true);
});

test('marks of what retention took long ago are folded, and still counted', async () => {
  const clock = { ms: 0 };
  const log = createMemoryLog({ now: () => clock.ms });
  await log.declareTopic({ environment: 'default', topic: 'orders.created', retentionMs: 10 });
  await log.append(Array.from({ length: 70_000 }, () => entry()));
  clock.ms = 11;
  await log.trim();
  const shard = log.shards()[0]!;
  const last = { position: '0000000000070000', timeMs: 0 };
  assert.deepEqual((await log.read({ ...page, shard })).expired, { last, firstTimeMs: 0, count: 70_000 });
  assert.deepEqual((await log.read({ ...page, shard, after: '0000000000000005' })).expired, { last });
  assert.deepEqual((await log.read({ ...page, shard, after: '0000000000069990' })).expired, { last, firstTimeMs: 0, count: 10 });
});

test('reading a shard that does not exist rejects', async () => {
  await assert.rejects(createMemoryLog().read({ ...page, shard: 'nowhere' }), RangeError);
});

test('a place by time comes before what retention took of that time', async () => {
  const clock = { ms: 100 };
  const log = createMemoryLog({ now: () => clock.ms });
  await log.declareTopic({ environment: 'default', topic: 'orders.created', retentionMs: 10 });
  for (clock.ms of [100, 200, 300]) await log.append([entry()]);
  clock.ms = 900;
  await log.trim();
  assert.equal(await log.positionAt(log.shards()[0]!, 200), '0000000000000001');
});
