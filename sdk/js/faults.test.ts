/** What goes wrong between a client and a real gateway: tokens that are over, or another's, lines that are dead and say nothing, and work that fails late. */
import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import net from 'node:net';
import { buffer } from 'node:stream/consumers';
import { describe, test, type TestContext } from 'node:test';
import { realtime, type RealtimeDoor } from '../../packages/gateway/src/realtime/test/client.ts';
import { listen } from '../../packages/gateway/test/receivers.ts';
import { world } from '../../packages/gateway/test/world.ts';
import {
  connect,
  type ConnectOptions,
  type Gateway,
  type GatewayError,
  memoryStore,
  type ReceivedEvent,
  receiver,
  sse,
  type State,
  ws,
} from './millrace.ts';
import { collected } from './test/collected.ts';
import { handClock } from './test/hand.ts';

/** Between two ends. What is frozen is a network that was left: nothing passes and nobody is told, until it is cut. */
interface Line {
  readonly url: string;
  to(origin: string): void;
  freeze(): void;
  cut(): void;
}

async function lineOf(t: TestContext): Promise<Line> {
  const sockets = new Set<net.Socket>();
  let frozen: readonly net.Socket[] = [];
  let port = 0;
  const server = net.createServer((near) => {
    const far = net.connect({ port, host: '127.0.0.1' });
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one);
      one.on('error', () => other.destroy());
      one.pipe(other);
    }
  });
  const url = await listen(t, server, () => sockets.forEach((socket) => socket.destroy()));
  return {
    url,
    to: (origin) => void (port = Number(new URL(origin).port)),
    freeze() {
      frozen = [...sockets];
      for (const socket of frozen) socket.unpipe().pause();
    },
    cut() {
      for (const socket of frozen) socket.destroy();
    },
  };
}

const numberOf = ({ data }: ReceivedEvent): number => (data as { n: number }).n;

for (const [name, transports] of [
  ['WebSocket', [ws]],
  ['server-sent events', [sse]],
] as const)
  describe(`a client over ${name}`, { timeout: 30_000 }, () => {
    function clientOf(t: TestContext, door: RealtimeDoor, options: Partial<ConnectOptions>) {
      const clock = handClock();
      const states = collected<State>();
      const errors = collected<string>();
      const gateway: Gateway = connect({
        url: door.app.listeningOrigin,
        transports,
        clock,
        hooks: { onState: states.add, onError: (error) => errors.add((error as GatewayError).code) },
        ...options,
      });
      t.after(() => gateway.close({ now: true }));
      return { clock, states, errors, gateway };
    }

    test('gets another token where the one that it was given has expired, and comes back', async (t) => {
      t.mock.timers.enable({ apis: ['Date'], now: Date.now() });
      const door = await realtime(t);
      const tokens = [await tokenOf(door, 'shop', '30s'), await tokenOf(door, 'shop', '300s')];
      t.mock.timers.setTime(Date.now() + 120_000);
      const reasons: string[] = [];
      const getToken: ConnectOptions['getToken'] = ({ reason }) => (
        reasons.push(reason),
        tokens[reasons.length - 1]?.token ?? ''
      );
      const { gateway, clock, states } = clientOf(t, door, { getToken });
      const { ready } = gateway.subscribe('orders.*', () => undefined);
      const waiting = (await states.first(2))[1];
      assert.deepEqual([waiting?.state, waiting && 'code' in waiting && waiting.code], ['waiting', 4010]);
      await clock.advance(1_000);
      await ready;
      assert.deepEqual(reasons, ['connect', 'connect']);
    });

    test('stops where its token is revoked, and begins again with another one when it is told to', async (t) => {
      const door = await realtime(t);
      const tokens = [await tokenOf(door, 'shop'), await tokenOf(door, 'shop')];
      const reasons: string[] = [];
      const getToken: ConnectOptions['getToken'] = ({ reason }) => (
        reasons.push(reason),
        tokens[reasons.length - 1]?.token ?? ''
      );
      const { gateway, states, errors } = clientOf(t, door, { getToken });
      const events = collected<number>();
      await gateway.subscribe('orders.created', (event) => events.add(numberOf(event))).ready;
      await door.publish('orders.created', { n: 1 });
      await events.first(1);
      await door.ask('POST /v1/tokens/revoke', { json: { app: 'shop', jti: tokens[0]?.jti } });
      const closed = (await states.first(3))[2];
      assert.deepEqual([closed?.state, closed && 'code' in closed && closed.code], ['closed', 4401]);
      assert.deepEqual(errors.all, ['token_revoked']);
      await door.publish('orders.created', { n: 2 });
      gateway.wake();
      assert.deepEqual(await events.first(2), [1, 2], 'from where it stood');
      assert.deepEqual(reasons, ['connect', 'connect']);
    });

    test('is of one app: where it is given the token of another one it stops', async (t) => {
      const door = await realtime(t);
      const tokens = [await tokenOf(door, 'shop', '60s'), await tokenOf(door, 'crm')];
      let asked = 0;
      const { gateway, states } = clientOf(t, door, { getToken: () => tokens[asked++]?.token ?? '' });
      await gateway.subscribe('orders.*', () => undefined).ready;
      await door.hand.advance(48_100); // the gateway asks for another one
      const closed = (await states.first(3))[2];
      assert.deepEqual([closed?.state, closed && 'code' in closed && closed.code], ['closed', 4403]);
    });

    for (const [fault, notice] of [
      ['a line is dead and nobody says so', 'silence'],
      ['a page is told that it is on another network', 'wake'],
    ] as const)
      test(`comes back where ${fault}, loses nothing and repeats nothing`, async (t) => {
        const line = await lineOf(t); // first, so that it is cut before the gateway waits for its clients
        const door = await realtime(t);
        line.to(door.app.listeningOrigin);
        const { gateway, clock, states } = clientOf(t, door, { url: line.url, key: door.admin });
        const alone = collected<number>();
        const inGroup = collected<number>();
        const subscriptions = [
          gateway.subscribe('orders.created', (event) => alone.add(numberOf(event))),
          gateway.subscribe('orders.created', (event) => inGroup.add(numberOf(event)), { group: 'g' }),
        ] as const;
        await Promise.all(subscriptions.map(({ ready }) => ready));
        await door.publish('orders.created', { n: 1 });
        await Promise.all([alone.first(1), inGroup.first(1)]);
        line.freeze();
        await door.publish('orders.created', { n: 2 });
        if (notice === 'wake') {
          gateway.wake();
          await clock.advance(10_000);
        } else await clock.advance(35_000);
        const waiting = (await states.first(3))[2];
        assert.deepEqual([waiting?.state, waiting && 'code' in waiting && waiting.code], ['waiting', 4000]);
        await clock.advance(1_000);
        await states.first(5);
        assert.equal(states.all[4]?.state, 'open');
        await alone.first(2);
        await door.publish('orders.created', { n: 3 });
        assert.deepEqual(await alone.first(3), [1, 2, 3]);
        // What went to the dead connection of the group comes when the gateway hears of its end.
        line.cut();
        const all = await inGroup.first(3);
        assert.deepEqual(
          all.toSorted((one, other) => one - other),
          [1, 2, 3],
        );
        await Promise.all([subscriptions[0].close(), subscriptions[1].close()]);
        assert.deepEqual([alone.all.length, inGroup.all.length], [3, 3]);
        assert.deepEqual(door.errors, []);
      });
  });

