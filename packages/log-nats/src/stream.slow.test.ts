/** Streams: made, found, adopted, refused, and told of topics. */
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import type { TestContext } from 'node:test';
import type { StreamConfig } from '@nats-io/jetstream';
import { findBroker } from '../../../scripts/brokers/find.ts';
import { isNewEnough } from './connect.ts';
import { openNats } from './log-nats.ts';
import { entry, follow, hasCode, openFor, ownStream, plainClient, readAll } from './testing.ts';

const { server, skip } = await findBroker('nats');
const servers = server?.url ?? '';
after(() => server?.remove());

const DAY_MS = 86_400_000;

async function theirs(context: TestContext, config: Partial<StreamConfig> = {}) {
  const own = ownStream();
  const { jsm } = await plainClient(context, servers);
  await jsm.streams.add({ name: own.stream, subjects: [`${own.subjectPrefix}.orders.>`], ...config });
  return { own, jsm, config: async () => (await jsm.streams.info(own.stream)).config };
}

describe('a stream that Millrace makes', { skip, timeout: 60_000 }, () => {
  test('keeps every event for its time, refuses when it is full, and says whose it is', async (t) => {
    const own = ownStream();
    await openFor(t, { servers, ...own, dedupeWindowMs: 60_000, maxBytes: 10_000_000 });
    const { jsm } = await plainClient(t, servers);
    const { config } = await jsm.streams.info(own.stream);
    const { retention, discard, storage, num_replicas, max_age, duplicate_window, max_bytes, metadata } = config;
    assert.deepEqual(
      { retention, discard, storage, num_replicas, max_age, duplicate_window, max_bytes, own: metadata?.['millrace'] },
      {
        retention: 'limits',
        discard: 'new',
        storage: 'file',
        num_replicas: 1,
        max_age: 7 * DAY_MS * 1e6,
        duplicate_window: 60_000 * 1e6,
        max_bytes: 10_000_000,
        own: '1',
      },
    );
  });

  test('captures declared topics, many at once in few changes, and keeps them as long as the longest is to be kept', async (t) => {
    const own = ownStream();
    const log = await openFor(t, { servers, ...own });
    const { nc, jsm } = await plainClient(t, servers);
    let changes = 0;
    nc.subscribe(`$JS.EVENT.ADVISORY.STREAM.UPDATED.${own.stream}`, { callback: () => void changes++ });
    await nc.flush();
    const topics = Array.from({ length: 200 }, (_, i) => `topic.t${i}`);
    const declare = () =>
      Promise.all(topics.map((topic, i) => log.declareTopic({ environment: 'default', topic, retentionMs: (i + 1) * DAY_MS })));
    await declare();
    const { config } = await jsm.streams.info(own.stream);
    assert.equal(config.max_age, 200 * DAY_MS * 1e6);
    assert.ok(topics.every((topic) => config.subjects.includes(`${own.subjectPrefix}.${topic}`)));
    const before = changes;
    await declare();
    await nc.flush();
    assert.deepEqual([before > 0 && before <= 2, changes], [true, before], `${before} changes, none by saying it again`);
  });

  test('may be told of topics by two nodes at once', async (t) => {
    const own = ownStream();
    const nodes = [await openFor(t, { servers, ...own }), await openFor(t, { servers, ...own })];
    for (let i = 0; i < 10; i++)
      await Promise.all(
        nodes.map((log, node) => log.declareTopic({ environment: 'default', topic: `n${node}.t${i}`, retentionMs: DAY_MS })),
      );
    for (const [node, log] of nodes.entries())
      for (let i = 0; i < 10; i++) await log.append([entry(`${i}`, { topic: `n${1 - node}.t${i}` })]);
    assert.equal((await follow(nodes[0]!, 20)).length, 20);
  });

  test('takes every event on a declared subject while nodes that know nothing of each other declare others', async (t) => {
    const own = ownStream();
    const nodes = await Promise.all([1, 2, 3].map(() => openFor(t, { servers, ...own })));
    const { js, jsm } = await plainClient(t, servers);
    const declared: string[] = [];
    let isOver = false;
    async function publishAll(): Promise<number> {
      let count = 0;
      while (!isOver || count === 0) {
        for (const subject of declared.slice(-30)) {
          // Refused at once where no stream captures it.
          await js.publish(subject, '{}', { retries: 0 });
          count++;
        }
        await new Promise((resolve) => setImmediate(resolve));
      }
      return count;
    }
    const publishing = publishAll();
    const declaring = nodes.map(async (log, node) => {
      for (let at = 0; at < 40; at++) {
        await log.declareTopic({ environment: 'default', topic: `n${node}.t${at}`, retentionMs: DAY_MS });
        declared.push(`${own.subjectPrefix}.n${node}.t${at}`);
      }
    });
    await Promise.all(declaring).finally(() => (isOver = true));
    const published = await publishing;
    const { config, state } = await jsm.streams.info(own.stream);
    assert.equal(state.messages, published);
    assert.ok(declared.every((subject) => config.subjects.includes(subject)));
  });

  test('is told of topics also where a node died while it told it of others', async (t) => {
    const own = ownStream();
    const log = await openFor(t, { servers, ...own });
    const { jsm } = await plainClient(t, servers);
    // As one that was killed leaves it.
    await jsm.consumers.add(own.stream, {
      name: 'millrace-declaring',
      description: 'of one that was killed',
      ack_policy: 'none',
      inactive_threshold: 1_000 * 1e6,
    });
    await log.declareTopic({ environment: 'default', topic: 'orders.created', retentionMs: DAY_MS });
    assert.equal((await log.append([entry('1')]))[0]!.status, 'appended');
    const left = (await jsm.consumers.list(own.stream).next()).map(({ name }) => name);
    assert.ok(!left.includes('millrace-declaring'), String(left));
  });

  test('is found again with what it was told, also by another node', async (t) => {
    const own = ownStream();
    const log = await openFor(t, { servers, ...own });
    await log.declareTopic({ environment: 'default', topic: 'short', retentionMs: 1_000 });
    await log.append([entry('1', { topic: 'short' }), entry('2', { topic: 'long' })]);
    const later = await openFor(t, { servers, ...own, now: () => Date.now() + DAY_MS });
    assert.equal(later.identity, log.identity);
    assert.deepEqual(
      (await readAll(later)).map(({ event }) => event.id),
      ['2'],
    );
  });
});

