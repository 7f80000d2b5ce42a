/** Appends that meet trouble on their way: order is kept, nothing is stored twice, keys mean the same on every node. */
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { setTimeout as passed } from 'node:timers/promises';
import { findBroker } from '../../../scripts/brokers/find.ts';
import { entry, hasCode, openFor, ownStream, plainClient, readAll } from './testing.ts';

const { server, skip } = await findBroker('nats');
const servers = server?.url ?? '';
after(() => server?.remove());

const dedupe = { key: 'k', digest: 'd', windowMs: 60_000 };

describe('appends', { skip, timeout: 60_000 }, () => {
  test('find their subject again when somebody took it out of the stream, and keep their order', async (t) => {
    const own = ownStream();
    const log = await openFor(t, { servers, ...own });
    await log.append([entry('0')]);
    const { jsm } = await plainClient(t, servers);
    const { config } = await jsm.streams.info(own.stream);
    const calls: Promise<unknown>[] = [];
    for (let i = 1; i <= 300; i++) {
      calls.push(log.append([entry(`${i}`)]));
      if (i % 100 === 50) await jsm.streams.update(own.stream, { ...config, subjects: [`${own.subjectPrefix}.other`] });
      if (i % 100 === 0) await Promise.all(calls);
    }
    await Promise.all(calls);
    assert.deepEqual(
      (await readAll(log)).map(({ event }) => event.id),
      Array.from({ length: 301 }, (_, i) => `${i}`),
    );
  });

  test('under one key on two nodes at once append once', async (t) => {
    const own = ownStream();
    const nodes = [await openFor(t, { servers, ...own }), await openFor(t, { servers, ...own })];
    const results = (
      await Promise.all(Array.from({ length: 20 }, (_, i) => nodes[i % 2]!.append([entry(`${i}`, { dedupe })])))
    ).flat();
    const appended = results.filter(({ status }) => status === 'appended');
    assert.equal(appended.length, 1);
    const position = appended[0]!.status === 'appended' && appended[0]!.position;
    assert.ok(results.every((one) => one.status !== 'conflict' && one.position === position));
    const [conflict] = await nodes[1]!.append([entry('x', { dedupe: { ...dedupe, digest: 'other' } })]);
    assert.equal(conflict!.status, 'conflict');
  });

  test('under a key whose window is over append once more, on two nodes at once, too', async (t) => {
    const own = ownStream();
    const nodes = [await openFor(t, { servers, ...own }), await openFor(t, { servers, ...own })];
    const short = { ...dedupe, windowMs: 1_000 };
    await nodes[0]!.append([entry('1', { dedupe: short })]);
    // real time: the broker stamps the first use, and its window is the subject
    await passed(1_010);
    const results = (await Promise.all(nodes.map((log) => log.append([entry('2', { dedupe: short })])))).flat();
    assert.deepEqual(results.map(({ status }) => status).sort(), ['appended', 'duplicate']);
    assert.deepEqual(
      (await readAll(nodes[0]!)).map(({ event }) => event.id),
      ['1', '2'],
    );
  });

  test('under a key whose event was removed are duplicates of what is gone', async (t) => {
    const own = ownStream();
    const log = await openFor(t, { servers, ...own });
    const [first] = await log.append([entry('1', { dedupe })]);
    const { jsm } = await plainClient(t, servers);
    await jsm.streams.purge(own.stream);
    const [again] = await log.append([entry('1', { dedupe })]);
    assert.ok(first?.status === 'appended' && again?.status === 'duplicate');
    assert.deepEqual([again.position, again.id], [first.position, '1']);
  });

  test('of which one is refused reject as a whole, and the next ones go on', async (t) => {
    const own = ownStream();
    const log = await openFor(t, { servers, ...own });
    const tooLarge = entry('large', { data: JSON.stringify('x'.repeat(1_100_000)) });
    await assert.rejects(log.append([entry('1'), tooLarge, entry('2')]), hasCode('payload_too_large'));
    const [next] = await log.append([entry('3')]);
    assert.equal(next!.status, 'appended');
  });

  test('are seen by native subscribers in the order in which they were made', async (t) => {
    const own = ownStream();
    const log = await openFor(t, { servers, ...own });
    const { nc } = await plainClient(t, servers);
    const ids: string[] = [];
    nc.subscribe(`${own.subjectPrefix}.>`, { callback: (_, message) => void ids.push(message.headers!.get('ce-id')) });
    await nc.flush();
    const topics = ['a', 'b', 'c'];
    await Promise.all(Array.from({ length: 500 }, (_, i) => log.append([entry(`${i}`, { topic: topics[i % 3]! })])));
    await nc.flush();
    assert.deepEqual(
      ids,
      Array.from({ length: 500 }, (_, i) => `${i}`),
    );
    assert.deepEqual(
      (await readAll(log)).map(({ event }) => event.id),
      ids,
    );
  });
});