test('a receiver that acknowledged first, and fails, makes a dead letter at its gateway', { timeout: 30_000 }, async (t) => {
  const line = await lineOf(t);
  const made = await world(t, { publicUrl: line.url });
  line.to(await made.app.listen({ host: '127.0.0.1', port: 0 }));
  const errors: unknown[] = [];
  const work = collected<Promise<unknown>>();
  const answers = collected<number>();
  const { fetch } = globalThis;
  t.after(() => void (globalThis.fetch = fetch));
  globalThis.fetch = async (...all) => {
    const answer = await fetch(...all);
    answers.add(answer.status);
    return answer;
  };
  const serving = Promise.withResolvers<ReturnType<typeof receiver>>();
  const endpoint = createServer((request, response) => void respond(request, response));
  async function respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const headers = new Headers(request.headers as Record<string, string>);
    const whole = new Request('http://receiver.test/', { method: 'POST', headers, body: await buffer(request) });
    const serve = await serving.promise;
    const answer = await serve(whole, { waitUntil: work.add });
    await answers.first(1); // so the report comes before the answer that it is about
    response.writeHead(answer.status).end();
  }
  const url = await listen(t, endpoint, () => endpoint.closeAllConnections());
  const { json } = await made.ask('PUT /v1/subscriptions/s', { json: { topics: ['>'], deliver: { webhook: { url } } } });
  const serve = receiver({
    secrets: [json.secret],
    store: memoryStore(),
    ack: 'first',
    attempts: 1,
    gateways: [line.url],
    handle: ({ data }) => Promise.reject(new Error(`no such customer: ${String(data)}`)),
    onError: (error) => errors.push(error),
  });
  serving.resolve(serve);
  await made.ask('POST /v1/events', { json: { type: 'orders.created', data: 17 } });
  const [working] = await work.first(1);
  await working; // real time: the second that the gateway asks for
  assert.deepEqual(answers.all, [409, 202]);
  const { data } = (await made.ask('GET /v1/dead-letters?subscription=s')).json;
  assert.equal(data.length, 1);
  assert.deepEqual([data[0].cause, errors], ['reported_failed', []]);
});

async function tokenOf(door: RealtimeDoor, app: string, ttl = '300s'): Promise<{ readonly token: string; readonly jti: string }> {
  const key = await door.key(app, ['subscribe']);
  const { status, json } = await door.ask('POST /v1/tokens', { key, json: { scopes: ['subscribe'], topics: ['orders.*'], ttl } });
  assert.equal(status, 201);
  return json;
}
