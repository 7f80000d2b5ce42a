/** The broker goes away, comes back, or comes back as another: nothing that was answered is lost, nothing hangs. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { TestContext } from 'node:test';
import { setTimeout as passed } from 'node:timers/promises';
import type { Problem } from '@millrace/core/problem';
import type { Appended, Log } from '@millrace/gateway/ports/log';
import { findBroker, startBroker } from '../../../scripts/brokers/find.ts';
import type { TestServer } from '../../../scripts/brokers/find.ts';
import type { NatsOptions } from './log-nats.ts';
import { entry, hasCode, openFor, ownStream, plainClient, readAll } from './testing.ts';

const { server: first, skip } = await findBroker('nats');
await first?.remove();

/** A server that can be killed and started again on its port and data. */
async function restartable(context: TestContext) {
  let server: TestServer = await startBroker('nats');
  context.after(() => server.remove());
  const { url, port, directory } = server;
  return {
    url,
    async kill() {
      process.kill(server.pid, 'SIGKILL');
      await server.stop();
    },
    async start() {
      server = await startBroker('nats', { port, directory });
    },
  };
}

async function openWatched(context: TestContext, options: NatsOptions) {
  const { promise: lost, resolve } = Promise.withResolvers<Problem>();
  return { log: await openFor(context, { ...options, onLost: resolve }), lost };
}

/** Appends until it is told to stop; a call that was rejected is made again with its key, as a publisher does. */
function publishing(log: Log, name: string) {
  const answered: { readonly key: string; readonly result: Appended }[] = [];
  const rejected: unknown[] = [];
  let stopped = false;
  const done = (async () => {
    for (let i = 0; !stopped; i++) {
      const key = `${name}-${i}`;
      for (let isIn = false; !isIn;) {
        try {
          const [result] = await log.append([entry(key, { dedupe: { key, digest: 'd', windowMs: 60_000 } })]);
          answered.push({ key, result: result! });
          isIn = true;
        } catch (error) {
          rejected.push(error);
          await aLittle();
        }
      }
    }
  })();
  return {
    answered,
    rejected,
    async stop() {
      stopped = true;
      await done;
    },
  };
}

/** real time: another process is on its way up, and nothing of it can wake us. */
const aLittle = () => passed(50);

/** Resolves once `log` answers again. */
async function back(log: Log): Promise<void> {
  for (;;) {
    try {
      await log.bounds(log.shards()[0]!);
      return;
    } catch {
      await aLittle();
    }
  }
}

describe('a broker that is killed and comes back', { skip, timeout: 120_000 }, () => {
  test('has every answered event once, in order, whoever was in the middle of an append', async (t) => {
    const server = await restartable(t);
    const { log } = await openWatched(t, { servers: server.url, ...ownStream() });
    await log.append([entry('first')]);
    const publishers = Array.from({ length: 20 }, (_, i) => publishing(log, `p${i}`));
    for (let round = 0; round < 3; round++) {
      const before = publishers[0]!.answered.length;
      while (publishers[0]!.answered.length < before + 20) await new Promise(setImmediate);
      await server.kill();
      await server.start();
      await back(log);
    }
    await Promise.all(publishers.map((one) => one.stop()));
    const records = await readAll(log);
    const places = new Map(records.map(({ position, event }) => [event.id, position]));
    assert.equal(places.size, records.length, 'nothing stands twice');
    for (const { answered } of publishers) {
      const positions = answered.map(({ key, result }) => {
        assert.ok(result.status !== 'conflict');
        assert.equal(places.get(key), result.position);
        return result.position;
      });
      assert.deepEqual(positions, positions.toSorted());
    }
  });

  test('for longer than anybody waits: calls reject as log_unavailable, all of them, and work again later', async (t) => {
    const server = await restartable(t);
    const own = ownStream();
    const { log } = await openWatched(t, { servers: server.url, ...own, tailBytes: 0 });
    await log.append(Array.from({ length: 100 }, (_, i) => entry(`${i}`)));
    let heard = Promise.withResolvers<void>();
    log.onAppend(own.stream, () => heard.resolve());
    await server.kill();
    const calls = () => [
      log.append([entry('x')]),
      log.read({ shard: own.stream, after: '', limit: 1, maxBytes: 1_000 }),
      log.fetch(own.stream, '0000000000000001'),
      log.bounds(own.stream),
      log.positionAt(own.stream, 0),
      log.trim(),
      log.declareTopic({ environment: 'default', topic: 'new', retentionMs: 1 }),
    ];
    const allReject = () => Promise.all(calls().map((call) => assert.rejects(call, hasCode('log_unavailable'))));
    await allReject();
    // Who waits at the end is woken, so that it reads, and is told.
    heard = Promise.withResolvers<void>();
    await allReject();
    await server.start();
    await heard.promise;
    await back(log);
    assert.equal((await log.append([entry('later')]))[0]!.status, 'appended');
    assert.equal((await readAll(log)).at(-1)!.event.id, 'later');
  });

  test('goes on with a read that was in the middle of its pages', async (t) => {
    const server = await restartable(t);
    const own = ownStream();
    const { log } = await openWatched(t, { servers: server.url, ...own, tailBytes: 0 });
    await log.append(Array.from({ length: 3_000 }, (_, i) => entry(`${i}`)));
    const page = await log.read({ shard: own.stream, after: '', limit: 100, maxBytes: 1_000_000 });
    await server.kill();
    await server.start();
    await back(log);
    const rest = await readAll(log, { after: page.through, limit: 100 });
    assert.deepEqual(
      [...page.records, ...rest].map(({ event }) => event.id),
      Array.from({ length: 3_000 }, (_, i) => `${i}`),
    );
  });

  test('is heard by who waits at the end, also what others appended meanwhile', async (t) => {
    const server = await restartable(t);
    const own = ownStream();
    const { log } = await openWatched(t, { servers: server.url, ...own });
    await log.append([entry('1')]);
    await server.kill();
    await server.start();
    const { js } = await plainClient(t, server.url);
    await js.publish(`${own.subjectPrefix}.orders.created`, '"native"');
    const seen = Promise.withResolvers<void>();
    const look = async () => (await readAll(log).catch(() => [])).length === 2 && seen.resolve();
    log.onAppend(own.stream, () => void look());
    await look();
    await seen.promise;
  });

  test('keeps no close waiting', async (t) => {
    const server = await restartable(t);
    const { log } = await openWatched(t, { servers: server.url, ...ownStream() });
    await log.append([entry('1')]);
    await server.kill();
    const appending = assert.rejects(log.append([entry('2')]), hasCode('log_unavailable'));
    await log.close();
    await appending;
  });
});

