/** Workers over brokers: with Postgres every worker of every process is a node of one cluster; with the embedded store those of one. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { temporary } from '../../packages/gateway/test/process.ts';
import { receiver, type Receiver } from '../../packages/gateway/test/receivers.ts';
import { freePort } from '../../scripts/brokers/servers.ts';
import { findBrokers, sharedKey } from './nodes.ts';
import { startWorkersProcess, type WorkersProcess } from './workers.ts';

const brokers = await findBrokers();
const SUBSCRIPTIONS = 16;

describe('workers over brokers', { skip: brokers.skip, timeout: 180_000 }, () => {
  const cleanups: (() => unknown)[] = [];
  const suite = { after: (cleanup: unknown) => void cleanups.push(cleanup as () => unknown) };
  let endpoint: Receiver;

  before(async () => {
    endpoint = await receiver(suite);
  });
  after(async () => {
    for (const cleanup of cleanups.toReversed()) await cleanup();
    if (brokers.skip === false) await brokers.remove();
  });

  async function works(processes: readonly WorkersProcess[], topic: string): Promise<void> {
    for (let at = 0; at < SUBSCRIPTIONS; at++) {
      const spec = { topics: [topic], deliver: { webhook: { url: `${endpoint.url}/${topic}` } } };
      const created = await processes[at % processes.length]!.ask(`PUT /v1/subscriptions/${topic}-${at}`, spec);
      assert.equal(created.status, 201, created.text);
    }
    for (const { ask } of processes) {
      assert.equal((await ask('POST /v1/events', { type: topic, data: 1 })).status, 202);
      for (let at = 0; at < SUBSCRIPTIONS; at++) {
        const { status, json } = await ask(`GET /v1/subscriptions/${topic}-${at}`);
        assert.deepEqual([status, json.health?.breaker], [200, 'closed']);
      }
    }
    const count = (): number => endpoint.requests.filter(({ path }) => path === `/${topic}`).length;
    while (count() < SUBSCRIPTIONS * processes.length) await endpoint.request(endpoint.requests.length + 1);
  }

  test('of the embedded store and a NATS: one process is the cluster', async (t) => {
    if (brokers.skip !== false) return;
    const gateway = await startWorkersProcess(t, { data: temporary(t), workers: 2, more: ['--log', brokers.log] });
    await gateway.balanced();
    await works([gateway], 'mixed.created');
    gateway.running.child.kill('SIGTERM');
    assert.equal(await gateway.running.ended, 0, gateway.running.output.stderr);
  });

  test('of a Postgres and a NATS: two processes of two each are a cluster of four, and one of them can be killed', async (t) => {
    if (brokers.skip !== false) return;
    const more = ['--log', brokers.log, '--store', brokers.store];
    const environment = sharedKey();
    const data = temporary(t);
    const start = async (): Promise<WorkersProcess> =>
      startWorkersProcess(t, { data, workers: 2, port: await freePort(), more, environment });
    const processes = [await start(), await start()];
    await works(processes, 'shared.created');
    processes[1]!.running.child.kill('SIGKILL');
    await processes[1]!.running.ended;
    await works([processes[0]!], 'after.created');
  });
});