describe('a stream that was there before', { skip, timeout: 60_000 }, () => {
  test('is read and written, and not changed', async (t) => {
    const { own, config } = await theirs(t, { max_age: DAY_MS * 1e6 });
    const before = await config();
    const log = await openFor(t, { servers, ...own });
    await log.declareTopic({ environment: 'default', topic: 'orders.created', retentionMs: 30 * DAY_MS });
    await log.append([entry('1')]);
    assert.equal((await readAll(log)).length, 1);
    assert.deepEqual(await config(), before);
    assert.equal(log.supports.dedupeWindowMs, 120_000);
  });

  test('refuses topics it does not capture, with what to do', async (t) => {
    const { own, config } = await theirs(t);
    const before = await config();
    const log = await openFor(t, { servers, ...own });
    const users = { environment: 'default', topic: 'users.created', retentionMs: DAY_MS };
    await assert.rejects(log.declareTopic(users), (error: { code?: string; advice?: string }) => {
      assert.deepEqual([error.code, /subjects/.test(error.advice ?? '')], ['log_unsuitable', true]);
      return true;
    });
    await assert.rejects(log.append([entry('1', { topic: 'users.created' })]), hasCode('log_unsuitable'));
    assert.equal((await log.append([entry('1')]))[0]!.status, 'appended');
    assert.deepEqual(await config(), before);
  });

  test('is changed where Millrace is let', async (t) => {
    const { own, config } = await theirs(t, { max_age: DAY_MS * 1e6 });
    const log = await openFor(t, { servers, ...own, manage: true });
    await log.declareTopic({ environment: 'default', topic: 'users.created', retentionMs: 3 * DAY_MS });
    const { subjects, max_age } = await config();
    assert.deepEqual(subjects, [`${own.subjectPrefix}.orders.>`, `${own.subjectPrefix}.users.created`]);
    assert.equal(max_age, 3 * DAY_MS * 1e6);
    await log.append([entry('1', { topic: 'users.created' }), entry('2')]);
    assert.equal((await readAll(log)).length, 2);
  });

  test('that can be no log is refused with the reason', async (t) => {
    const reasons: [Partial<StreamConfig>, RegExp][] = [
      [{ retention: 'workqueue' }, /retention is workqueue/],
      [{ retention: 'interest' }, /retention is interest/],
      [{ no_ack: true }, /no_ack/],
      [{ max_msg_size: 1_000 }, /messages of 1000 bytes/],
      [{ subject_transform: { src: '>', dest: 'x.>' } }, /other subjects/],
    ];
    for (const [config, why] of reasons) {
      const { own } = await theirs(t, config);
      await assert.rejects(openNats({ servers, ...own }), (error: Error) => {
        assert.match(error.message, why);
        return hasCode('log_unsuitable')(error);
      });
    }
  });

  test('does not take subjects that are to be adopted unless it may be changed', async (t) => {
    const { own } = await theirs(t);
    await assert.rejects(openNats({ servers, ...own, adopt: [`${own.subjectPrefix}.sensors.>`] }), hasCode('log_unsuitable'));
  });
});

describe('a server', { skip, timeout: 60_000 }, () => {
  test('that does not answer is log_unavailable', async () => {
    await assert.rejects(openNats({ servers: 'nats://127.0.0.1:1' }), hasCode('log_unavailable'));
  });

  test('older than 2.10 is refused: it takes newer settings and ignores them', () => {
    assert.deepEqual(['2.9.10', '2.10.0', '2.15.2', '3.0.0', '1.4.1', '', 'x'].map(isNewEnough), [
      false,
      true,
      true,
      true,
      false,
      false,
      false,
    ]);
  });
});
