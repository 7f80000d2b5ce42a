/** The SDK with a real gateway, over real sockets. */
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { realtime } from '../../packages/gateway/src/realtime/test/client.ts';
import {
  type Clock,
  connect,
  type ConnectOptions,
  GatewayError,
  outbox,
  type ReceivedEvent,
  sendEvent,
  sse,
  type State,
  type Transport,
  ws,
} from './millrace.ts';
import { collected } from './test/collected.ts';

async function stage(t: TestContext, options: Pick<ConnectOptions, 'transports'>) {
  const door = await realtime(t);
  const states = collected<State>();
  const errors = collected<unknown>();
  const gateway = connect({
    url: door.app.listeningOrigin,
    key: door.admin,
    hooks: { onState: states.add, onError: errors.add },
    ...options,
  });
  t.after(() => gateway.close({ now: true }));
  return { door, gateway, states, errors };
}

/** As they are; hears of each token that the gateway has taken on a connection that was there before. */
const watched = (transports: readonly Transport[], onAuthed: () => void): readonly Transport[] =>
  transports.map(
    (transport) => (dial) =>
      transport({
        ...dial,
        on: {
          ...dial.on,
          message(text) {
            dial.on.message(text);
            if (text.includes('"authed"')) onAuthed();
          },
        },
      }),
  );

const numberOf = ({ data }: ReceivedEvent): number => (data as { n: number }).n;

