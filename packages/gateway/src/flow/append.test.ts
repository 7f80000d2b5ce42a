/** Append: publishers share commits of the log, and each gets its own results. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeEvent } from '@millrace/core/event-bytes';
import { Problem } from '@millrace/core/problem';
import { createMemoryLog } from '@millrace/memory/log';
import { createHandClock, settle } from '../../test/clock.ts';
import { LIMITS, type Limits } from '../limits.ts';
import { createPace } from '../pace.ts';
import type { Entry, Log } from '../ports/log.ts';
import { createAppend } from './append.ts';

/** Of an interactive topic where the id begins with a `!`. */
function entry(id: string, bytes = 0): Entry {
  const event = { id, source: '/s', type: 't', extensions: {}, data: Buffer.alloc(bytes) };
  return { environment: 'default', app: 'shop', event, bytes: encodeEvent(event) };
}

/** A memory log whose appends wait for the test: one call of `next` lets one go, with an error or without. */
function made(given: Partial<Limits> = {}) {
  const limits = { ...LIMITS, appendsUnderWay: 1, ...given };
  const clock = createHandClock();
  const memory = createMemoryLog();
  const calls: string[][] = [];
  const waiting: ((error?: Error) => void)[] = [];
  const log: Log = {
    ...memory,
    append(entries) {
      calls.push(entries.map(({ event }) => event.id));
      return new Promise((resolve, reject) => {
        waiting.push((error) => (error === undefined ? resolve(memory.append(entries)) : reject(error)));
      });
    },
  };
  const next = async (error?: Error): Promise<void> => {
    await settle();
    waiting.shift()?.(error);
    await settle();
  };
  const isUrgent = ({ event }: Entry): boolean => event.id.startsWith('!');
  return { append: createAppend({ log, limits, pace: createPace({ clock, limits }), isUrgent }), calls, next, memory, clock };
}

async function positionOf(appended: Promise<readonly object[]>): Promise<number[]> {
  return (await appended).map((one) => Number((one as { position: string }).position));
}

test('one who comes alone is appended at once', async () => {
  const { append, calls, next } = made();
  const done = append([entry('1')]);
  await settle();
  assert.deepEqual(calls, [['1']]);
  await next();
  assert.deepEqual(await positionOf(done), [1]);
});

test('two appends may be under way: the log has its next one while it works on the first', async () => {
  const { append, calls, next } = made({ appendsUnderWay: 2 });
  const done = [append([entry('1')])];
  await settle();
  done.push(append([entry('2')]));
  await settle();
  done.push(append([entry('3')]), append([entry('4')]));
  await settle();
  assert.deepEqual(calls, [['1'], ['2']]);
  await next();
  assert.deepEqual(calls, [['1'], ['2'], ['3', '4']]);
  await next();
  await next();
  assert.deepEqual((await Promise.all(done.map(positionOf))).flat(), [1, 2, 3, 4]);
});

test('of very many calls in one turn the log gets a first part at once', async () => {
  const { append, calls, next } = made();
  const done = Array.from({ length: 200 }, (_, at) => append([entry(String(at))]));
  assert.deepEqual(
    calls.map(({ length }) => length),
    [64],
  );
  await next();
  await next();
  await Promise.all(done);
  assert.deepEqual(
    calls.map(({ length }) => length),
    [64, 136],
  );
});

test('while one append is under way the next fills up, and all get their own results', async () => {
  const { append, calls, next } = made();
  const first = append([entry('1')]);
  await settle();
  const others = [append([entry('2'), entry('3')]), append([entry('4')]), append([entry('5'), entry('6')])];
  await next();
  assert.deepEqual(calls, [['1'], ['2', '3', '4', '5', '6']]);
  await next();
  assert.deepEqual(await positionOf(first), [1]);
  assert.deepEqual(await Promise.all(others.map(positionOf)), [[2, 3], [4], [5, 6]]);
});

test('a call is never split: what does not fit goes with the next append, in order', async () => {
  const { append, calls, next } = made({ appendEvents: 3 });
  const alone = append([entry('1')]);
  await settle();
  const done = [alone, append([entry('2'), entry('3')]), append([entry('4'), entry('5')]), append([entry('6')])];
  for (let times = 0; times < 3; times++) await next();
  assert.deepEqual(calls, [['1'], ['2', '3'], ['4', '5', '6']]);
  assert.deepEqual((await Promise.all(done.map(positionOf))).flat(), [1, 2, 3, 4, 5, 6]);
});

