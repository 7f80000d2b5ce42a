/** The tail: a shard read once, given out in order, with its last megabytes in memory. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeEvent } from '@millrace/core/event-bytes';
import { createMemoryLog } from '@millrace/memory/log';
import { createHandClock, draftOf, settle } from '../../test/clock.ts';
import { LIMITS, type Limits } from '../limits.ts';
import type { Log, Page } from '../ports/log.ts';
import { createTail } from './tail.ts';

const at = (count: number): string => String(count).padStart(16, '0');

function made(limits: Partial<Limits> = {}, from = '') {
  const clock = createHandClock();
  const log: Log = createMemoryLog({ now: clock.now });
  const given: string[] = [];
  const expired: NonNullable<Page['expired']>[] = [];
  const trouble: (string | undefined)[] = [];
  const tail = createTail({
    shard: 'memory-0',
    from: { position: from, timeMs: 0 },
    log,
    clock,
    limits: { ...LIMITS, ...limits },
    onRecord: ({ event }, before) => void given.push(`${Number(before.position)}<${event.id}`),
    onPage: () => undefined,
    onExpired: (one) => void expired.push(one),
    onTrouble: (code) => void trouble.push(code),
  });
  let count = 0;
  const append = async (times: number): Promise<void> => {
    for (let n = 0; n < times; n++) {
      const id = `${++count}`;
      const event = { source: '/s', extensions: {}, ...draftOf(id), id };
      await log.append([{ environment: 'default', app: 'shop', event, bytes: encodeEvent(event) }]);
    }
    await settle();
  };
  return { clock, log, tail, given, expired, trouble, append };
}

const idsAfter = (tail: ReturnType<typeof made>['tail'], position: string): string[] =>
  [...tail.after(position)].map(({ event }) => event.id);

test('what is there and what comes is given out once, in order, each with the place before it', async () => {
  const { tail, given, append } = made({ pageRecords: 2 });
  await append(3);
  await tail.start();
  await append(2);
  assert.deepEqual(given, ['0<1', '1<2', '2<3', '3<4', '4<5']);
  assert.equal(tail.end.position, at(5));
});

test('it begins after the place it is given', async () => {
  const { tail, given, append } = made({}, at(2));
  await append(4);
  await tail.start();
  assert.deepEqual(given, ['2<3', '3<4']);
  assert.ok(tail.covers(at(2)) && !tail.covers(at(1)));
});

test('the ring keeps the newest within its bytes, and knows what it no longer covers', async () => {
  const { tail, append } = made({ ringBytes: 1_000 });
  await append(1);
  await tail.start();
  const { size = 1 } = tail.find(at(1)) ?? {};
  const fits = Math.floor(1_000 / size);
  await append(fits + 1);
  assert.ok(!tail.covers(at(1)) && tail.covers(at(2)));
  assert.equal(tail.find(at(2)), undefined);
  assert.equal(tail.find(at(3))?.event.id, '3');
  assert.equal(idsAfter(tail, at(2)).length, fits);
  assert.deepEqual(idsAfter(tail, at(fits + 1)), [`${fits + 2}`]);
  assert.deepEqual(idsAfter(tail, at(fits + 2)), []);
});

test('thousands of evictions later the ring still finds what it holds', async () => {
  const { tail, append } = made({ ringBytes: 2_000 });
  await tail.start();
  await append(5_000);
  assert.equal(tail.find(at(5_000))?.event.id, '5000');
  assert.equal(tail.find(at(9_999)), undefined);
  assert.equal(idsAfter(tail, at(4_998)).join(), '4999,5000');
});

test('an event larger than the whole ring is held until the next comes', async () => {
  const { tail, append } = made({ ringBytes: 1 });
  await tail.start();
  await append(2);
  assert.ok(!tail.covers(at(0)) && tail.covers(at(1)));
  assert.equal(tail.find(at(2))?.event.id, '2');
});

test('one who reads from the ring may let the tail go on meanwhile', async () => {
  const { tail, append } = made();
  await append(2);
  await tail.start();
  const seen: string[] = [];
  for (const { event } of tail.after('')) {
    seen.push(event.id);
    if (seen.length === 1) await append(2);
  }
  assert.deepEqual(seen, ['1', '2', '3', '4']);
});

test('what retention took before it was read is told, and the ring does not cover it', async () => {
  const { tail, clock, log, append, expired, given } = made();
  await log.declareTopic({ environment: 'default', topic: 'orders.created', retentionMs: 1_000 });
  await append(3);
  clock.jump(2_000);
  await append(1);
  await tail.start();
  await settle();
  assert.equal(given.length, 1);
  assert.deepEqual(
    expired.map(({ last, count }) => [last.position, count]),
    [[at(3), 3]],
  );
  assert.ok(!tail.covers(at(2)));
});

test('a read that fails is tried again with growing pauses, told once it works again, and nothing is lost', async () => {
  const { tail, clock, log, append, given, trouble } = made();
  await tail.start();
  const { read } = log;
  let tries = 0;
  log.read = () => (tries++, Promise.reject(Object.assign(new Error('gone'), { code: 'log_unavailable' })));
  await append(2);
  await clock.advance(20_000);
  assert.ok(tries > 5 && tries < 15, `${tries} tries`);
  log.read = read;
  await clock.advance(5_000);
  assert.deepEqual(given, ['0<1', '1<2']);
  assert.deepEqual(new Set(trouble), new Set(['log_unavailable', undefined]));
  assert.equal(trouble.at(-1), undefined);
});

test('stopped, it gives nothing out any more', async () => {
  const { tail, append, given } = made();
  await tail.start();
  await append(1);
  tail.stop();
  await append(2);
  assert.deepEqual(given, ['0<1']);
});
