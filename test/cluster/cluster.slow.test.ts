/** Three nodes on a real NATS and a real Postgres: any of them takes any request, and what one leaves behind the others go on with. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { receiver, type Receiver } from '../../packages/gateway/test/receivers.ts';
import { findBrokers, sharedKey, startNode, type TestNode } from './nodes.ts';

const brokers = await findBrokers();

describe('three nodes', { skip: brokers.skip, timeout: 120_000 }, () => {
  const cleanups: (() => unknown)[] = [];
  const suite = { after: (cleanup: unknown) => void cleanups.push(cleanup as () => unknown) };
  let nodes: readonly TestNode[];
  let endpoint: Receiver;

  before(async () => {
    if (brokers.skip !== false) return;
    const environment = sharedKey();
    const first = await startNode(suite, brokers, { environment });
    const others = [1, 2].map(() => startNode(suite, brokers, { environment, key: first.key }));
    nodes = [first, ...(await Promise.all(others))];
    endpoint = await receiver(suite);
  });
  after(async () => {
    for (const cleanup of cleanups.toReversed()) await cleanup();
    if (brokers.skip === false) await brokers.remove();
  });

  const node = (at: number): TestNode => nodes[at] as TestNode;

  async function publish({ ask }: TestNode, id: string): Promise<void> {
    const answer = await ask('POST /v1/events', { type: 'orders.created', id, source: '/test', data: { id } });
    assert.equal(answer.status, 202, JSON.stringify(answer.json));
  }

  /** Until every subscription has it once at least. */
  async function arrived(id: string, count: number): Promise<void> {
    for (let at = 1; ; at++) {
      await endpoint.request(at);
      const of = endpoint.requests.filter(({ headers }) => headers['ce-id'] === id);
      if (new Set(of.map(({ headers }) => headers['millrace-subscription'])).size === count) return;
    }
  }

  test('share the slots, and deliver what comes in through any of them', async () => {
    for (let at = 0; at < 9; at++) {
      const spec = { topics: ['orders.*'], deliver: { webhook: { url: endpoint.url } } };
      const created = await node(at % 3).ask(`PUT /v1/subscriptions/s${at}`, spec);
      assert.equal(created.status, 201, JSON.stringify(created.json));
    }
    for (const at of [0, 1, 2]) await publish(node(at), `e${at}`);
    for (const id of ['e0', 'e1', 'e2']) await arrived(id, 9);
  });

  test('tell what their log and their store say of themselves', async () => {
    const { status, json } = await node(1).ask('GET /v1/health/checks');
    const codes = json.data.map(
      ({ name, findings }: { readonly name: string; readonly findings: readonly { code: string }[] }) => [
        name,
        findings.map(({ code }) => code),
      ],
    );
    assert.deepEqual(
      [status, codes],
      [
        200,
        [
          ['log', ['log_sync_unknown']],
          ['store', []],
        ],
      ],
    );
  });

  test('answer for every subscription, whichever is asked', async () => {
    for (const one of nodes) {
      for (let at = 0; at < 9; at++) {
        const { status, json } = await one.ask(`GET /v1/subscriptions/s${at}`);
        assert.deepEqual([status, json.health?.breaker], [200, 'closed'], JSON.stringify(json));
      }
    }
  });

  test('know of a pause at once, whoever was asked for it', async () => {
    assert.equal((await node(2).ask('POST /v1/subscriptions/s0/pause')).status, 200);
    assert.equal((await node(0).ask('GET /v1/subscriptions/s0')).json.state, 'paused');
    assert.equal((await node(1).ask('POST /v1/subscriptions/s0/resume')).status, 200);
  });

  test('go on with what a killed one worked, and with what was in flight there', async () => {
    node(2).running.child.kill('SIGKILL');
    await node(2).running.ended;
    await publish(node(0), 'after-kill');
    await arrived('after-kill', 9);
  });

  test('take the slots of one that stops without a word lost or repeated', async () => {
    const before = endpoint.requests.length;
    node(1).running.child.kill('SIGTERM');
    assert.equal(await node(1).running.ended, 0);
    await publish(node(0), 'after-stop');
    await arrived('after-stop', 9);
    assert.equal(endpoint.requests.length, before + 9);
  });
});