test('bytes of one append are bounded, but a call larger than the bound goes alone', async () => {
  const { append, calls, next } = made({ appendBytes: 1_000 });
  const done = [
    append([entry('1')]),
    append([entry('2', 600)]),
    append([entry('3', 600)]),
    append([entry('4', 5_000)]),
    append([entry('5')]),
  ];
  for (let times = 0; times < 4; times++) await next();
  await Promise.all(done);
  assert.deepEqual(calls, [['1', '2'], ['3'], ['4'], ['5']]);
});

test('an append that fails rejects its own group only, with its reason', async () => {
  const { append, next, memory } = made();
  const first = append([entry('1')]);
  await settle();
  const group = [append([entry('2')]), append([entry('3')])].map((one) => assert.rejects(one, { code: 'log_full' }));
  await next();
  const later = append([entry('4')]);
  await next(new Problem('log_full', 'no space'));
  await next();
  await Promise.all(group);
  assert.deepEqual([await positionOf(first), await positionOf(later)], [[1], [2]]);
  assert.equal((await memory.bounds('memory-0')).end.replace(/^0+/, ''), '2');
});

test('past the bytes that may wait, a publisher is refused at once and told when to come back', async () => {
  const { append, next, calls } = made({ appendQueueBytes: 1_000 });
  const done = [append([entry('1', 100)]), append([entry('2', 500)])];
  await assert.rejects(append([entry('3', 600)]), { code: 'overloaded', retryAfterMs: 1_000 });
  await next();
  done.push(append([entry('4', 600)]));
  await next();
  await next();
  await Promise.all(done);
  assert.deepEqual(calls.flat(), ['1', '2', '4']);
});

test('one call larger than the whole queue is taken while nobody waits', async () => {
  const { append, next } = made({ appendQueueBytes: 1_000 });
  const done = append([entry('1', 5_000)]);
  await next();
  assert.deepEqual(await positionOf(done), [1]);
});

test('in a hurry the interactive goes first, and the others follow in short appends that leave it a place', async () => {
  const { append, calls, next, clock } = made({ appendsUnderWay: 2, hurriedEvents: 2, hurryMs: 1_000 });
  const all = [append([entry('!a')])];
  await settle();
  for (const id of ['b', 'c', 'd', 'e']) all.push(append([entry(id)]));
  await settle();
  // One place is taken by the interactive; the other stays free for the next one.
  assert.deepEqual(calls, [['!a']]);
  await next();
  assert.deepEqual(calls, [['!a'], ['b', 'c']]);
  all.push(append([entry('f')]), append([entry('!g'), entry('!h')]));
  await settle();
  assert.deepEqual(calls.slice(2), [['!g', '!h']]);
  await next();
  await next();
  assert.deepEqual(calls.slice(3), [['d', 'e']]);
  // Past the hurry the places are everybody's again.
  await clock.advance(1_000);
  all.push(append([entry('i')]), append([entry('j')]), append([entry('k')]));
  await settle();
  assert.deepEqual(calls.slice(4), [['f', 'i', 'j', 'k']]);
  await next();
  await next();
  await Promise.all(all);
});

test('however many interactive calls there are, every tenth append is of the others', async () => {
  const { append, calls, next } = made({ appendsUnderWay: 2 });
  const all = [append([entry('!first')]), append([entry('other')])];
  for (let n = 0; n < 15; n++) {
    all.push(append([entry(`!${n}`)]));
    await next();
  }
  const at = calls.findIndex((ids) => ids.includes('other'));
  assert.ok(at > 0 && at <= 11, String(at));
  for (let left = calls.length; left > 0; left--) await next();
  await Promise.all(all);
});

test('a call that is not all interactive goes with the others', async () => {
  const { append, calls, next } = made();
  const all = [append([entry('a')]), append([entry('!b'), entry('c')]), append([entry('!d')])];
  await settle();
  assert.deepEqual(calls, [['!d']]);
  await next();
  assert.deepEqual(calls[1], ['a', '!b', 'c']);
  await next();
  await Promise.all(all);
});
