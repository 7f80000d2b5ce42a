/** Nodes as real processes, and what befalls them: frozen past their lease, cut off from one of the two brokers, with clocks that are wrong. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as passed } from 'node:timers/promises';
import { after, describe, test, type TestContext } from 'node:test';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { startProcess, temporary } from '../../packages/gateway/test/process.ts';
import { receiver, type Receiver } from '../../packages/gateway/test/receivers.ts';
import { testProxy } from '../../packages/store-postgres/src/testing.ts';
import { startBroker, type TestServer } from '../../scripts/brokers/find.ts';
import { freePort } from '../../scripts/brokers/servers.ts';
import { type Brokers, findBrokers, sharedKey, startNode, type TestNode } from './nodes.ts';

const SUBSCRIPTIONS = 8;
const LEASE_MS = 2_000;
const KEYS = 3;
const names = Array.from({ length: SUBSCRIPTIONS }, (_, at) => `s${at}`);
const { skip, ...found } = await findBrokers();

interface World {
  readonly nodes: readonly TestNode[];
  readonly endpoint: Receiver;
  /** As the first was started, by whoever watches over it. */
  startAgain(): Promise<TestNode>;
  /** Through any node that answers; resolves when every subscription has them. */
  publish(node: TestNode, ids: readonly string[]): Promise<void>;
  arrived(ids: readonly string[]): Promise<void>;
}

