/** Three workers of one process over the embedded store: any of them takes any request, and what one leaves behind the others go on with. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { ready, startProcess, temporary } from '../../packages/gateway/test/process.ts';
import { receiver, type Receiver } from '../../packages/gateway/test/receivers.ts';
import { startWorkersProcess, type WorkersProcess } from './workers.ts';

const SUBSCRIPTIONS = 30;
const ids = (prefix: string, count: number): string[] => Array.from({ length: count }, (_, n) => `${prefix}${n}`);

/** Of each event how often it came to each subscription. */
function countsIn({ requests }: Receiver): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { headers } of requests) {
    const name = `${headers['millrace-subscription']} ${headers['ce-id']}`;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return counts;
}

async function arrived(endpoint: Receiver, events: readonly string[], subscriptions: readonly string[]): Promise<void> {
  for (;;) {
    const counts = countsIn(endpoint);
    const next = endpoint.request(endpoint.requests.length + 1);
    if (events.every((event) => subscriptions.every((one) => counts.has(`${one} ${event}`)))) return;
    await next;
  }
}

async function publish({ ask }: WorkersProcess, id: string, more: object = {}): Promise<void> {
  const answer = await ask('POST /v1/events', { type: 'orders.created', id, source: '/test', data: { id }, ...more });
  assert.equal(answer.status, 202, answer.text);
}

