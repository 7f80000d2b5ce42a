/** The broker's own time: stamps, finding a place by them, and what its retention takes. */
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { setTimeout as passed } from 'node:timers/promises';
import type { Appended, Log } from '@millrace/gateway/ports/log';
import { findBroker } from '../../../scripts/brokers/find.ts';
import { entry, openFor, ownStream, plainClient, readAll, readPages } from './testing.ts';

const { server, skip } = await findBroker('nats');
const servers = server?.url ?? '';
after(() => server?.remove());

type Placed = Extract<Appended, { status: 'appended' }>;

/** real time: the broker stamps by its own clock, so that some must pass between two appends. */
async function appendApart(log: Log, counts: readonly number[]): Promise<Placed[]> {
  const all: Placed[] = [];
  for (const count of counts) {
    all.push(...((await log.append(Array.from({ length: count }, () => entry('1')))) as Placed[]));
    await passed(3);
  }
  return all;
}

describe('append time', { skip, timeout: 60_000 }, () => {
  test('is the broker’s, the same in the answer, the page and the single record', async (t) => {
    const own = ownStream();
    for (const tailBytes of [2 ** 20, 0]) {
      const log = await openFor(t, { servers, ...own, tailBytes, now: () => 0 });
      const [one] = await appendApart(log, [1]);
      const record = (await readAll(log)).at(-1)!;
      const { jsm } = await plainClient(t, servers);
      const stored = await jsm.streams.getMessage(own.stream, { seq: Number(one!.position) });
      assert.deepEqual(
        [one!.timeMs, record.timeMs, (await log.fetch(own.stream, one!.position))!.timeMs],
        Array(3).fill(stored!.time.getTime()),
      );
    }
  });

  test('leads to the first event at or after it', async (t) => {
    const own = ownStream();
    const log = await openFor(t, { servers, ...own });
    const all = await appendApart(log, [1, 3, 1, 2]);
    const times = new Set(all.flatMap(({ timeMs }) => [timeMs - 1, timeMs, timeMs + 1]));
    for (const time of [0, ...times]) {
      const found = await readAll(log, { after: await log.positionAt(own.stream, time) });
      assert.deepEqual(
        found.map(({ position }) => position),
        all.filter(({ timeMs }) => timeMs >= time).map(({ position }) => position),
      );
    }
  });

  test('in the future leads to the end, also where all was purged', async (t) => {
    const own = ownStream();
    const log = await openFor(t, { servers, ...own });
    assert.equal(await log.positionAt(own.stream, Date.now() + 3_600_000), '');
    const all = await appendApart(log, [3]);
    const { jsm } = await plainClient(t, servers);
    for (let i = 0; i < 2; i++) {
      assert.equal(await log.positionAt(own.stream, Date.now() + 3_600_000), all.at(-1)!.position);
      await jsm.streams.purge(own.stream);
    }
    assert.equal(await log.positionAt(own.stream, 0), all.at(-1)!.position);
    for (const time of [Number.MAX_SAFE_INTEGER, Infinity])
      assert.equal(await log.positionAt(own.stream, time), all.at(-1)!.position);
    const [kept, removed] = await appendApart(log, [1, 1]);
    await jsm.streams.deleteMessage(own.stream, Number(removed!.position));
    assert.equal(await log.positionAt(own.stream, removed!.timeMs), removed!.position);
    assert.equal(await log.positionAt(own.stream, kept!.timeMs - 0.5), all.at(-1)!.position);
  });
});

describe('the broker’s retention', { skip, timeout: 60_000 }, () => {
  test('takes events by its own clock, and every reader is told', async (t) => {
    const own = ownStream();
    const log = await openFor(t, { servers, ...own, retentionMs: 1_000, tailBytes: 0 });
    const all = await appendApart(log, [2, 2]);
    const { jsm } = await plainClient(t, servers);
    // real time: the broker's own retention is the subject; it looks when it will.
    while ((await jsm.streams.info(own.stream)).state.messages > 0) await passed(50);
    const [fresh] = await appendApart(log, [1]);
    for (const only of [undefined, { environment: 'default', topics: ['orders.*'] }]) {
      const [page] = await readPages(log, only && { only });
      assert.deepEqual(
        [page!.expired?.last.position, page!.records.map(({ position }) => position)],
        [all.at(-1)!.position, [fresh!.position]],
      );
      // Who stood in the middle is told of the rest, who stood at the last of them of nothing.
      assert.equal(
        (await readPages(log, { after: all[1]!.position, ...(only && { only }) }))[0]!.expired?.last.position,
        all.at(-1)!.position,
      );
      assert.equal((await readPages(log, { after: all.at(-1)!.position, ...(only && { only }) }))[0]!.expired, undefined);
    }
    // A cursor whose event is gone is still among those of its time.
    assert.ok((await log.positionAt(own.stream, all[3]!.timeMs + 1)) >= all[3]!.position);
    const { first, last } = await log.bounds(own.stream);
    const mark = { position: fresh!.position, timeMs: fresh!.timeMs };
    assert.deepEqual([first, last], [mark, mark]);
  });
});
