import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import net from 'node:net';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { startChild } from '../test/child.ts';
import { type Gateway, startGateway } from '../test/gateway.ts';
import { createPublisher, PublishError } from './publisher.ts';

const ORDER = { type: 'orders.created', data: { id: 42 } };
const STORED = { id: 'evt_a', status: 'appended', shard: '0', position: '1' };

/** Forwards to the gateway, and cuts the first connection when its answer comes: the event is stored, its publisher never hears. */
async function cuttingProxy(t: TestContext, address: string): Promise<{ readonly url: string; readonly cuts: () => number }> {
  const { hostname, port } = new URL(address);
  let cuts = 0;
  const server = net.createServer((publisher) => {
    const gateway = net.connect(Number(port), hostname);
    for (const [one, other] of [
      [publisher, gateway],
      [gateway, publisher],
    ] as const)
      one.on('error', () => undefined).on('close', () => other.destroy());
    publisher.pipe(gateway);
    gateway.on('data', (answer) => {
      if (cuts > 0) return void publisher.write(answer);
      cuts++;
      publisher.resetAndDestroy();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return { url: `http://127.0.0.1:${(server.address() as net.AddressInfo).port}`, cuts: () => cuts };
}

interface Asked {
  readonly key: string | undefined;
  readonly body: string;
}

/** A gateway that answers as it is told; the last answer is given again and again. */
async function scripted(
  t: TestContext,
  answers: readonly ((response: ServerResponse) => void)[],
): Promise<{ readonly url: string; readonly asked: readonly Asked[] }> {
  const asked: Asked[] = [];
  const server = createServer((request, response) => {
    void request.toArray().then((chunks: Buffer[]) => {
      const [key] = [request.headers['idempotency-key']].flat();
      asked.push({ key, body: Buffer.concat(chunks).toString() });
      answers[Math.min(asked.length, answers.length) - 1]?.(response);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as net.AddressInfo).port}`, asked };
}

const answer =
  (status: number, json: object, headers: Record<string, string> = {}) =>
  (response: ServerResponse): void =>
    void response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(json));

const problem = (status: number, code: string): object => ({ status, code, detail: 'for a test' });

// oxlint-disable-next-line typescript/no-explicit-any -- answers of every shape
async function eventsIn(gateway: Gateway): Promise<any[]> {
  const { json } = await gateway.ask('GET /v1/events?from=earliest&limit=500');
  return json.data.map(({ event }: { event: unknown }) => event);
}

const idsIn = async (gateway: Gateway): Promise<string[]> => (await eventsIn(gateway)).map(({ id }) => id);

describe('the publisher', { timeout: 60_000 }, () => {
  test('appends once, also where the connection is cut before the answer', async (t) => {
    const gateway = await startGateway(t);
    const proxy = await cuttingProxy(t, gateway.address);
    const { publish } = createPublisher({ url: proxy.url, key: gateway.key });
    const { id, status } = await publish(ORDER, 'order-42-created');
    assert.deepEqual([status, proxy.cuts()], ['duplicate', 1]);
    const { id: later } = await publish(ORDER);
    assert.deepEqual(await idsIn(gateway), [id, later]);
  });

  test('appends a batch once likewise, also of events without an id of their own', async (t) => {
    const gateway = await startGateway(t);
    const proxy = await cuttingProxy(t, gateway.address);
    const { publishAll } = createPublisher({ url: proxy.url, key: gateway.key });
    const results = await publishAll([ORDER, { ...ORDER, id: 'mine' }]);
    assert.equal(proxy.cuts(), 1);
    const ids = results.map((one) => ('problem' in one ? one.problem.code : `${one.status} ${one.id}`));
    assert.deepEqual(
      (await idsIn(gateway)).map((id) => `duplicate ${id}`),
      ids,
    );
  });

  test('repeats what may pass by itself, under the same key with the same body', async (t) => {
    const { url, asked } = await scripted(t, [
      answer(409, problem(409, 'in_flight'), { 'retry-after': '0' }),
      answer(429, problem(429, 'too_many_requests'), { 'retry-after': 'Sun, 06 Nov 1994 08:49:37 GMT' }),
      (response) => void response.writeHead(502).end('<html>'),
      answer(503, problem(503, 'overloaded')),
      answer(202, STORED),
    ]);
    assert.deepEqual(await createPublisher({ url, key: 'mr_test' }).publish(ORDER), STORED);
    assert.equal(asked.length, 5);
    assert.ok(asked[0]?.key);
    assert.equal(new Set(asked.map(({ key, body }) => `${key} ${body}`)).size, 1);
  });

  test('waits as long as it is asked to, and ends at its deadline with the reason', async (t) => {
    const { url, asked } = await scripted(t, [answer(503, problem(503, 'overloaded'), { 'retry-after': '3600' })]);
    const { publish } = createPublisher({ url, key: 'mr_test', attempts: 10_000, deadlineMs: 500 });
    await assert.rejects(publish(ORDER), (error) => error instanceof PublishError && error.problem.code === 'overloaded');
    assert.equal(asked.length, 1);
  });

  test('says that nobody knows where no answer comes', async (t) => {
    const { url, asked } = await scripted(t, [() => undefined]);
    const publisher = createPublisher({ url, key: 'mr_test', attempts: 2, attemptMs: 100 });
    await assert.rejects(publisher.publish(ORDER), { name: 'PublishError', message: /^unanswered: no answer in time/ });
    assert.equal(asked.length, 2);
    assert.deepEqual(
      (await publisher.publishAll([ORDER])).map((one) => 'problem' in one && one.problem.code),
      ['unanswered'],
    );
  });

  test('does not repeat what will never be taken', async (t) => {
    const gateway = await startGateway(t);
    const { publish } = createPublisher({ url: gateway.address, key: gateway.key });
    await publish(ORDER, 'key-1');
    const refused = (code: string) => (error: unknown) => error instanceof PublishError && error.problem.code === code;
    await assert.rejects(publish({ ...ORDER, data: { id: 43 } }, 'key-1'), refused('idempotency_key_reused'));
    await assert.rejects(publish({ ...ORDER, type: 'orders..created' }), refused('invalid_topic'));
    await assert.rejects(createPublisher({ url: gateway.address, key: 'mr_wrong' }).publish(ORDER), refused('unauthorized'));
    const { url, asked } = await scripted(t, [answer(422, problem(422, 'idempotency_key_reused'))]);
    await assert.rejects(createPublisher({ url, key: 'mr_test' }).publish(ORDER), refused('idempotency_key_reused'));
    assert.equal(asked.length, 1);
  });

  test('gives a result for each event of a batch, and sends again those alone that were not settled', async (t) => {
    const { url, asked } = await scripted(t, [
      answer(202, { results: [STORED, { problem: problem(503, 'overloaded') }, { problem: problem(400, 'invalid_event') }] }),
      answer(202, { results: [{ ...STORED, id: 'b' }] }),
    ]);
    const results = await createPublisher({ url, key: 'mr_test' }).publishAll(['a', 'b', 'c'].map((id) => ({ ...ORDER, id })));
    assert.deepEqual(results, [STORED, { ...STORED, id: 'b' }, { problem: problem(400, 'invalid_event') }]);
    assert.deepEqual(
      asked.map(({ body }) => JSON.parse(body).map(({ id }: { id: string }) => id)),
      [['a', 'b', 'c'], ['b']],
    );
  });

  test('publishes more than one call takes, and names in its place what is refused', async (t) => {
    const gateway = await startGateway(t);
    const { publishAll } = createPublisher({ url: gateway.address, key: gateway.key });
    const events = Array.from({ length: 1_201 }, (_, n) => ({ type: n === 700 ? 'no topic' : 'orders.created', data: { n } }));
    const results = await publishAll(events);
    assert.deepEqual(
      results.flatMap((one, at) => ('problem' in one ? [[at, one.problem.code]] : [])),
      [[700, 'invalid_topic']],
    );
    const [last] = await publishAll([{ type: 'no topic' }]);
    assert.deepEqual(last && 'problem' in last && last.problem.code, 'invalid_topic');
  });

  test('runs as its README says', async (t) => {
    const gateway = await startGateway(t);
    const environment = { MILLRACE_URL: gateway.address, MILLRACE_KEY: gateway.key };
    const child = startChild(t, [process.execPath, join(import.meta.dirname, 'publish.ts')], environment);
    assert.equal(await child.ended, 0);
    assert.match(child.output(), /^appended {2}(evt_\w+)\nduplicate {2}\1\nappended {2}order-42-paid\ninvalid_topic {2}.+\n$/);
    const refused = startChild(t, [process.execPath, join(import.meta.dirname, 'publish.ts')], {
      ...environment,
      MILLRACE_KEY: '',
    });
    assert.equal(await refused.ended, 1);
    assert.match(refused.output(), /^unauthorized: /);
  });
});

describe(
  'publish.sh',
  { timeout: 60_000, skip: spawnSync('curl', ['--version']).status !== 0 && 'curl is not installed' },
  () => {
    const SCRIPT = join(import.meta.dirname, 'publish.sh');

    test('publishes in every form, each event once however often it runs', async (t) => {
      const gateway = await startGateway(t);
      const environment = { MILLRACE_URL: gateway.address, MILLRACE_KEY: gateway.key };
      for (const status of ['appended', 'duplicate']) {
        const script = startChild(t, ['sh', SCRIPT], environment);
        assert.equal(await script.ended, 0, script.output());
        assert.equal(script.output().match(new RegExp(`"status":"${status}"`, 'g'))?.length, 9, script.output());
        assert.ok(script.output().includes(`{"done":{"lines":3,`));
      }
      const events = await eventsIn(gateway);
      assert.deepEqual(
        events.map(({ type, id, data, data_base64: base64 }) => [
          type,
          id.startsWith('evt_') ? 'evt_' : id,
          data ?? atob(base64),
        ]),
        [
          ['orders.created', 'evt_', { id: 51, amount: 150 }],
          ['orders.created', 'order-52-created', { id: 52 }],
          ['orders.paid', 'order-52-paid', { id: 52 }],
          ['orders.created', 'order-61-created', { id: 61 }],
          ['orders.created', 'order-62-created', { id: 62 }],
          ['orders.paid', 'order-61-paid', { id: 61 }],
          ['orders.created', 'order-53-created', { id: 53 }],
          ['orders.noted', 'order-54-noted', 'ring twice'],
          ['orders.created', 'evt_', { id: 55 }],
        ],
      );
    });

    test('says why where it can not, by its exit code, too', async (t) => {
      const gateway = await startGateway(t);
      for (const [key, form, code, said] of [
        [gateway.key, 'pigeon', 2, /no form 'pigeon'/],
        ['mr_wrong', 'single', 22, /"code":"unauthorized"/],
        ['', 'single', undefined, /MILLRACE_KEY.* set it to a key/],
      ] as const) {
        const script = startChild(t, ['sh', SCRIPT, form], { MILLRACE_URL: gateway.address, MILLRACE_KEY: key });
        const ended = await script.ended;
        assert.ok(code === undefined ? ended !== 0 : ended === code, `${form}: ${ended}`);
        assert.match(script.output(), said);
      }
    });
  },
);
