/** What of the client is this language's own, with time and server by hand; what all clients do is in conformance.test.ts. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { connect, type ConnectOptions, GatewayError, type Message, type ReceivedEvent } from './millrace.ts';
import { handClock, handServer, settle } from './test/hand.ts';

async function stage(options: Partial<ConnectOptions> = {}) {
  const [clock, server] = [handClock(), handServer()];
  const errors: unknown[] = [];
  const hooks = { onError: (error: unknown) => errors.push(error) };
  const gateway = connect({
    url: 'https://gateway.test',
    key: 'mr_key',
    transports: [server.transport],
    clock,
    hooks,
    ...options,
  });
  async function greet(): Promise<void> {
    await settle();
    server.on.open();
    await settle();
    server.on.message('{"op":"welcome","session":"s","heartbeatMs":25000}');
    await settle();
  }
  async function say(...frames: readonly object[]): Promise<void> {
    server.on.message(JSON.stringify(frames));
    await settle();
  }
  return { clock, server, errors, gateway, greet, say };
}

const cursor = (n: number): string => `log/main:${n}@z`;
const message = (n: number, more: object = {}): object => ({
  op: 'msg',
  sub: 1,
  cursor: cursor(n),
  event: { specversion: '1.0', id: `e${n}`, source: '/shop', type: 'orders.paid', ...more },
});
const SUBED = { op: 'subed', sub: 1, cursors: [cursor(0)], recovered: true };
const GROUP = { op: 'subed', sub: 1, group: 'g', recovered: true };
const delivery = (n: number): object => ({ ...message(n), cursor: undefined, id: `d${n}`, attempt: 1 });

describe('a client', { timeout: 10_000 }, () => {
  test('tells from where another life can go on: everything before it was handled, whatever ended first', async () => {
    const { gateway, greet, say } = await stage();
    const ends = new Map<string, () => void>();
    const handler = ({ id }: ReceivedEvent) => new Promise<void>((resolve) => ends.set(id, resolve));
    const subscription = gateway.subscribe('orders.*', handler, { concurrency: 3 });
    await greet();
    await say(SUBED);
    assert.deepEqual(subscription.cursors, [cursor(0)]);
    await say(message(1), message(2), message(3));
    const end = async (id: string): Promise<readonly string[]> => {
      ends.get(id)?.();
      await settle();
      return subscription.cursors;
    };
    assert.deepEqual(await end('e2'), [cursor(0)]);
    await say({ op: 'ping', t: 1, cursors: { 1: [cursor(9)] } });
    assert.deepEqual(await end('e1'), [cursor(2)]);
    assert.deepEqual(await end('e3'), [cursor(9)], 'nothing is open: where it stands');
  });

  test('an ack is confirmed, or says that the connection was lost, or that it came too late', async () => {
    const { gateway, greet, say, server } = await stage();
    const messages: Message[] = [];
    gateway.subscribe('orders.*', (_, one) => messages.push(one), { group: 'g', ack: 'manual' });
    await greet();
    await say(GROUP, delivery(1), delivery(2), delivery(3));
    const said: string[] = [];
    for (const [at, one] of messages.entries())
      one.ack().then(
        () => said.push(`${at} confirmed`),
        ({ code, retryable }: GatewayError) => said.push(`${at} ${code} ${retryable}`),
      );
    await say(
      { op: 'acked', sub: 1, ids: ['d1'] },
      { op: 'error', sub: 1, ids: ['d2'], code: 'unknown_delivery', title: 'late', status: 404, retryable: false },
    );
    server.on.close(1006, '');
    await settle();
    assert.deepEqual(said, ['0 confirmed', '1 unknown_delivery false', '2 connection_lost true']);
  });

  test('knows the last thousand that it handled, and no more', async () => {
    const { gateway, greet, say } = await stage();
    let count = 0;
    gateway.subscribe('orders.*', () => count++, { dedupe: true, credit: 2_000 });
    await greet();
    await say(SUBED, ...Array.from({ length: 1_001 }, (_, n) => message(n)));
    await say(message(1), message(1_000));
    assert.equal(count, 1_001);
    await say(message(0));
    assert.equal(count, 1_002);
  });

  test('tries the next transport where one does not come through, and goes back to the best that ever did', async () => {
    const [one, other] = [handServer(), handServer()];
    const { gateway } = await stage({ transports: [one.transport, other.transport] });
    gateway.subscribe('orders.*', () => undefined);
    const next = async (server: typeof one, welcome: boolean): Promise<void> => {
      await settle();
      assert.equal(server.dials.length, 1);
      server.dials.length = 0;
      if (welcome) server.on.message('{"op":"welcome","session":"s","heartbeatMs":25000}');
      server.on.close(1006, '');
      gateway.wake();
      await settle();
    };
    await next(one, false);
    await next(other, true);
    await next(other, false);
    await next(one, true);
    await next(one, false);
    await next(other, true);
    assert.equal(one.dials.length, 1);
  });

  test('goes on trying the one transport that it has, though another is not to be had here', async () => {
    const server = handServer();
    const { clock, gateway } = await stage({
      transports: [
        () => {
          throw new GatewayError('no_transport', 'there is none here');
        },
        server.transport,
      ],
    });
    gateway.subscribe('orders.*', () => undefined);
    for (let attempt = 1; attempt <= 4; attempt++) {
      while (server.dials.length < attempt) await clock.advance(1_000);
      server.on.close(1006, '');
    }
    assert.equal(gateway.state.state, 'waiting');
  });

  test('sends what belongs together together, and no more than 64 frames at once', async () => {
    const messages: string[] = [];
    const server = handServer();
    const { gateway } = await stage({
      transports: [(dial) => ({ ...server.transport(dial), send: (text) => void messages.push(text) })],
    });
    for (let n = 0; n < 70; n++) gateway.subscribe(`topic.t${n}`, () => undefined);
    await settle();
    server.on.open();
    await settle();
    assert.deepEqual(
      messages.map((text) => (JSON.parse(text) as unknown[]).length),
      [64, 7],
    );
  });

  test('whoever waits for a subscription to begin hears of it when it is closed before it has', async () => {
    const { gateway } = await stage();
    const { ready } = gateway.subscribe('orders.*', () => undefined);
    await gateway.close();
    await assert.rejects(ready, { code: 'closed' });
  });

  test('says where a subscription was made after the end', async () => {
    const { gateway, greet } = await stage();
    gateway.subscribe('orders.*', () => undefined);
    await greet();
    await gateway.close({ now: true });
    await assert.rejects(gateway.subscribe('orders.*', () => undefined).ready, ({ code }: GatewayError) => code === 'closed');
  });

  test('tells who listens of its states, until they do not want to know', async () => {
    const { gateway, greet } = await stage();
    const [all, some]: [string[], string[]] = [[], []];
    gateway.onState(({ state }) => all.push(state));
    const forget = gateway.onState(({ state }) => some.push(state));
    gateway.subscribe('orders.*', () => undefined);
    forget();
    await greet();
    await gateway.close({ now: true });
    assert.deepEqual([all, some], [['connecting', 'open', 'closed'], ['connecting']]);
  });

  test('hears of what a handler throws, and of the end of a subscription', async () => {
    const { gateway, greet, say, errors } = await stage();
    const subscription = gateway.subscribe('orders.*', () => {
      throw new Error('no database');
    });
    await greet();
    await say(SUBED, message(1));
    await say({ op: 'error', sub: 1, code: 'forbidden', title: 'no', status: 403, retryable: false });
    assert.deepEqual(errors.map(String), ['Error: no database', 'GatewayError: no']);
    await subscription.close();
  });

  test('hears why a subscription has to wait, but for a group that moves; and one without a handler is none', async () => {
    const { gateway, greet, say, errors } = await stage();
    gateway.subscribe('orders.*', () => undefined);
    await greet();
    const refused = { op: 'error', sub: 1, title: 'one too many', status: 429, retryable: true, retryAfterMs: 1_000 };
    await say({ ...refused, code: 'moving' });
    assert.deepEqual(errors, []);
    await say({ ...refused, code: 'quota_exceeded' });
    assert.deepEqual(errors.map(String), ['GatewayError: one too many']);
    assert.throws(() => gateway.subscribe('orders.*', { group: 'g' } as never), { code: 'invalid' });
  });

  test('sets no timer for a time that has passed: Node would warn of it', async () => {
    const clock = handClock();
    const delays: number[] = [];
    const { gateway, greet, server } = await stage({
      clock: { ...clock, after: (delayMs, work) => (delays.push(delayMs), clock.after(delayMs, work)) },
    });
    gateway.subscribe('orders.*', () => undefined);
    await greet();
    clock.sleep(3_600_000);
    gateway.wake();
    await clock.advance(0);
    assert.deepEqual(server.closes, [4000], 'it sees at once how long it was asleep');
    assert.deepEqual(
      delays.filter((delayMs) => !(delayMs >= 0)),
      [],
    );
  });

  test('a token that never comes is waited for no longer than a call', async () => {
    const { gateway, clock, errors } = await stage({ getToken: () => new Promise(() => undefined), key: undefined as never });
    gateway.subscribe('orders.*', () => undefined);
    await clock.advance(10_000);
    assert.equal(gateway.state.state, 'waiting');
    assert.ok(errors[0] instanceof GatewayError && errors[0].code === 'timeout');
  });
});
