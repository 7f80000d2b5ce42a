/** Three servers, three replicas: the one that leads is killed, and nothing that was answered is lost or out of its order. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { TestContext } from 'node:test';
import { setTimeout as passed } from 'node:timers/promises';
import type { Appended } from '@millrace/gateway/ports/log';
import type { StartedBroker } from '../../../scripts/brokers/broker.ts';
import { findBroker } from '../../../scripts/brokers/find.ts';
import { startNats } from '../../../scripts/brokers/nats.ts';
import { cacheDirectory } from '../../../scripts/brokers/running.ts';
import { freePort } from '../../../scripts/brokers/servers.ts';
import { takeTurn } from './declaring.ts';
import { openNats } from './log-nats.ts';
import { entry, ownStream, plainClient, readAll } from './testing.ts';

const { server, skip } = await findBroker('nats');
await server?.remove();

async function startCluster(context: TestContext) {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-nats-cluster-'));
  const names = ['n0', 'n1', 'n2'];
  const ports = [await freePort(), await freePort(), await freePort()];
  const routes = [await freePort(), await freePort(), await freePort()].map((port) => `nats://127.0.0.1:${port}`);
  const servers: StartedBroker[] = [];
  context.after(async () => {
    await Promise.all(servers.map((each) => each.stop()));
    rmSync(directory, { recursive: true, force: true });
  });
  const start = (at: number) =>
    startNats({ cache: cacheDirectory(), directory: join(directory, names[at]!), port: ports[at]! }, [
      `--server_name=${names[at]!}`,
      '--cluster_name=three',
      `--cluster=${routes[at]!}`,
      `--routes=${routes.join(',')}`,
    ]);
  servers.push(...(await Promise.all(names.map((_, at) => start(at)))));
  return {
    urls: servers.map(({ url }) => url),
    async kill(name: string) {
      const { pid, stop } = servers[names.indexOf(name)]!;
      process.kill(pid, 'SIGKILL');
      await stop();
    },
    async start(name: string) {
      servers[names.indexOf(name)] = await start(names.indexOf(name));
    },
  };
}

/** real time: a cluster elects its leaders when it will, and until then the log is unavailable. */
async function onceElected<Result>(ask: () => Promise<Result>): Promise<Result> {
  for (;;) {
    try {
      return await ask();
    } catch {
      await passed(100);
    }
  }
}

describe('a cluster', { skip, timeout: 120_000 }, () => {
  test('whose leader is killed keeps every answered event once, and the order of calls', async (t) => {
    const cluster = await startCluster(t);
    const log = await onceElected(() => openNats({ servers: cluster.urls, replicas: 3 }));
    t.after(() => log.close());
    const { jsm } = await plainClient(t, cluster.urls);
    const calls: Promise<readonly Appended[] | undefined>[] = [];
    const append = (count: number) => {
      for (let i = 0; i < count; i++) calls.push(log.append([entry(`${calls.length}`)]).catch(() => undefined));
      return calls.at(-1)!;
    };
    await append(200);
    const { cluster: state } = await jsm.streams.info('MILLRACE');
    void append(200);
    await cluster.kill(state!.leader!);
    void append(200);
    // Whether some were refused meanwhile is the election's affair; afterwards appends are answered again.
    while ((await append(1)) === undefined) await passed(50);
    await cluster.start(state!.leader!);
    const results = await Promise.all(calls);
    const positions = results.flatMap((result) => (result?.[0]?.status === 'appended' ? [result[0].position] : []));
    assert.ok(positions.length > 200);
    assert.deepEqual(positions, positions.toSorted());
    const records = await onceElected(() => readAll(log));
    const places = new Map(records.map(({ event, position }) => [event.id, position]));
    for (const [i, result] of results.entries())
      if (result?.[0]?.status === 'appended') assert.equal(places.get(`${i}`), result[0].position);
    assert.equal(records.length, places.size, 'nothing stands twice');
  });

  test('lets one node at a time change the stream, whichever of its servers the nodes ask', async (t) => {
    const cluster = await startCluster(t);
    const clients = await Promise.all(cluster.urls.map((url) => onceElected(() => plainClient(t, url))));
    await onceElected(() => clients[0]!.jsm.streams.add({ name: 'LOG', subjects: ['log.>'], num_replicas: 3 }));
    let inside = 0;
    let turns = 0;
    await Promise.all(
      clients.map(async ({ jsm }) => {
        for (let at = 0; at < 10; at++) {
          const turn = await takeTurn(jsm, 'LOG');
          assert.equal(++inside, 1);
          assert.ok(turn.holds);
          await jsm.streams.info('LOG');
          inside--;
          turns++;
          await turn.end();
        }
      }),
    );
    assert.equal(turns, 30);
  });

  test('tells that a stream of one replica is on one of its servers alone, and of one with three nothing', async (t) => {
    const cluster = await startCluster(t);
    const found = async (replicas: number) => {
      const log = await onceElected(() => openNats({ servers: cluster.urls, ...ownStream(), replicas }));
      t.after(() => log.close());
      const findings = await log.findings?.({ topics: [], patterns: [], dedupeWindowMs: 1 });
      return findings?.map(({ code }) => code);
    };
    assert.deepEqual(await found(1), ['log_sync_unknown', 'log_one_replica']);
    assert.deepEqual(await found(3), []);
  });
});
