/** Platforms that lack things: React Native and webviews without crypto, pages, workers. Each is a realm with nothing but what it is given. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import vm from 'node:vm';
import type * as Millrace from './millrace.ts';
import { bundled } from './test/bundled.ts';
import { handServer, settle } from './test/hand.ts';

const script = await bundled('iife');

/** What the poorest has: no crypto, no WebSocket, no EventSource, no BroadcastChannel, no document, no Buffer, no process. */
const POOR = {
  setTimeout,
  clearTimeout,
  performance,
  AbortController,
  TextEncoder,
  TextDecoder,
  Headers,
  atob,
  btoa,
  Blob,
  console,
};

function inRealm(globals: object): typeof Millrace {
  const realm = vm.createContext({ ...POOR, ...globals });
  vm.runInContext(script, realm);
  return realm['millrace'] as typeof Millrace;
}

const SIGNED = {
  headers: { 'webhook-id': 'a', 'webhook-timestamp': '1', 'webhook-signature': 'v1,AAAA' },
  body: '',
  secrets: ['whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'],
  nowMs: 1_000,
};
const taken = async (): Promise<Response> => new Response('{"id":"evt_1","status":"appended"}', { status: 202 });

describe('a platform without crypto', { timeout: 10_000 }, () => {
  test('publishes, and each event has an id of its own', async () => {
    const bodies: string[] = [];
    const { sendEvent } = inRealm({ fetch: (_: string, { body }: { body: string }) => (bodies.push(body), taken()) });
    for (let n = 0; n < 2; n++) assert.equal((await sendEvent('https://gateway.test', 'mr_key', { type: 'a' })).id, 'evt_1');
    const ids = bodies.map((body) => (JSON.parse(body) as { id: string }).id);
    assert.match(String(ids[0]), /^[0-9a-f]{32}$/);
    assert.notEqual(ids[0], ids[1]);
  });

  for (const [name, globals] of [
    ['at all', {}],
    ['but for random numbers, as a page without TLS', { crypto: { getRandomValues: crypto.getRandomValues.bind(crypto) } }],
  ] as const)
    test(`says so when something is to be signed or verified (${name})`, async () => {
      const { sign, signSimple, verify, verifySimple } = inRealm(globals);
      const { secrets, body } = SIGNED;
      for (const work of [
        () => verify(SIGNED),
        () => sign({ id: 'a', timestampSeconds: 1, body, secrets }),
        () => signSimple('s', body),
        () => verifySimple({ headers: { 'x-signature': '00' }, body, secrets }),
      ])
        await assert.rejects(work, ({ message }: Error) => message === 'no_crypto');
    });

  test('subscribes', async () => {
    const { connect } = inRealm({ fetch: taken });
    const server = handServer();
    const gateway = connect({ url: 'https://gateway.test', key: 'mr_key', transports: [server.transport] });
    const { ready } = gateway.subscribe('orders.*', () => undefined);
    await settle();
    server.on.open();
    await settle();
    server.on.message(
      '[{"op":"welcome","session":"s","heartbeatMs":25000},{"op":"subed","sub":1,"cursors":[],"recovered":true}]',
    );
    await ready;
    assert.equal(gateway.state.state, 'open');
    await gateway.close({ now: true });
  });

  test('subscribes over server-sent events without an EventSource', async () => {
    const { connect, sse } = inRealm({
      fetch: async (url: string) =>
        url.endsWith('/v1/sse')
          ? new Response(
              'data: [{"op":"welcome","session":"s","heartbeatMs":25000},{"op":"subed","sub":1,"cursors":[],"recovered":true},' +
                '{"op":"msg","sub":1,"cursor":"log/main:1@z","event":{"id":"e1","source":"/s","type":"orders.paid"}}]\n\n',
            )
          : new Response('', { status: 202 }),
    });
    const gateway = connect({
      url: 'https://gateway.test',
      key: 'mr_key',
      transports: [sse],
      hooks: { onError: () => undefined },
    });
    const id = await new Promise<string>((resolve) => gateway.subscribe('orders.*', (event) => resolve(event.id)));
    assert.equal(id, 'e1');
    await gateway.close({ now: true });
  });

  test('says which transports it lacks', async () => {
    const errors: string[] = [];
    const { connect, ws } = inRealm({ fetch: taken });
    const gateway = connect({
      url: 'https://gateway.test',
      key: 'mr_key',
      transports: [ws],
      hooks: { onError: (error) => errors.push(String(error)) },
    });
    await assert.rejects(gateway.subscribe('orders.*', () => undefined).ready, /no WebSocket here/);
    assert.match(String(errors[0]), /no WebSocket here: use sse/);
    const bodiless = { status: 200, ok: true, headers: new Headers(), body: null };
    const { connect: connectNative, sse } = inRealm({ fetch: async () => bodiless });
    const native = connectNative({ url: 'https://gateway.test', key: 'mr_key', transports: [sse] });
    await assert.rejects(native.subscribe('orders.*', () => undefined).ready, /fetch does not stream here: use ws/);
    const none = connectNative({ url: 'https://gateway.test', key: 'mr_key' });
    await assert.rejects(none.subscribe('orders.*', () => undefined).ready, /transports: \[ws, sse\]/);
  });
});

describe('a page', { timeout: 10_000 }, () => {
  test('holds no key', () => {
    const { connect } = inRealm({ document: new EventTarget() });
    assert.throws(() => connect({ url: 'https://gateway.test', key: 'mr_key' }), /anybody can read a key in a page/);
  });

  for (const sign of ['online', 'visibilitychange'])
    test(`that is ${sign === 'online' ? 'online again' : 'looked at again'} asks at once whether the connection is good`, async () => {
      // What a document tells bubbles up to its window.
      const [document, window] = [new EventTarget(), new EventTarget()];
      const listeners = {
        addEventListener: window.addEventListener.bind(window),
        removeEventListener: window.removeEventListener.bind(window),
      };
      const { connect } = inRealm({ document, ...listeners, fetch: taken });
      const server = handServer();
      const gateway = connect({ url: 'https://gateway.test', getToken: () => 't', transports: [server.transport] });
      void gateway.subscribe('orders.*', () => undefined);
      await settle();
      server.on.open();
      await settle();
      server.on.message('{"op":"welcome","session":"s","heartbeatMs":25000}');
      window.dispatchEvent(new Event(sign));
      await settle();
      assert.deepEqual(
        server.frames.map(({ op }) => op),
        ['hello', 'sub', 'ping'],
      );
      server.on.close(1006, '');
      window.dispatchEvent(new Event(sign));
      await settle();
      assert.equal(server.dials.length, 2, 'it did not wait');
      await gateway.close({ now: true });
      window.dispatchEvent(new Event(sign));
      await settle();
      assert.equal(server.dials.length, 2);
    });
});