describe('three workers', { timeout: 180_000 }, () => {
  const cleanups: (() => unknown)[] = [];
  const suite = { after: (cleanup: unknown) => void cleanups.push(cleanup as () => unknown) };
  const subscriptions = ids('s', SUBSCRIPTIONS);
  let data: string;
  let endpoint: Receiver;
  let gateway: WorkersProcess;

  before(async () => {
    endpoint = await receiver(suite);
    data = temporary(suite);
    gateway = await startWorkersProcess(suite, { data, workers: 3 });
    await gateway.balanced();
  });
  after(async () => {
    for (const cleanup of cleanups.toReversed()) await cleanup();
  });

  test('take requests all three, and what one of them appends is delivered by whoever has the subscription, once', async () => {
    for (const id of subscriptions) {
      const spec = { topics: ['orders.*'], ordering: 'key', deliver: { webhook: { url: endpoint.url } } };
      const created = await gateway.ask(`PUT /v1/subscriptions/${id}`, spec);
      assert.equal(created.status, 201, created.text);
    }
    const events = ids('e', 12);
    await Promise.all(events.map((id) => publish(gateway, id)));
    await arrived(endpoint, events, subscriptions);
    for (const [name, count] of countsIn(endpoint)) assert.equal(count, 1, name);
    // A subscription is worked by the worker that made it: it has the slot that its maker chose.
    await gateway.running.line(() => new Set(gateway.lines('delivered').map((line) => line['worker'])).size === 3);
  });

  test('keep the order of a key, whichever of them takes its events', async () => {
    const events = ids('ordered', 20);
    for (const id of events) await publish(gateway, id, { key: 'customer-1' });
    await arrived(endpoint, events, subscriptions);
    for (const one of subscriptions) {
      const its = endpoint.requests.filter(({ headers }) => headers['millrace-subscription'] === one);
      const order = its.flatMap(({ headers: { 'ce-id': id = '' } }) => (id.startsWith('ordered') ? [id] : []));
      assert.deepEqual(order, events, one);
    }
  });

  test('answer for every subscription, whichever is asked', async () => {
    for (const id of [...subscriptions, ...subscriptions]) {
      const { status, json } = await gateway.ask(`GET /v1/subscriptions/${id}`);
      assert.deepEqual([status, json.health?.breaker], [200, 'closed'], id);
    }
  });

  test('know at once what another one was told: a key that was just made opens, one that was deleted does not', async () => {
    for (let n = 0; n < 10; n++) {
      const made = await gateway.askOnce('POST /v1/apps/default/keys', { scopes: ['publish'] });
      assert.equal(made.status, 201, made.text);
      const authorization = `Bearer ${made.json.key}`;
      const event = { type: 'others.created', data: n };
      assert.equal((await gateway.askOnce('POST /v1/events', event, { authorization })).status, 202);
      assert.equal((await gateway.askOnce(`DELETE /v1/apps/default/keys/${made.json.id}`)).status, 204);
      assert.equal((await gateway.askOnce('POST /v1/events', event, { authorization })).status, 401);
    }
  });

  test('show an event as soon as it was answered, whichever of them took it', async () => {
    for (let n = 0; n < 10; n++) {
      const published = await gateway.askOnce('POST /v1/events', { type: 'others.created', data: n });
      const { json } = await gateway.askOnce('GET /v1/events?topics=others.*&from=earliest&limit=100');
      assert.equal(json.data.at(-1)?.event.id, published.json.id);
    }
  });

  test('append an event once that is published to all of them at the same time under one key', async () => {
    const event = { type: 'others.created', data: 1 };
    const answers = await Promise.all(
      ids('again', 12).map(() => gateway.ask('POST /v1/events', event, { 'idempotency-key': 'order-1' })),
    );
    assert.deepEqual([...new Set(answers.map(({ status }) => status))], [202]);
    assert.equal(new Set(answers.map(({ json }) => json.id)).size, 1);
    assert.equal(answers.filter(({ json }) => json.status === 'appended').length, 1);
  });

  test('do a call that configures once that is sent to all of them at the same time under one key', async () => {
    const body = { scopes: ['publish'] };
    const answers = await Promise.all(
      ids('again', 12).map(() => gateway.askOnce('POST /v1/apps/default/keys', body, { 'idempotency-key': 'key-1' })),
    );
    const made = answers.filter(({ status, headers }) => status === 201 && headers['idempotency-replayed'] === undefined);
    assert.equal(made.length, 1);
    for (const { status, json } of answers)
      assert.ok(status === 201 ? json.id === made[0]?.json.id : status === 409 && json.code === 'in_flight', String(status));
  });

  test('say together at /metrics what each of them has counted', async () => {
    const total = async (): Promise<number> => {
      const { text } = await gateway.ask('GET /metrics');
      assert.match(text, /^millrace_workers 3$/m);
      assert.match(text, /^millrace_build_info\{version="[^"]+"\} 1$/m);
      return Number(/^millrace_events_total\{topic="orders.created",outcome="appended"\} (\d+)$/m.exec(text)?.[1]);
    };
    const before = await total();
    const events = ids('counted', 9);
    await Promise.all(events.map((id) => publish(gateway, id)));
    assert.equal(await total(), before + 9);
    await arrived(endpoint, events, subscriptions);
  });

  test('go on with what one of them worked that ended by an error, and have it back', async () => {
    const { text: before } = await gateway.ask('GET /metrics');
    const counted = Number(/^millrace_events_total\{topic="orders.created",outcome="appended"\} (\d+)$/m.exec(before)?.[1]);
    gateway.fault();
    const events = ids('after-fault', 12);
    await Promise.all(events.map((id) => publish(gateway, id)));
    const ended = await gateway.running.line(({ kind }) => kind === 'worker_ended');
    assert.match(String(ended['message']), /a fault that a test has made/);
    await arrived(endpoint, events, subscriptions);
    const back = await gateway.running.line(({ kind }) => kind === 'worker_back');
    assert.equal(back['worker'], ended['worker']);
    const { text } = await gateway.ask('GET /metrics');
    assert.match(text, /^millrace_worker_ends_total 1$/m);
    const now = Number(/^millrace_events_total\{topic="orders.created",outcome="appended"\} (\d+)$/m.exec(text)?.[1]);
    assert.ok(now >= counted, 'what it had counted before it was last asked stays counted');
    await publish(gateway, 'with-it-again');
    await arrived(endpoint, ['with-it-again'], subscriptions);
  });

  test('share their port with no other gateway', async (t) => {
    const port = new URL(gateway.address).port;
    for (const workers of ['1', '2']) {
      const other = startProcess(t, ['start', '--port', port, '--data', temporary(t), '--workers', workers]);
      assert.equal(await other.ended, 1);
      assert.match(other.output.stderr, /is taken/);
    }
  });

  test('end all when the process is told to, having written down all they did', async () => {
    const before = countsIn(endpoint);
    const lease = gateway.running;
    lease.child.kill('SIGTERM');
    assert.equal(await lease.ended, 0, lease.output.stderr);
    gateway = await startWorkersProcess(suite, { data, workers: 3 });
    await publish(gateway, 'after-stop');
    await arrived(endpoint, ['after-stop'], subscriptions);
    const now = countsIn(endpoint);
    for (const [name, count] of before) assert.equal(now.get(name), count, name);
  });

  test('lose nothing that was accepted when the process is killed, with as many workers as it has afterwards', async () => {
    for (const [round, workers] of [1, 2, 3].entries()) {
      const events = ids(`killed${round}-`, 20);
      await Promise.all(events.map((id) => publish(gateway, id)));
      gateway.running.child.kill('SIGKILL');
      await gateway.running.ended;
      gateway = await startWorkersProcess(suite, { data, workers });
      await arrived(endpoint, events, subscriptions);
    }
  });
});

test('what prevents the start of one worker prevents that of all, and is said once', async (t) => {
  for (const [more, why] of [
    [['--host', '203.0.113.1'], /203\.0\.113\.1 is no address of this machine/g],
    [['--log', 'nats://127.0.0.1:1'], /can not go on/g],
  ] as const) {
    const running = startProcess(t, ['start', '--data', temporary(t), '--workers', '2', '--port', '0', ...more]);
    assert.equal(await running.ended, 1);
    assert.equal(running.output.stderr.match(why)?.length, 1, running.output.stderr);
  }
});

test('numbers of workers that can not be are refused, and auto is as many as there are cores', async (t) => {
  for (const workers of ['0', '65', 'many']) {
    const running = startProcess(t, ['start', '--data', temporary(t), '--workers', workers]);
    assert.equal(await running.ended, 2);
    assert.match(running.output.stderr, /--workers/);
  }
  const data = temporary(t);
  const running = startProcess(t, ['start', '--json', '--data', data, '--port', '0', '--workers', 'auto']);
  const { address } = await ready(running, data);
  assert.equal((await fetch(`${address}/readyz`)).status, 200);
});
