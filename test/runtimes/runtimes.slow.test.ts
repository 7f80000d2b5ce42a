/** The SDK in Deno, Bun and Workers, as a real gateway serves it: publishing, subscribing both ways, signatures, and a receiver behind its own server. */
import assert from 'node:assert/strict';
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { startChild } from '../../examples/test/child.ts';
import { type Gateway, startGateway } from '../../examples/test/gateway.ts';
import { temporary } from '../../packages/gateway/test/process.ts';
import { bun, deno, workerd } from '../../scripts/runtimes/all.ts';
import { findRuntime } from '../../scripts/runtimes/find.ts';
import { startWorkerd } from './workerd.ts';

const SECRET = `whsec_${Buffer.from('thirty-two bytes of test secret!').toString('base64')}`;
const CHECKS = join(import.meta.dirname, 'checks.js');

/** Serves `/hooks` as a receiver; any other path runs all checks, and says what they showed. */
const HANDLER = (store: string): string => `
  import { checkAll } from './checks.js';
  import { memoryStore, receiver, sqliteStore } from './millrace.js';
  const makeStore = async () => ${store};
  let receive;
  export async function serve(request, { url, key, secret, name }, context) {
    if (new URL(request.url).pathname !== '/hooks') {
      return checkAll({ url, key, name }).then(
        (shown) => new Response('it all works: ' + shown),
        (error) => new Response(String(error?.stack ?? error), { status: 500 }),
      );
    }
    receive ??= receiver({
      secrets: [secret],
      store: await makeStore(),
      handle: (event) => console.log('received ' + event.type + ' ' + JSON.stringify(event.data)),
    });
    return receive(request, context);
  }
`;

const SERVERS = {
  deno: {
    store: `sqliteStore(new (await import('node:sqlite')).DatabaseSync(':memory:'))`,
    program: `
      import { serve } from './handler.js';
      const env = JSON.parse(Deno.env.get('CHECK'));
      const onListen = ({ port }) => console.log('listens on http://127.0.0.1:' + port);
      Deno.serve({ port: 0, hostname: '127.0.0.1', onListen }, (request) => serve(request, env));`,
    args: ['run', '--no-prompt', '--no-config', '--no-lock', '--allow-net=127.0.0.1', '--allow-env=CHECK'],
  },
  bun: {
    store: `sqliteStore(new (await import('bun:sqlite')).Database(':memory:'))`,
    program: `
      import { serve } from './handler.js';
      const env = JSON.parse(process.env.CHECK);
      const { port } = Bun.serve({ port: 0, hostname: '127.0.0.1', idleTimeout: 120, fetch: (request) => serve(request, env) });
      console.log('listens on http://127.0.0.1:' + port);`,
    args: ['run'],
  },
} as const;

/** A folder with the SDK of the gateway, the checks, and what serves them. */
async function folderFor(t: TestContext, { address }: Gateway, store: string, program?: string): Promise<string> {
  const folder = temporary(t);
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
  const served = await fetch(`${address}/sdk/millrace.js`);
  assert.equal(served.status, 200);
  writeFileSync(join(folder, 'millrace.js'), await served.text());
  copyFileSync(CHECKS, join(folder, 'checks.js'));
  writeFileSync(join(folder, 'handler.js'), HANDLER(store));
  if (program !== undefined) writeFileSync(join(folder, 'main.js'), program);
  return folder;
}

async function check(url: string): Promise<void> {
  const answer = await fetch(`${url}/check`);
  assert.match(await answer.text(), /^it all works: whse, whpk, sendEvent, \w+-ws, \w+-sse$/);
}

/** The gateway itself delivers to it. */
async function deliver(gateway: Gateway, url: string): Promise<void> {
  await gateway.subscribe('hook', { topics: ['orders.shipped'], deliver: { webhook: { url: `${url}/hooks`, secret: SECRET } } });
  const id = await gateway.publish({ type: 'orders.shipped', data: { name: 'Zoë' } });
  await gateway.delivery('hook', id, ({ outcome }) => outcome === 'delivered');
  const forged = { method: 'POST', headers: { 'webhook-id': 'a', 'webhook-timestamp': '1', 'webhook-signature': 'v1,AAAA' } };
  assert.equal((await fetch(`${url}/hooks`, forged)).status, 401);
}

async function declared(t: TestContext): Promise<Gateway> {
  const gateway = await startGateway(t);
  for (const topic of ['orders.created', 'orders.paid', 'orders.shipped']) await gateway.ask(`PUT /v1/topics/${topic}`, {});
  return gateway;
}

for (const runtime of [deno, bun]) {
  const { path, skip } = findRuntime(runtime);
  const name = runtime.name as keyof typeof SERVERS;
  describe(`the SDK in ${name}`, { timeout: 120_000, skip }, () => {
    test('publishes, subscribes over WebSocket and server-sent events, signs, verifies, and receives what is delivered', async (t) => {
      const gateway = await declared(t);
      const { store, program, args } = SERVERS[name];
      const folder = await folderFor(t, gateway, store, program);
      const CHECK = JSON.stringify({ url: gateway.address, key: gateway.key, secret: SECRET, name });
      // A home of its own, so that nothing of this machine's is read or left behind; and nothing calls home.
      const environment = { CHECK, HOME: folder, DENO_DIR: folder, DENO_NO_UPDATE_CHECK: '1', DO_NOT_TRACK: '1' };
      const child = startChild(t, [path, ...args, join(folder, 'main.js')], environment);
      const [, url = ''] = await child.printed(/listens on (\S+)\n/);
      await check(url);
      await deliver(gateway, url);
      await child.printed(/^received orders\.shipped \{"name":"Zoë"\}$/m);
    });
  });
}

const { path, skip } = findRuntime(workerd);

describe('the SDK in Workers', { timeout: 120_000, skip }, () => {
  test('publishes, subscribes over WebSocket and server-sent events, signs, verifies, and receives what is delivered', async (t) => {
    const gateway = await declared(t);
    const folder = await folderFor(t, gateway, 'memoryStore()');
    const code = `
      import { serve } from ${JSON.stringify(join(folder, 'handler.js'))};
      export default { fetch: (request, env, context) => serve(request, env, context) };`;
    const variables = { url: gateway.address, key: gateway.key, secret: SECRET, name: 'workers' };
    const { url } = await startWorkerd(t, { path, code, variables });
    await check(url);
    await deliver(gateway, url);
  });
});
