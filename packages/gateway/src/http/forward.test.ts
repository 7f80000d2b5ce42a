/** Two nodes over one directory, log and ledger: what one can't answer it asks the other. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test, type TestContext } from 'node:test';
import type { FastifyInstance } from 'fastify';
import { createMemoryDirectory } from '@millrace/memory/directory';
import { createMemoryLedger } from '@millrace/memory/ledger';
import { createMemoryLog } from '@millrace/memory/log';
import { receiver } from '../../test/receivers.ts';
import { createGateway } from '../gateway.ts';
import { LIMITS } from '../limits.ts';
import { createConnect } from '../senders/connect.ts';
import { createEgress } from '../senders/egress.ts';
import { createUndiciSender } from '../senders/undici.ts';
import { systemClock } from '../system-clock.ts';
import { createVault } from '../vault.ts';
import { makeKey } from './access.ts';
import { createApp } from './app.ts';
import { FORWARDED } from './forward.ts';
import { topicOf } from './topic-settings.ts';

/** Where a node is told that the owner is, changed by the test. */
interface Places {
  address: string | undefined;
  /** Resolves when the node has looked; nothing is waited for without it. */
  changed?: () => Promise<void>;
}

interface Two {
  /** Works all slots. */
  readonly owner: FastifyInstance;
  /** Works none. */
  readonly other: FastifyInstance;
  /** Another that works none, told of these places. */
  third(places: Places, movingMs: number): Promise<FastifyInstance>;
  /** Of an admin. */
  readonly key: string;
  ask(
    app: FastifyInstance,
    route: string,
    json?: object,
    headers?: Record<string, string>,
  ): Promise<{ status: number; json: any }>; // oxlint-disable-line typescript/no-explicit-any -- answers of every shape
}

async function two(t: TestContext): Promise<Two> {
  const [directory, ledger, log] = [createMemoryDirectory(), createMemoryLedger(), createMemoryLog()];
  const clock = systemClock;
  const vault = createVault(randomBytes(32));
  const key = makeKey({ app: 'default', scopes: ['admin'], nowMs: clock.now() });
  await directory.put('app', 'default', 'default', { name: 'default', createdMs: 0 });
  await directory.put('key', 'default', key.id, key.value);
  await directory.put(
    'topic',
    'default',
    'orders.created',
    topicOf({}, { owner: 'default', nowMs: clock.now(), limits: LIMITS }),
  );

  async function node(places?: Places, movingMs = LIMITS.movingMs): Promise<FastifyInstance> {
    const withoutSlots = places !== undefined;
    const sender = createUndiciSender({ clock, connect: createConnect({ egress: createEgress({ allow: ['loopback'] }) }) });
    const gateway = createGateway({
      ports: { log, directory, ledger, sender, clock, vault },
      withoutSlots,
      publicUrl: () => 'http://127.0.0.1:9',
    });
    await gateway.start();
    const app = await createApp({
      gateway,
      directory,
      ledger,
      vault,
      clock,
      version: '1',
      isReady: () => true,
      limits: { ...LIMITS, movingMs },
      ...(places === undefined ? {} : { addressOf: () => places.address }),
      ...(places?.changed === undefined ? {} : { changed: places.changed }),
    });
    t.after(async () => {
      await app.close();
      await gateway.stop();
      await sender.close();
    });
    return app;
  }

  const owner = await node();
  const address = await owner.listen({ host: '127.0.0.1', port: 0 });
  return {
    owner,
    other: await node({ address }),
    third: node,
    key: key.text,
    async ask(app, route, json, headers = {}) {
      const [method = '', url = ''] = route.split(' ');
      const answer = await app.inject({
        method: method as 'GET',
        url,
        headers: { authorization: `Bearer ${key.text}`, ...headers },
        ...(json === undefined ? {} : { payload: json }),
      });
      return { status: answer.statusCode, json: answer.body === '' ? undefined : JSON.parse(answer.body) };
    },
  };
}

test('health, a test request and a replay are answered by the node that works the subscription, whichever is asked', async (t) => {
  const { owner, other, ask } = await two(t);
  const endpoint = await receiver(t);
  const spec = { topics: ['orders.*'], deliver: { webhook: { url: endpoint.url } } };
  assert.equal((await ask(owner, 'PUT /v1/subscriptions/s', spec)).status, 201);
  assert.equal((await ask(other, 'POST /v1/events', { type: 'orders.created', data: { id: 1 } })).status, 202);
  await endpoint.request(1);
  const shown = await ask(other, 'GET /v1/subscriptions/s');
  assert.deepEqual([shown.status, shown.json.health.breaker], [200, 'closed']);
  const { json: listed } = await ask(other, 'GET /v1/subscriptions');
  assert.deepEqual(
    listed.data.map(({ id, health }: { id: string; health?: { breaker: string } }) => [id, health?.breaker]),
    [['s', 'closed']],
  );
  const tested = await ask(other, 'POST /v1/subscriptions/s/test', {});
  assert.deepEqual([tested.status, tested.json.delivered], [200, true]);
  const counted = await ask(other, 'POST /v1/subscriptions/s/replay', { from: 'earliest', dryRun: true });
  assert.deepEqual([counted.status, counted.json.count], [200, 1]);
  const paused = await ask(other, 'POST /v1/subscriptions/s/pause');
  assert.deepEqual([paused.status, paused.json.state], [200, 'paused']);
  assert.equal((await ask(owner, 'GET /v1/subscriptions/s')).json.state, 'paused');
  // It has no slots, so it can't make one by itself.
  assert.equal((await ask(other, 'PUT /v1/subscriptions/made', spec)).status, 201);
  assert.equal((await ask(owner, 'GET /v1/subscriptions/made')).status, 200);
  const wrong = await ask(other, 'POST /v1/subscriptions/s/replay', { from: 'never' });
  assert.deepEqual([wrong.status, wrong.json.code, wrong.json.pointer], [400, 'invalid_request', '/from']);
});

