/**
 * The page of examples/8-browser in a real Chromium, with a real gateway, while the gateway is killed, tokens end and the network goes: over WebSocket
 * and over server-sent events. It prints where its screenshots are.
 */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { startChild } from '../../examples/test/child.ts';
import { type Ready, ready, type Running, startProcess, temporary } from '../../packages/gateway/test/process.ts';
import { chromium } from '../../scripts/runtimes/chromium.ts';
import { findRuntime } from '../../scripts/runtimes/find.ts';
import { freePort } from '../chaos/port.ts';
import { createRandom } from '../simulation/random.ts';
import { type Cable, layCable } from './cable.ts';
import { startChromium } from './chromium.ts';
import { type Counter, startCounter } from './counter.ts';
import { type Desk, openDesk } from './desk.ts';

const BACKEND = join(import.meta.dirname, '..', '..', 'examples', '8-browser', 'backend.ts');
const PICTURES = join(tmpdir(), 'millrace-screenshots');
const KILLS = 3;
/** The shortest that there is: the gateway asks for another token after four fifths of it. */
const TTL = '30s';
/** Short, so that a silent network is noticed within seconds: that and ten more. */
const HEARTBEAT_MS = 2_000;
const TRANSPORTS = ['ws', 'sse'] as const;

interface Stage {
  readonly desks: readonly Desk[];
  readonly counter: Counter;
  readonly cable: Cable;
  restart(): Promise<void>;
}

async function stage(t: TestContext, path: string): Promise<Stage> {
  const data = temporary(t);
  const port = await freePort(createRandom(process.pid));
  const start = (): Running =>
    startProcess(t, `dev --json --no-sample --port ${port} --limit heartbeatMs=${HEARTBEAT_MS} --data`.split(' ').concat(data));
  let running = start();
  const { address, key: admin, ask } = await ready(running);
  const cable = await layCable(t, port);
  const key = await app(ask);
  const environment = { MILLRACE_URL: address, MILLRACE_PUBLIC_URL: cable.url, MILLRACE_KEY: key, PORT: '0', TTL };
  const backend = startChild(t, [process.execPath, BACKEND], environment);
  const [, page = ''] = await backend.printed(/open (\S+)\n/);
  await make(ask, 'PATCH /v1/apps/shop', { origins: [page] });
  const browser = await startChromium(t, path);
  const desks = await Promise.all(
    TRANSPORTS.map(async (transport) => {
      const group = `desk-${transport}`;
      await make(ask, `PUT /v1/subscriptions/${group}`, { app: 'shop', topics: ['orders.*'], deliver: { stream: {} } });
      return openDesk({ browser, address: page, transport, group });
    }),
  );
  return {
    desks,
    cable,
    counter: startCounter(t, { url: address, key: admin }),
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

/** All that was published by now is here, in both subscriptions of both pages. */
async function caughtUp({ desks, counter }: Stage): Promise<void> {
  const published = new Map([[counter.source, counter.count], ...desks.flatMap((desk) => [...desk.published])]);
  for (const desk of desks)
    for (const book of [desk.seen, desk.worked])
      await desk.until(() => [...published].every(([source, count]) => book.upTo(source) >= count));
}

async function each(desks: readonly Desk[], work: (desk: Desk) => Promise<unknown>): Promise<void> {
  await Promise.all(desks.map(work));
}

const picture = (desks: readonly Desk[], name: string): Promise<void> =>
  each(desks, (desk) => desk.page.screenshot({ path: join(PICTURES, `${name}-${TRANSPORTS[desks.indexOf(desk)]}.png`) }));

/** How many of its own a page has published, by whatever name. */
const publishedBy = ({ published }: Desk): number => [...published.values()].reduce((sum, one) => sum + one, 0);

const { path, skip } = findRuntime(chromium);

describe('a page in Chromium', { timeout: 280_000, skip }, () => {
  test('loses nothing, and repeats nothing whose ack was confirmed, whatever happens to gateway, token and network', async (t) => {
    mkdirSync(PICTURES, { recursive: true });
    const all = await stage(t, path);
    const { desks, counter, cable } = all;

    // A token ends: another one is taken within the same connection.
    const before = desks.map(({ states }) => states.length);
    await each(desks, (desk) => desk.order('ten'));
    await each(desks, (desk) => desk.until(() => desk.authed > 0));
    assert.deepEqual(
      desks.map(({ states }) => states.length),
      before,
      'the connections were the same all the time',
    );
    await caughtUp(all);
    await picture(desks, '1-token-refreshed');

    // The gateway is killed, while all publish.
    for (let kill = 1; kill <= KILLS; kill++) {
      await each(desks, (desk) => desk.order('ten'));
      await all.restart();
      await each(desks, (desk) => desk.until(() => publishedBy(desk) === 10 + 10 * kill));
      await caughtUp(all);
    }

    // The network goes, and the browser knows it. What a page publishes waits; what others publish is there when it is back.
    cable.pull();
    await each(desks, ({ context }) => context.setOffline(true));
    await each(desks, (desk) => desk.order('ten'));
    await counter.reached(counter.count + 100);
    await picture(desks, '2-offline');
    cable.plugIn();
    await each(desks, ({ context }) => context.setOffline(false));
    await each(desks, (desk) => desk.until(() => publishedBy(desk) === 20 + 10 * KILLS));
    await caughtUp(all);

    // Nobody knows that the network is gone: only the silence tells.
    const told = desks.map(({ states }) => states.length);
    cable.pull();
    await each(desks, (desk) => desk.until(() => desk.states.length > (told[desks.indexOf(desk)] ?? 0)));
    for (const [at, { states }] of desks.entries()) assert.equal(states[told[at] ?? 0]?.state, 'waiting');
    cable.plugIn();
    await caughtUp(all);

    // The page is loaded anew, and goes on from where it was.
    const repeated = desks.map(({ seen }) => seen.repeats.length);
    assert.deepEqual(repeated, [0, 0], 'a subscription without a group repeats nothing while its page lives');
    await each(desks, (desk) => desk.load());
    await each(desks, (desk) => desk.order('one'));
    await each(desks, (desk) => desk.until(() => desk.published.get(desk.source) === 1));

    const count = await counter.stop();
    await caughtUp(all);
    await picture(desks, '3-after-all');
    console.log(`screenshots: ${PICTURES}`);
    for (const desk of desks) {
      assert.deepEqual([...desk.breaches, ...desk.seen.breaches, ...desk.worked.breaches], []);
      t.diagnostic(
        `${count} orders, ${desk.confirmed.size} acks confirmed, ${desk.authed} tokens in band, ${desk.worked.repeats.length} came again unconfirmed`,
      );
    }
  });
});