for (const [name, transports] of [
  ['WebSocket', [ws]],
  ['server-sent events', [sse]],
] as const)
  describe(`the SDK with a gateway, over ${name}`, { timeout: 30_000 }, () => {
    test('publishes once under a key, and hears what it published', async (t) => {
      const { door, gateway } = await stage(t, { transports });
      const events = collected<ReceivedEvent>();
      const subscription = gateway.subscribe('orders.*', events.add);
      await subscription.ready;
      const receipt = await gateway.sendEvent({ type: 'orders.created', data: { n: 1 } });
      assert.equal(receipt.duplicate, false);
      const [event] = await events.first(1);
      assert.deepEqual([event?.id, event?.type, event?.data], [receipt.id, 'orders.created', { n: 1 }]);
      const once = { idempotencyKey: 'order-17' };
      const first = await gateway.sendEvent({ type: 'orders.paid', data: 17 }, once);
      assert.deepEqual(await sendEvent(door.app.listeningOrigin, door.admin, { type: 'orders.paid', data: 17 }, once), {
        id: first.id,
        duplicate: true,
      });
      const health = await gateway.health();
      assert.equal(health.status, 'ready');
      assert.ok(Math.abs(health.skewMs) < 60_000);
      assert.deepEqual(door.errors, []);
    });

    test('publishes many at once, and says of each what became of it', async (t) => {
      const { gateway } = await stage(t, { transports });
      const [good, bad] = await gateway.sendEvents([{ type: 'orders.created', data: 1 }, { type: 'orders.unknown' }]);
      assert.ok(good !== undefined && 'id' in good && !good.duplicate);
      assert.ok(bad !== undefined && 'error' in bad);
      assert.deepEqual([bad.error.code, bad.error.retryable], ['unknown_topic', false]);
      await assert.rejects(
        gateway.sendEvent({ type: 'orders.unknown' }),
        (error: GatewayError) => error.code === 'unknown_topic' && error.status === 404,
      );
    });

    test('publishes once with a key that signs', async (t) => {
      const { door } = await stage(t, { transports });
      const { json } = await door.ask('POST /v1/apps/shop/keys', { json: { scopes: ['publish'], signs: true } });
      const publish = (key: string, id: string) =>
        sendEvent(door.app.listeningOrigin, key, { type: 'orders.created', data: { name: 'Zoë' } }, { idempotencyKey: id });
      const { id } = await publish(json.key, 'order-17');
      assert.deepEqual(await publish(json.key, 'order-17'), { id, duplicate: true });
      await assert.rejects(
        publish(`${json.key.slice(0, -1)}${json.key.endsWith('x') ? 'y' : 'x'}`, 'order-18'),
        (error: GatewayError) => error.status === 401 && error.code === 'unauthorized',
      );
    });

    test('acks what a handler of a group has done, and gets again what it has not', async (t) => {
      const { gateway } = await stage(t, { transports });
      const seen = collected<readonly [number, number]>();
      const subscription = gateway.subscribe(
        'orders.created',
        (event, { attempt }) => {
          seen.add([numberOf(event), attempt]);
          if (numberOf(event) === 2 && attempt === 1) throw new Error('not now');
        },
        { group: 'mailer', ack: 'auto', concurrency: 2 },
      );
      await subscription.ready;
      for (const n of [1, 2, 3]) await gateway.sendEvent({ type: 'orders.created', data: { n } });
      await seen.first(3);
      await subscription.close();
      assert.deepEqual(
        seen.all.map(([n]) => n).toSorted((one, other) => one - other),
        [1, 2, 3],
      );
      const again = gateway.subscribe('orders.created', (event, { attempt }) => seen.add([numberOf(event), attempt]), {
        group: 'mailer',
      });
      await again.ready;
      await gateway.sendEvent({ type: 'orders.created', data: { n: 4 } });
      assert.deepEqual((await seen.first(4))[3], [4, 1], 'what was acked does not come again');
    });

    test('nacks by hand with a delay of its own, and is told that it was written down', async (t) => {
      const { gateway } = await stage(t, { transports });
      const seen = collected<number>();
      const settled = collected<string>();
      const options = { group: 'g', ack: 'manual' } as const;
      const subscription = gateway.subscribe(
        'orders.created',
        async (_event, message) => {
          seen.add(message.attempt);
          if (message.attempt === 1) await message.nack({ delayMs: 0 }).then(() => settled.add('nacked'));
          else await message.ack().then(() => settled.add('acked'));
        },
        options,
      );
      await subscription.ready;
      await gateway.sendEvent({ type: 'orders.created', data: { n: 1 } });
      assert.deepEqual(await settled.first(2), ['nacked', 'acked']);
      assert.deepEqual(seen.all, [1, 2]);
    });

    test('goes on with another token before its own ends, and loses and repeats nothing', async (t) => {
      const door = await realtime(t);
      const reasons = collected<string>();
      const app = await door.key('default', ['publish', 'subscribe', 'manage']);
      // A token may not make it.
      await door.ask('PUT /v1/subscriptions/g', { key: app, json: { topics: ['orders.created'], deliver: { stream: {} } } });
      const getToken: ConnectOptions['getToken'] = async ({ reason }) => {
        const { json } = await door.ask('POST /v1/tokens', {
          key: app,
          json: { scopes: ['publish', 'subscribe'], topics: ['orders.*'], ttl: '60s' },
        });
        reasons.add(reason);
        return json;
      };
      // Timers are real; time passes as the gateway's does.
      let passedMs = 0;
      const clock: Clock = {
        nowMs: () => performance.now() + passedMs,
        wallMs: Date.now,
        random: Math.random,
        after(delayMs, work) {
          const timer = setTimeout(work, delayMs); // real time: the client's own waits
          return () => clearTimeout(timer);
        },
      };
      const authed = collected<true>();
      const gateway = connect({
        url: door.app.listeningOrigin,
        getToken,
        transports: watched(transports, () => authed.add(true)),
        clock,
      });
      t.after(() => gateway.close({ now: true }));
      const seen = collected<number>();
      const inGroup = collected<number>();
      const states: State[] = [];
      await Promise.all([
        gateway.subscribe('orders.created', (event) => seen.add(numberOf(event))).ready,
        gateway.subscribe('orders.created', (event) => inGroup.add(numberOf(event)), { group: 'g' }).ready,
      ]);
      gateway.onState((state) => states.push(state));
      await gateway.sendEvent({ type: 'orders.created', data: { n: 1 } });
      for (let refresh = 1; refresh <= 3; refresh++) {
        passedMs += 6_000;
        await door.hand.advance(48_100);
        // Taken by the gateway, too: it counts the time of a token from then on.
        await authed.first(refresh);
        await gateway.sendEvent({ type: 'orders.created', data: { n: 1 + refresh } });
        await seen.first(1 + refresh);
      }
      assert.deepEqual(await seen.first(4), [1, 2, 3, 4]);
      assert.deepEqual(
        (await inGroup.first(4)).toSorted((one, other) => one - other),
        [1, 2, 3, 4],
      );
      assert.deepEqual(reasons.all, ['connect', 'refresh', 'refresh', 'refresh']);
      assert.deepEqual(states, [], 'the connection was the same all the time');
      assert.deepEqual(door.errors, []);
    });

    test('tells where a subscription is not allowed, and where a key is none', async (t) => {
      const { door } = await stage(t, { transports });
      const url = door.app.listeningOrigin;
      const hooks = { onError: () => undefined };
      const publisher = connect({ url, key: await door.key('shop', ['publish']), transports, hooks });
      t.after(() => publisher.close({ now: true }));
      await assert.rejects(
        publisher.subscribe('orders.*', () => undefined).ready,
        (error: GatewayError) => error.code === 'forbidden',
      );
      const told: unknown[] = [];
      const key = 'mr_aaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa';
      const stranger = connect({ url, key, transports, hooks: { onError: (error) => told.push(error) } });
      t.after(() => stranger.close({ now: true }));
      await assert.rejects(stranger.subscribe('orders.*', () => undefined).ready, { code: 'unauthorized' });
      assert.deepEqual(
        told.map((error) => (error as GatewayError).code),
        ['unauthorized'],
      );
      assert.deepEqual([stranger.state.state, 'code' in stranger.state && stranger.state.code], ['closed', 4401]);
      await assert.rejects(stranger.sendEvent({ type: 'orders.paid' }), (error: GatewayError) => error.status === 401);
    });

    test('is asked to come back when the gateway stops', async (t) => {
      const { door, gateway, states } = await stage(t, { transports });
      await gateway.subscribe('orders.*', () => undefined).ready;
      const count = states.all.length;
      const stopped = door.app.close();
      const after = (await states.first(count + 1)).at(-1);
      assert.ok(after?.state === 'waiting', JSON.stringify(after));
      assert.deepEqual([after.code, after.retryMs <= 5_000], [4001, true]);
      await gateway.close({ now: true });
      await stopped;
    });

    test('waits with its outbox until the gateway is there, in order', async (t) => {
      const { door, gateway } = await stage(t, { transports });
      const events = collected<ReceivedEvent>();
      await gateway.subscribe('orders.created', events.add).ready;
      let away = 2;
      const box = outbox(
        {
          onState: gateway.onState,
          sendEvent: (...all) =>
            away-- > 0 ? Promise.reject(new GatewayError('network', 'away', { retryable: true })) : gateway.sendEvent(...all),
        },
        {
          maxEvents: 2,
          clock: {
            nowMs: () => 0,
            wallMs: Date.now,
            random: () => 0,
            after: (_, work) => (queueMicrotask(work), () => undefined),
          },
        },
      );
      const sent = [1, 2].map((n) => box.sendEvent({ type: 'orders.created', data: { n } }));
      assert.equal(box.waiting.length, 2);
      await assert.rejects(box.sendEvent({ type: 'orders.created' }), (error: GatewayError) => error.code === 'outbox_full');
      const ids = (await Promise.all(sent)).map(({ id }) => id);
      assert.deepEqual(
        (await events.first(2)).map(({ id }) => id),
        ids,
      );
      assert.equal(box.waiting.length, 0);
      assert.deepEqual(door.errors, []);
    });
  });
