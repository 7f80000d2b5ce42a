/** What takes a while, on real nodes, while the slots of its subscriptions move from one to the other: it goes on there, and ends once. */
import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { after, describe, test, type TestContext } from 'node:test';
import { receiver, type Received, type Receiver } from '../../packages/gateway/test/receivers.ts';
import { findBrokers, sharedKey, startNode, type TestNode } from './nodes.ts';

/** So many that some are in slots that move, and some in slots that stay. */
const SUBSCRIPTIONS = 6;
const EVENTS = 30;
/** Of one subscription, to be redriven: each is several calls to the store. */
const LETTERS = 12;
/** An endpoint that is too slow for all to be done before another node has joined, on a machine that is busy with other tests. */
const UNTIL_JOINED_MS = 750;
const JOINED_MS = 20;
/** A job goes in small steps, each written down. */
const LIMITS = ['jobPage=3', 'jobRetryMs=150'];
const names = Array.from({ length: SUBSCRIPTIONS }, (_, at) => `s${at}`);
const ids = Array.from({ length: EVENTS }, (_, at) => `e${at}`);

interface Pair {
  readonly first: TestNode;
  readonly endpoint: Receiver;
  /** What the endpoint answers from now on, and after how long. */
  behave(status: number, afterMs: number): void;
  /** The other node, which takes a half of the slots. Resolves when it has them. */
  join(): Promise<TestNode>;
}

const { skip, ...found } = await findBrokers();

