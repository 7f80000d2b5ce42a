/** Rejects are found in the log, newest first, however much lies between them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createNativeLog } from '../test/natives.ts';
import type { Notice, RejectCursor, Rejects } from './api.ts';
import { createRejects } from './rejects.ts';
import { systemClock } from './system-clock.ts';

const START_MS = Date.UTC(2026, 10, 2, 12);
const HOUR_MS = 3_600_000;

function made({ pageRecords = 512, shards = 1 } = {}) {
  let nowMs = START_MS;
  const log = createNativeLog({ now: () => nowMs, shards });
  const notices: Notice[] = [];
  const clock = { ...systemClock, now: () => nowMs };
  const limits = { pageRecords, pageBytes: 2 ** 21, eventsPage: 500 };
  const rejects = createRejects({ log, clock, limits, onNotice: (notice) => notices.push(notice) });
  return {
    rejects,
    notices,
    async write(afterMs: number, ...bodies: string[]) {
      nowMs += afterMs;
      await log.write('orders.created', ...bodies);
    },
  };
}

/** All of them, page by page, and how many pages that took. */
async function all(rejects: Rejects, limit: number) {
  const texts: string[] = [];
  for (let cursor: RejectCursor | undefined, pages = 1; ; pages++) {
    const page = await rejects.read({
      environment: 'default',
      topic: 'orders.created',
      limit,
      ...(cursor === undefined ? {} : { cursor }),
    });
    assert.ok(page.records.length <= limit);
    texts.push(...page.records.map(({ event }) => Buffer.from(event.data ?? []).toString()));
    cursor = page.next;
    if (cursor === undefined) return { texts, pages };
  }
}

test('newest first, in pages, each once, also those of one millisecond', async () => {
  const { rejects, write } = made();
  await write(0, 'bad 1', '{}', 'bad 2', 'bad 3');
  await write(HOUR_MS, '{}');
  await write(48 * HOUR_MS, 'bad 4', 'bad 5', 'good');
  for (const limit of [1, 2, 3, 500])
    assert.deepEqual((await all(rejects, limit)).texts, ['bad 5', 'bad 4', 'bad 3', 'bad 2', 'bad 1']);
});

test('also where far more lies between them than one answer looks through', async () => {
  const { rejects, write } = made({ pageRecords: 1 });
  await write(0, 'bad first');
  for (let at = 0; at < 300; at++) await write(100, '{}', '{}');
  await write(10, 'bad last');
  const { texts, pages } = await all(rejects, 500);
  assert.deepEqual(texts, ['bad last', 'bad first']);
  assert.ok(pages > 5, 'one answer reads so much and no more');
});

test('of a topic that is written to thousands of times in one millisecond', async () => {
  const { rejects, write } = made({ pageRecords: 10 });
  await write(0, ...Array.from({ length: 2_000 }, (_, at) => (at % 500 === 0 ? `bad ${at}` : '{}')));
  assert.deepEqual((await all(rejects, 3)).texts, ['bad 1500', 'bad 1000', 'bad 500', 'bad 0']);
});

test('over several shards', async () => {
  const { rejects, write } = made({ shards: 3 });
  for (let at = 1; at <= 5; at++) await write(1_000, `bad ${at}`, '{}');
  assert.deepEqual((await all(rejects, 2)).texts, ['bad 5', 'bad 4', 'bad 3', 'bad 2', 'bad 1']);
});

test('of an empty log there are none, and at most 500 at once', async () => {
  const { rejects } = made();
  assert.deepEqual((await all(rejects, 1)).texts, []);
  const query = { environment: 'default', topic: 'orders.created', limit: 501 };
  await assert.rejects(rejects.read(query), { code: 'invalid_request' });
});
