/**
 * The SDK as a real gateway serves it, in a realm with no more than React Native and poor webviews have: no crypto, no EventSource, no BroadcastChannel, no
 * document; answers of fetch without a body that streams, blobs that can't be read, no events of the global object.
 */
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import vm from 'node:vm';
import { transform } from 'esbuild';
import { WebSocket } from 'ws';
import { realtime } from '../../packages/gateway/src/realtime/test/client.ts';
import type * as Millrace from '../../sdk/js/millrace.ts';
import { collected } from '../../sdk/js/test/collected.ts';

/** Modules are what React Native's bundler takes; what it runs is a script. */
async function scriptFrom(origin: string): Promise<string> {
  const served = await fetch(`${origin}/sdk/millrace.js`);
  assert.equal(served.status, 200);
  const { code } = await transform(await served.text(), { format: 'iife', globalName: 'millrace', target: 'es2022' });
  return code;
}

/** Of blobs it makes one can only say how large they are. */
class PoorBlob {
  readonly size: number;

  constructor(parts: readonly (string | Uint8Array)[] = []) {
    this.size = parts.reduce((sum, { length }) => sum + length, 0);
  }
}

/** Answers come whole: there is `text()` and no `body`. */
async function poorFetch(url: string, init?: RequestInit): Promise<object> {
  const answer = await fetch(url, init);
  const { ok, status, headers } = answer;
  const isStream = headers.get('content-type')?.startsWith('text/event-stream') === true;
  const text = isStream ? '' : await answer.text();
  if (isStream) await answer.body?.cancel();
  return { ok, status, headers, text: async () => text, json: async () => JSON.parse(text) };
}

function nativeRealm(script: string): typeof Millrace {
  const globals = {
    setTimeout,
    clearTimeout,
    performance,
    AbortController,
    TextEncoder,
    TextDecoder,
    Headers,
    atob,
    btoa,
    console,
  };
  const realm = vm.createContext({ ...globals, Blob: PoorBlob, fetch: poorFetch, WebSocket });
  vm.runInContext('globalThis.self = globalThis.window = globalThis', realm);
  vm.runInContext(script, realm);
  return realm['millrace'] as typeof Millrace;
}

async function stage(t: TestContext, transports: (millrace: typeof Millrace) => Millrace.Transport[]) {
  const door = await realtime(t);
  const millrace = nativeRealm(await scriptFrom(door.app.listeningOrigin));
  const errors = collected<unknown>();
  const gateway = millrace.connect({
    url: door.app.listeningOrigin,
    getToken: async () => door.key('shop', ['publish', 'subscribe', 'manage']),
    transports: transports(millrace),
    hooks: { onError: errors.add },
  });
  t.after(() => gateway.close({ now: true }));
  return { door, gateway, millrace, errors };
}

describe('the SDK in React Native', { timeout: 30_000 }, () => {
  for (const order of ['ws', 'sse, ws'] as const)
    test(`publishes and subscribes, given ${order}`, async (t) => {
      const { gateway, errors } = await stage(t, ({ ws, sse }) => (order === 'ws' ? [ws] : [sse, ws]));
      const [seen, worked] = [collected<unknown>(), collected<unknown>()];
      await Promise.all([
        gateway.subscribe('orders.created', ({ data }) => seen.add(data)).ready,
        gateway.subscribe('orders.created', ({ data }) => worked.add(data), { group: 'native', from: 'latest' }).ready,
      ]);
      for (const data of [1, 2]) assert.equal((await gateway.sendEvent({ type: 'orders.created', data })).duplicate, false);
      assert.deepEqual(await seen.first(2), [1, 2]);
      assert.deepEqual(new Set(await worked.first(2)), new Set([1, 2]));
      assert.deepEqual(
        errors.all.map(String),
        order === 'ws' ? [] : ['GatewayError: GatewayError: fetch does not stream here: use ws'],
        'what it lacks is told, and the next is taken',
      );
    });
});
