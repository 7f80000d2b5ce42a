/** A gateway on a port that stays its own, a cable to it, the backend of examples/8-browser, and pages in Chromium. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Browser } from 'playwright-core';
import { startChild } from '../../examples/test/child.ts';
import { type Ready, ready, type Running, startProcess } from '../../packages/gateway/test/process.ts';
import { freePort } from '../chaos/port.ts';
import { createRandom } from '../simulation/random.ts';
import { type Cable, layCable } from './cable.ts';
import { startChromium } from './chromium.ts';
import { type Desk, openDesk } from './desk.ts';

const BACKEND = join(import.meta.dirname, '..', '..', 'examples', '8-browser', 'backend.ts');
/** The shortest that there is: the gateway asks for another token after four fifths of it. */
const TTL = '30s';
/** Short, so that a silent network is noticed within seconds: that and ten more. */
const HEARTBEAT_MS = 2_000;

export interface Stage extends Pick<Ready, 'address' | 'key' | 'ask'> {
  readonly cable: Cable;
  readonly browser: Browser;
  /** Where the page is. */
  readonly page: string;
  /** A page with a group of its own. */
  open(transport: Desk['transport']): Promise<Desk>;
  /** Kills the gateway, and resolves when it takes requests again. */
  restart(): Promise<void>;
}

/** `path` is Chromium's, `data` the gateway's directory. */
export async function stage(t: TestContext, { path, data }: { readonly path: string; readonly data: string }): Promise<Stage> {
  const port = await freePort(createRandom(process.pid));
  const start = (): Running =>
    startProcess(t, `dev --json --no-sample --port ${port} --limit heartbeatMs=${HEARTBEAT_MS} --data`.split(' ').concat(data));
  let running = start();
  const { address, key, ask } = await ready(running);
  const cable = await layCable(t, port);
  const environment = { MILLRACE_URL: address, MILLRACE_PUBLIC_URL: cable.url, MILLRACE_KEY: await app(ask), PORT: '0', TTL };
  const backend = startChild(t, [process.execPath, BACKEND], environment);
  const [, page = ''] = await backend.printed(/open (\S+)\n/);
  await make(ask, 'PATCH /v1/apps/shop', { origins: [page] });
  const browser = await startChromium(t, path);
  return {
    address,
    key,
    ask,
    cable,
    browser,
    page,
    async open(transport) {
      const group = `desk-${transport}`;
      const members = { app: 'shop', topics: ['orders.*'], ordering: 'key', deliver: { stream: {} } };
      await make(ask, `PUT /v1/subscriptions/${group}`, members);
      return openDesk({ browser, address: page, transport, group });
    },
    async restart() {
      running.child.kill('SIGKILL');
      await running.ended;
      running = start();
      await ready(running);
    },
  };
}

/** The app with its topic; returns its key. */
async function app(ask: Ready['ask']): Promise<string> {
  await make(ask, 'PUT /v1/apps/shop', {});
  await make(ask, 'PUT /v1/topics/orders.created', {});
  return (await make(ask, 'POST /v1/apps/shop/keys', { scopes: ['publish', 'subscribe', 'manage'] })).key;
}

async function make(ask: Ready['ask'], route: string, body: object): Promise<{ readonly key: string }> {
  const { status, json } = await ask(route, body);
  assert.ok(status < 300, `${route}: ${JSON.stringify(json)}`);
  return json;
}