test('what was forwarded once is not forwarded again, and without anybody to ask the caller is told to ask again', async (t) => {
  const { owner, other, ask } = await two(t);
  const spec = { topics: ['orders.*'], deliver: { webhook: { url: 'http://127.0.0.1:9' } } };
  await ask(owner, 'PUT /v1/subscriptions/s', spec);
  const again = await ask(other, 'GET /v1/subscriptions/s', undefined, { [FORWARDED]: '1' });
  assert.deepEqual([again.status, again.json.code], [503, 'moving']);
  await owner.close();
  const gone = await ask(other, 'GET /v1/subscriptions/s');
  assert.deepEqual([gone.status, gone.json.code], [503, 'moving']);
});

test('nothing is asked of a host that the target of a request names', async (t) => {
  const { owner, other, key, ask } = await two(t);
  await ask(owner, 'PUT /v1/subscriptions/s', { topics: ['orders.*'], deliver: { webhook: { url: 'http://127.0.0.1:9' } } });
  const elsewhere = await receiver(t);
  const { port } = new URL(await other.listen({ host: '127.0.0.1', port: 0 }));
  const named = new URL(elsewhere.url).host;
  for (const target of [`http://${named}/v1/subscriptions/s`, `//${named}/v1/subscriptions/s`, `@${named}/v1/subscriptions/s`]) {
    const head = `GET ${target} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${key}\r\nconnection: close\r\n\r\n`;
    const socket = connect(Number(port), '127.0.0.1').end(head);
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    await once(socket, 'close');
    assert.match(Buffer.concat(chunks).toString(), /^HTTP\/1\.1 (?:4\d\d|503) /, target);
  }
  assert.equal((await ask(other, 'GET /v1/subscriptions/s')).status, 200);
  assert.equal(elsewhere.requests.length, 0);
});

test('a request for what is just being moved waits until somebody works it, and is answered by that node', async (t) => {
  const { owner, other, third, ask } = await two(t);
  const spec = { topics: ['orders.*'], deliver: { webhook: { url: 'http://127.0.0.1:9' } } };
  await ask(owner, 'PUT /v1/subscriptions/s', spec);
  const { port } = owner.server.address() as { readonly port: number };
  const looks: PromiseWithResolvers<void>[] = [];
  let waiting = Promise.withResolvers<void>();
  const places: Places = {
    address: undefined,
    changed() {
      const look = Promise.withResolvers<void>();
      looks.push(look);
      waiting.resolve();
      return look.promise;
    },
  };
  const asked = await third(places, 60_000);
  const look = async (): Promise<void> => {
    await waiting.promise;
    waiting = Promise.withResolvers();
    looks.pop()?.resolve();
  };
  const answer = ask(asked, 'GET /v1/subscriptions/s');
  // Nobody works it; then a node is asked that does not work it any more; then its owner.
  await look();
  await waiting.promise;
  places.address = await other.listen({ host: '127.0.0.1', port: 0 });
  await look();
  await waiting.promise;
  places.address = `http://127.0.0.1:${port}`;
  await look();
  const { status, json } = await answer;
  assert.deepEqual([status, json.id], [200, 's']);
});

test('nobody waits longer than the limit for what is being moved: then the caller is told when to ask again', async (t) => {
  const { owner, third, key, ask } = await two(t);
  await ask(owner, 'PUT /v1/subscriptions/s', { topics: ['orders.*'], deliver: { webhook: { url: 'http://127.0.0.1:9' } } });
  // real time: the limit is of the door's own clock
  const asked = await third({ address: undefined, changed: () => new Promise(() => {}) }, 10);
  const answer = await asked.inject({ url: '/v1/subscriptions/s', headers: { authorization: `Bearer ${key}` } });
  assert.deepEqual([answer.statusCode, answer.json().code, answer.headers['retry-after']], [503, 'moving', '1']);
});

test('a failure that a receiver reports to any node reaches the one that works its subscription', async (t) => {
  const { owner, other, ask } = await two(t);
  const endpoint = await receiver(t);
  const spec = { topics: ['orders.*'], retry: { schedule: ['1h'] }, deliver: { webhook: { url: endpoint.url } } };
  await ask(owner, 'PUT /v1/subscriptions/s', spec);
  await ask(other, 'POST /v1/events', { type: 'orders.created', id: 'a', source: '/s' });
  const { headers } = await endpoint.request(1);
  const [address = '', token] = headers['millrace-failed']?.split(' ') ?? [];
  const report = () => ask(other, `POST ${new URL(address).pathname}`, { reason: 'no' }, { authorization: `Bearer ${token}` });
  let reported = await report();
  // Its answer may not be written down yet.
  while (reported.json.code === 'in_flight') reported = await report();
  assert.deepEqual([reported.status, reported.json.outcome], [202, 'retry']);
  assert.equal((await ask(owner, 'GET /v1/subscriptions/s')).json.health.parked, 1);
});