describe('of two nodes', { skip, timeout: 300_000 }, () => {
  after(async () => {
    if ('remove' in found) await found.remove();
  });

  interface Ends {
    after(cleanup: unknown): void;
  }

  function lastFirst(test: TestContext): Ends {
    const cleanups: (() => unknown)[] = [];
    test.after(async () => {
      for (const cleanup of cleanups.toReversed()) await cleanup();
    });
    return { after: (cleanup) => void cleanups.push(cleanup as () => unknown) };
  }

  /** The second one may see the brokers another way, or another time. */
  async function world(
    t: Ends,
    second: (brokers: Brokers) => Promise<Partial<Brokers> & { readonly environment?: NodeJS.ProcessEnv }>,
  ): Promise<World> {
    const brokers = await findBrokers();
    assert.ok(brokers.skip === false);
    t.after(() => brokers.remove());
    const endpoint = await receiver(t);
    const environment = sharedKey();
    const first = await startNode(t, brokers, { environment });
    const { environment: more = {}, ...others } = await second(brokers);
    const settings = { environment: { ...environment, ...more }, key: first.key };
    const other = await startNode(t, { ...brokers, ...others }, settings);
    await other.running.line(({ kind }) => kind === 'slots_taken');
    // By both in turn: what a node makes it works.
    for (const [at, name] of names.entries()) {
      const maker = at % 2 === 0 ? first : other;
      const deliver = { webhook: { url: endpoint.url } };
      const spec = { topics: ['orders.created'], deliver, ordering: 'key', retry: { schedule: ['1s', '2s', '5s'] } };
      const made = await maker.ask(`PUT /v1/subscriptions/${name}`, spec);
      assert.equal(made.status, 201, JSON.stringify(made.json));
    }
    return {
      nodes: [first, other],
      endpoint,
      startAgain: () => startNode(t, brokers, { environment, key: first.key }),
      async publish({ ask }, ids) {
        for (const [at, id] of ids.entries()) {
          const event = { type: 'orders.created', id, source: '/test', data: { id }, partitionkey: `k${at % KEYS}` };
          assert.equal((await ask('POST /v1/events', event)).status, 202);
        }
      },
      async arrived(ids) {
        const whole = (): boolean => names.every((name) => ids.every((id) => of(endpoint, name).includes(id)));
        while (!whole()) await endpoint.request(endpoint.requests.length + 1);
      },
    };
  }

  const of = ({ requests }: Receiver, name: string): string[] =>
    requests.flatMap(({ headers }) => (headers['millrace-subscription'] === name ? [headers['ce-id'] ?? ''] : []));

  const idsOf = (name: string, count: number): string[] => Array.from({ length: count }, (_, at) => `${name}-${at}`);

  /** Each event of a key comes first after all before it; how often each came. */
  function inOrder(endpoint: Receiver, ids: readonly string[]): void {
    for (const name of names) {
      const firsts = [...new Set(of(endpoint, name).filter((id) => ids.includes(id)))];
      for (let key = 0; key < KEYS; key++) {
        const its = ids.filter((_, at) => at % KEYS === key);
        assert.deepEqual(
          firsts.filter((id) => its.includes(id)),
          its,
          `${name}, key ${key}`,
        );
      }
    }
  }

  const ended = ({ running: { output } }: TestNode, kind: string): number => output.stdout.split(`"kind":"${kind}"`).length - 1;

  test('one that is frozen past its lease loses its slots, sends for none of them when it goes on, and takes its part again', async (test) => {
    const t = lastFirst(test);
    const { nodes, endpoint, publish, arrived } = await world(t, async () => ({}));
    const [first, second] = nodes as [TestNode, TestNode];
    const before = idsOf('before', 12);
    await publish(first, before);
    await arrived(before);
    second.running.child.kill('SIGSTOP');
    const during = idsOf('during', 12);
    await publish(first, during);
    await arrived(during);
    const came = endpoint.requests.length;
    second.running.child.kill('SIGCONT');
    await second.running.line(({ kind }) => kind === 'lease_over' || kind === 'slots_lost');
    const afterwards = idsOf('afterwards', 12);
    await publish(first, afterwards);
    await arrived(afterwards);
    // Nothing of what the other delivered meanwhile.
    assert.deepEqual(
      endpoint.requests.slice(came).filter(({ headers }) => during.includes(headers['ce-id'] ?? '')),
      [],
    );
    // What the frozen one had heard and not written down came again. Nothing else, unless the machine is so busy that the other's lease ended, too.
    if (ended(first, 'lease_over') === 0)
      for (const name of names) assert.equal(of(endpoint, name).filter((id) => !before.includes(id)).length, 24, name);
    for (const ids of [before, during, afterwards]) inOrder(endpoint, ids);
    while (ended(second, 'slots_taken') < 2) await passed(100); // real time: leases run out by the store's clock
    const again = idsOf('again', 6);
    await publish(second, again);
    await arrived(again);
  });

  for (const [how, way] of [
    ['Postgres', 'store'],
    ['NATS', 'log'],
  ] as const)
    test(`one that has no network to ${how} keeps no subscription waiting for longer than it has none`, async (test) => {
      const t = lastFirst(test);
      let proxy: Awaited<ReturnType<typeof testProxy>> | undefined;
      const { nodes, endpoint, publish, arrived } = await world(t, async (brokers) => {
        proxy = await testProxy(t as unknown as TestContext, brokers[way]);
        return { [way]: proxy.url };
      });
      const [first] = nodes as [TestNode, TestNode];
      const before = idsOf('before', 12);
      await publish(first, before);
      await arrived(before);
      proxy?.cut();
      const during = idsOf('during', 12);
      await publish(first, during);
      // Without Postgres the other takes over; without NATS its part waits, as its lease runs.
      if (way === 'store') await arrived(during);
      else await passed(2 * LEASE_MS); // real time: what is waited for is that nothing comes
      proxy?.restore();
      await arrived(during);
      const afterwards = idsOf('afterwards', 12);
      await publish(first, afterwards);
      await arrived(afterwards);
      for (const ids of [before, during, afterwards]) inOrder(endpoint, ids);
    });

  test('one whose clock is minutes ahead, or behind, has its part of the slots and works it like the other', async (test) => {
    for (const offsetMs of [240_000, -240_000]) {
      const t = lastFirst(test);
      const { nodes, endpoint, publish, arrived } = await world(t, async () => {
        const file = join(temporary(t), 'clock');
        writeFileSync(file, String(offsetMs));
        const clock = new URL('../chaos/clock.ts', import.meta.url).href;
        return { environment: { NODE_OPTIONS: `--import=${clock}`, CHAOS_CLOCK: file } };
      });
      const [first, second] = nodes as [TestNode, TestNode];
      const ids = idsOf(`at${offsetMs}`, 12);
      await publish(second, ids);
      await arrived(ids);
      inOrder(endpoint, ids);
      for (const node of nodes) assert.ok(ended(node, 'delivered') > 0);
      second.running.child.kill('SIGKILL');
      await second.running.ended;
      const more = idsOf(`more${offsetMs}`, 12);
      await publish(first, more);
      await arrived(more);
      inOrder(endpoint, more);
    }
  });

  test('both end when their stream is deleted, and started again they go on in a new one, with the loss written down', async (test) => {
    const t = lastFirst(test);
    let brokers: Brokers | undefined;
    const { nodes, publish, arrived, startAgain } = await world(t, async (those) => {
      brokers = those;
      return {};
    });
    const [first] = nodes as [TestNode, TestNode];
    const before = idsOf('before', 12);
    await publish(first, before);
    await arrived(before);
    const nc = await connect({ servers: brokers?.log ?? '' });
    const jsm = await jetstreamManager(nc);
    for await (const { config } of jsm.streams.list()) await jsm.streams.delete(config.name);
    await nc.close();
    for (const { running } of nodes) {
      assert.notEqual(await running.ended, 0);
      assert.match(running.output.stdout + running.output.stderr, /is gone/);
    }
    const again = await startAgain();
    const afterwards = idsOf('afterwards', 12);
    await publish(again, afterwards);
    await arrived(afterwards);
    for (const name of names) {
      const { json } = await again.ask(`GET /v1/dead-letters?subscription=${name}`);
      assert.ok(
        (json.data as { cause: string }[]).some(({ cause }) => cause === 'log_changed'),
        JSON.stringify(json),
      );
    }
  });
});

describe('a node', { skip, timeout: 120_000 }, () => {
  test('that finds no NATS when it starts says so and ends, and starts once there is one', async (test) => {
    const ends = { after: (cleanup: unknown) => test.after(cleanup as () => unknown) };
    const postgres: TestServer = await startBroker('postgres');
    test.after(() => postgres.remove());
    const port = await freePort();
    const brokers = { log: `nats://127.0.0.1:${port}`, store: postgres.url };
    const environment = sharedKey();
    const args = ['start', '--json', '--port', String(await freePort()), '--data', temporary(ends)];
    const alone = startProcess(ends, [...args, '--log', brokers.log, '--store', brokers.store], environment);
    assert.notEqual(await alone.ended, 0);
    assert.match(alone.output.stdout + alone.output.stderr, /NATS|log_unavailable/);
    const nats = await startBroker('nats', { port });
    test.after(() => nats.remove());
    const node = await startNode(ends, brokers, { environment });
    assert.equal((await node.ask('GET /readyz')).status, 200);
  });
});