describe('a log that is another one', { skip, timeout: 120_000 }, () => {
  const isLost = async (log: Log, lost: Promise<Problem>, why: RegExp) => {
    const problem = await lost;
    assert.equal(problem.code, 'log_unavailable');
    assert.match(problem.message, why);
    await assert.rejects(log.append([entry('x')]), problem);
    await assert.rejects(log.read({ shard: log.shards()[0]!, after: '', limit: 1, maxBytes: 1 }), problem);
  };

  test('as its stream was removed: every call says so, and the process is told', async (t) => {
    const server = await restartable(t);
    const own = ownStream();
    const { log, lost } = await openWatched(t, { servers: server.url, ...own });
    await log.append([entry('1')]);
    const { jsm } = await plainClient(t, server.url);
    await jsm.streams.delete(own.stream);
    await isLost(log, lost, /is gone/);
  });

  test('as its stream was made anew while we were connected: positions begin again, so it has another name', async (t) => {
    const server = await restartable(t);
    const own = ownStream();
    const { log, lost } = await openWatched(t, { servers: server.url, ...own });
    await log.append([entry('1'), entry('2')]);
    const { jsm } = await plainClient(t, server.url);
    const { config } = await jsm.streams.info(own.stream);
    await jsm.streams.delete(own.stream);
    await jsm.streams.add(config);
    await isLost(log, lost, /is gone|made anew/);
    const { log: next } = await openWatched(t, { servers: server.url, ...own });
    assert.notEqual(next.identity, log.identity);
    const [again] = await next.append([entry('3')]);
    assert.equal(again!.status === 'appended' && again!.position, '0000000000000001');
  });

  test('as its stream was made anew while we were away', async (t) => {
    const server = await restartable(t);
    const own = ownStream();
    const { log, lost } = await openWatched(t, { servers: server.url, ...own, storage: 'memory' });
    assert.equal(log.supports.durable, false);
    await log.append([entry('1'), entry('2')]);
    await server.kill();
    await server.start();
    const { jsm } = await plainClient(t, server.url);
    // Whoever is first: the stream of a broker that forgets is gone, or there again and empty.
    await jsm.streams.add({ name: own.stream, subjects: [`${own.subjectPrefix}.orders.created`], storage: 'memory' });
    await isLost(log, lost, /is gone|made anew/);
  });

  test('keeps no append waiting that was under way', async (t) => {
    const server = await restartable(t);
    const own = ownStream();
    const { log, lost } = await openWatched(t, { servers: server.url, ...own });
    await log.append([entry('1')]);
    const { jsm } = await plainClient(t, server.url);
    const appends = Array.from({ length: 50 }, (_, i) => log.append(Array.from({ length: 20 }, (__, j) => entry(`${i}-${j}`))));
    const outcomes = Promise.allSettled(appends);
    await jsm.streams.delete(own.stream);
    await lost;
    for (const outcome of await outcomes)
      assert.ok(outcome.status === 'fulfilled' || hasCode('log_unavailable')(outcome.reason), JSON.stringify(outcome));
  });
});