describe('while slots move', { skip, timeout: 300_000 }, () => {
  after(async () => {
    if ('remove' in found) await found.remove();
  });

  /** On brokers of its own, so that no test has slots or topics of another. */
  async function pair(test: TestContext, spec: object = {}): Promise<Pair> {
    const cleanups: (() => unknown)[] = [];
    const t = { after: (cleanup: unknown) => void cleanups.push(cleanup as () => unknown) };
    test.after(async () => {
      for (const cleanup of cleanups.toReversed()) await cleanup();
    });
    const brokers = await findBrokers();
    assert.ok(brokers.skip === false);
    t.after(() => brokers.remove());
    const present = { status: 204, afterMs: 0 };
    const endpoint = await receiver(t, (response: ServerResponse) => {
      const { status, afterMs } = present;
      // real time: the endpoint is slow, so that what is sent takes longer than the slots' move
      setTimeout(() => response.writeHead(status).end(), afterMs);
    });
    const environment = sharedKey();
    const settings = { environment, limits: LIMITS };
    const first = await startNode(t, brokers, settings);
    for (const name of names) {
      const deliver = { webhook: { url: `${endpoint.url}/${name}` } };
      const made = await first.ask(`PUT /v1/subscriptions/${name}`, { topics: ['orders.created'], deliver, ...spec });
      assert.equal(made.status, 201, JSON.stringify(made.json));
    }
    return {
      first,
      endpoint,
      behave: (status, afterMs) => void Object.assign(present, { status, afterMs }),
      async join() {
        const second = await startNode(t, brokers, { ...settings, key: first.key });
        await second.running.line(({ kind }) => kind === 'slots_taken');
        return second;
      },
    };
  }

  async function publish({ ask }: TestNode, those: readonly string[] = ids): Promise<void> {
    for (const id of those) {
      const event = { type: 'orders.created', id, source: '/test', data: { id }, partitionkey: 'k' };
      assert.equal((await ask('POST /v1/events', event)).status, 202);
    }
  }

  /** Waits until `isSo` of the requests that came, looking at each that comes. */
  async function until({ request, requests }: Receiver, isSo: () => boolean): Promise<void> {
    while (!isSo()) await request(requests.length + 1);
  }

  async function ended(node: TestNode, operation: string): Promise<Record<string, unknown>> {
    for (;;) {
      const { status, json } = await node.ask(`GET /v1/operations/${operation}`);
      assert.equal(status, 200, JSON.stringify(json));
      if (json.state !== 'running') return json;
      // real time: it ends in another process
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
  }

  const idOf = ({ headers }: Received): string => headers['ce-id'] ?? '';
  const of = (requests: readonly Received[], name: string): string[] =>
    requests.filter(({ headers }) => headers['millrace-subscription'] === name).map(idOf);
  const workedBy = ({ running }: TestNode, kind: string): Set<unknown> =>
    new Set(
      running.output.stdout
        .split('\n')
        .filter((line) => line.includes(`"kind":"${kind}"`))
        .map((line) => (JSON.parse(line) as { readonly subscription: unknown }).subscription),
    );

  test('a rewind is done once, and what it brings back comes in order and whole', async (t) => {
    const { first, endpoint, behave, join } = await pair(t, { ordering: 'key' });
    await publish(first);
    await until(endpoint, () => endpoint.requests.length === EVENTS * SUBSCRIPTIONS);
    const before = endpoint.requests.length;
    behave(204, UNTIL_JOINED_MS);
    const joining = join();
    const answers = await Promise.all(
      names.map((name) => first.ask(`POST /v1/subscriptions/${name}/replay`, { from: 'earliest', rewind: true })),
    );
    for (const { status, json } of answers) assert.equal(status, 200, JSON.stringify(json));
    const second = await joining;
    behave(204, JOINED_MS);
    await until(endpoint, () => names.every((name) => of(endpoint.requests.slice(before), name).includes(ids.at(-1) ?? '')));
    for (const name of names) assert.deepEqual(of(endpoint.requests.slice(before), name), ids, name);
    assert.ok(workedBy(second, 'delivered').size > 0);
    assert.ok(workedBy(first, 'delivered').size === SUBSCRIPTIONS);
  });

  test('a replay goes on from where it was, and ends once', async (t) => {
    const { first, endpoint, behave, join } = await pair(t, { concurrency: 1 });
    await publish(first);
    await until(endpoint, () => endpoint.requests.length === EVENTS * SUBSCRIPTIONS);
    const before = endpoint.requests.length;
    behave(204, UNTIL_JOINED_MS);
    const runs = await Promise.all(
      names.map((name) => first.ask(`POST /v1/subscriptions/${name}/replay`, { from: 'earliest', asNew: true })),
    );
    for (const { status, json } of runs) assert.equal(status, 202, JSON.stringify(json));
    const second = await join();
    behave(204, JOINED_MS);
    const ends = await Promise.all(runs.map(({ json }) => ended(first, json.id)));
    for (const { state } of ends) assert.equal(state, 'done');
    for (const name of names) {
      // Where one came twice, whether a node had lost its lease is in what they told.
      const told = (): string => [first, second].map(({ running }) => running.output.stdout).join('\n');
      const its = of(endpoint.requests.slice(before), name).toSorted();
      assert.deepEqual(its, ids.toSorted(), its.length === ids.length ? name : `${name}: ${told()}`);
    }
    assert.ok(workedBy(second, 'delivered').size > 0);
    for (const [at, { json }] of runs.entries()) assert.deepEqual(await ended(second, json.id), ends[at]);
  });

  test('a replay whose node is killed goes on at the other, from what was written down', async (t) => {
    const { first, endpoint, behave, join } = await pair(t, { concurrency: 1 });
    await publish(first);
    await until(endpoint, () => endpoint.requests.length === EVENTS * SUBSCRIPTIONS);
    const second = await join();
    const before = endpoint.requests.length;
    behave(204, 150);
    const runs = await Promise.all(
      names.map((name) => first.ask(`POST /v1/subscriptions/${name}/replay`, { from: 'earliest', asNew: true })),
    );
    // A good part is done, and more than one checkpoint is written.
    await until(endpoint, () => names.every((name) => of(endpoint.requests.slice(before), name).length > EVENTS / 2));
    first.running.child.kill('SIGKILL');
    await first.running.ended;
    const ends = await Promise.all(runs.map(({ json }) => ended(second, json.id)));
    for (const { state } of ends) assert.equal(state, 'done');
    for (const name of names) {
      const its = of(endpoint.requests.slice(before), name);
      assert.deepEqual([...new Set(its)].toSorted(), ids.toSorted(), name);
      // Again comes what was in flight, or answered and not committed yet: with one at a time, a few.
      assert.ok(its.length <= EVENTS + 3, `${name}: ${its.length}`);
    }
  });

  test('a redrive by filter goes on with what is left, and ends once', async (t) => {
    const { first, endpoint, behave, join } = await pair(t, {
      retry: { schedule: [] },
      bounds: { parked: 3 },
      breaker: false,
      concurrency: 1,
    });
    const letters = ids.slice(0, LETTERS);
    behave(500, 0);
    await publish(first, letters);
    await until(endpoint, () => endpoint.requests.length === LETTERS * SUBSCRIPTIONS);
    await Promise.all(names.map((name) => dead(first, name)));
    const before = endpoint.requests.length;
    behave(204, UNTIL_JOINED_MS);
    const jobs = await Promise.all(
      names.map((subscription) => first.ask('POST /v1/dead-letters/redrive', { subscription, cause: 'http_500' })),
    );
    for (const { status, json } of jobs) assert.equal(status, 202, JSON.stringify(json));
    const second = await join();
    behave(204, JOINED_MS);
    const ends = await Promise.all(jobs.map(({ json }) => ended(second, json.id)));
    for (const { state, progress } of ends) {
      assert.equal(state, 'done');
      const { done, total } = progress as { readonly done: number; readonly total: number };
      assert.equal(total, LETTERS);
      // The step that was under way when the slot went is not counted by whoever had begun it.
      assert.ok(done > total - 6 && done <= total, `${done} of ${total}`);
    }
    await until(endpoint, () => endpoint.requests.length - before >= LETTERS * SUBSCRIPTIONS);
    for (const name of names) assert.deepEqual(of(endpoint.requests.slice(before), name).toSorted(), letters.toSorted(), name);
    assert.ok(workedBy(second, 'delivered').size > 0);
  });

  /** Until all its events are dead letters. */
  async function dead(node: TestNode, subscription: string): Promise<void> {
    for (;;) {
      const { json } = await node.ask('POST /v1/dead-letters/redrive', { subscription, dryRun: true });
      if (json.count === LETTERS) return;
      // real time: it is written down in another process
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
});
