/** What a client tells its own gateway of itself, with a real gateway that wants to know it, or does not. */
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { createMetrics } from '../../packages/gateway/src/metrics.ts';
import type { TelemetryReport } from '../../packages/gateway/src/telemetry/report.ts';
import { world } from '../../packages/gateway/test/world.ts';
import { connect, type ConnectOptions, type GatewayError, type Message, type State, telemetry, ws } from './millrace.ts';
import { bundled } from './test/bundled.ts';
import { collected } from './test/collected.ts';

const HOUR_MS = 3_600_000;
const EVENT = { type: 'orders.created', data: 1 };

interface Told {
  readonly app: string;
  readonly report: TelemetryReport;
}

async function stage(t: TestContext, sample?: number, options: Partial<ConnectOptions> = {}) {
  const metrics = createMetrics({ version: '0' });
  const reports = collected<Told>();
  const made = await world(t, {
    telemetry: {
      ...metrics.telemetry,
      add(app, report) {
        metrics.telemetry.add(app, report);
        reports.add({ app, report });
      },
    },
  });
  await made.app.listen({ host: '127.0.0.1', port: 0 });
  const { listeningOrigin: url } = made.app;
  const want = async (part: number): Promise<void> => {
    const { status } = await made.ask('PATCH /v1/apps/shop', { json: { telemetry: { sample: part } } });
    assert.equal(status, 200);
  };
  if (sample !== undefined) await want(sample);

  /** What was answered, or was not to be. */
  const calls = collected<string>();
  /** What the network does to a call, before the gateway is asked. */
  const network = { faults: (_path: string): Response | Promise<Response> | undefined => undefined };
  let passedMs = 0;
  const states = collected<State>();
  const errors: unknown[] = [];
  const cuts = collected<() => void>();
  const gateway = connect({
    url,
    key: await made.key('shop', ['publish', 'subscribe', 'manage']),
    transports: [
      (dial) => {
        const line = ws(dial);
        cuts.add(() => {
          line.close(1000, '');
          dial.on.close(1006, '');
        });
        return line;
      },
    ],
    telemetry,
    clock: {
      nowMs: () => performance.now() + passedMs,
      wallMs: Date.now,
      random: () => 0.5,
      after(delayMs, work) {
        const timer = setTimeout(work, delayMs).unref(); // real time: the client's own waits
        return () => clearTimeout(timer);
      },
    },
    hooks: { onState: states.add, onError: (error) => errors.push(error) },
    fetch: async (to, init) => {
      const { origin, pathname } = new URL(to as string);
      assert.equal(origin, url, 'it talks to nobody else');
      let answer = network.faults(pathname);
      if (answer === undefined) {
        const real = await fetch(to, init);
        answer = new Response((await real.text()) || null, real);
      }
      calls.add(`${init?.method} ${pathname}`);
      return answer;
    },
    ...options,
  });
  t.after(() => gateway.close({ now: true }));
  return {
    gateway,
    want,
    reports,
    calls,
    network,
    states,
    errors,
    cut: async (nth: number) => (await cuts.first(nth)).at(-1)?.(),
    passes: (ms: number) => void (passedMs += ms),
    metric: async (name: string) => (await metrics.text()).split('\n').find((line) => line.startsWith(name)),
  };
}

const isOfTelemetry = (call: string): boolean => call.endsWith('/v1/telemetry');
const sum = (counts: readonly number[] = []): number => counts.reduce((all, one) => all + one, 0);

describe('telemetry', { timeout: 30_000 }, () => {
  test('is off unless the gateway switches it on for the app, and then tells of what comes after that', async (t) => {
    const { gateway, want, reports, calls, passes } = await stage(t);
    await gateway.sendEvent(EVENT);
    await calls.first(2);
    passes(HOUR_MS / 2);
    for (let n = 0; n < 3; n++) await gateway.sendEvent(EVENT);
    await want(1);
    passes(HOUR_MS / 2);
    // Asks again with this one; what was counted while nobody wanted it is not told.
    await gateway.sendEvent(EVENT);
    const [{ report }] = (await reports.first(1)) as [Told];
    assert.equal(report.publishes?.count, 3);
    assert.deepEqual(calls.all.filter(isOfTelemetry), ['GET /v1/telemetry', 'GET /v1/telemetry']);
  });

  test('tells how publishing, messages and connections went, to the metrics of the app', async (t) => {
    const { gateway, reports, network, states, cut, metric, errors } = await stage(t, 1);
    const held = collected<Message>();
    const outcomes = collected<string>();
    const subscription = gateway.subscribe(
      'orders.created',
      async (event, message) => {
        if (event.data === 'throws' && message.attempt === 1) {
          await message.nack({ dead: true });
          outcomes.add('nacked');
          throw new Error('not now');
        }
        if (event.data === 'held' && message.attempt === 1) return held.add(message);
        await message.ack();
        await message.ack(); // twice is once
        return outcomes.add(`acked ${String(event.data)}`);
      },
      { group: 'g', ack: 'manual', concurrency: 4 },
    );
    await subscription.ready;
    await gateway.sendEvent({ ...EVENT, data: 'plain' });
    await outcomes.first(1);
    await gateway.sendEvent({ ...EVENT, data: 'held' });
    const [message] = await held.first(1);
    let isAway = true;
    network.faults = (path) => {
      if (path !== '/v1/events' || !isAway) return undefined;
      isAway = false;
      return Promise.reject(new TypeError('fetch failed'));
    };
    await gateway.sendEvents([{ ...EVENT, data: 'throws' }, { type: 'orders.unknown' }]);
    await assert.rejects(gateway.sendEvent({ type: 'orders.unknown' }));
    await outcomes.first(2);
    const count = states.all.length;
    await cut(1);
    await assert.rejects((message as Message).ack(), ({ code }: GatewayError) => code === 'connection_lost');
    gateway.wake();
    await states.first(count + 3);
    assert.deepEqual(outcomes.all, ['acked plain', 'nacked']);
    await gateway.close();
    const [{ app, report }] = (await reports.first(1)) as [Told];
    assert.equal(app, 'default/shop');
    const { publishes, ...rest } = report;
    assert.deepEqual([publishes?.count, publishes?.failed, publishes?.retried], [5, 2, 1]);
    assert.equal(sum(publishes?.latencyMs?.counts), 5);
    assert.match(rest.client, /^millrace-js\/\d/);
    assert.ok(Number.isInteger(rest.spanMs) && rest.spanMs > 0);
    assert.deepEqual([rest.messages, rest.connects], [{ acked: 1, nacked: 1, lost: 1, handlerFailed: 1 }, 2]);
    assert.equal(await metric('millrace_client_publishes_total'), 'millrace_client_publishes_total{app="default/shop"} 5');
    assert.equal(await metric('millrace_client_connects_total'), 'millrace_client_connects_total{app="default/shop"} 2');
    assert.deepEqual(
      errors.map(String).filter((text) => !text.includes('not now')),
      [],
    );
  });

  test('is of the share of clients that the gateway asked for: each draws once', async (t) => {
    const { gateway, want, reports, calls, passes } = await stage(t, 0.5);
    await gateway.sendEvent(EVENT);
    await calls.first(2);
    for (let minute = 0; minute < 3; minute++) {
      passes(60_001);
      await gateway.sendEvent(EVENT);
    }
    await want(0.51);
    passes(HOUR_MS);
    await gateway.sendEvent(EVENT);
    await reports.first(1);
    assert.deepEqual(calls.all.filter(isOfTelemetry), ['GET /v1/telemetry', 'GET /v1/telemetry']);
  });

  test('breaks nothing when it fails, and tells later what went wrong meanwhile', async (t) => {
    const { gateway, reports, network, calls, passes, errors } = await stage(t, 1);
    let count = 0;
    const publish = async (): Promise<void> => {
      await gateway.sendEvent(EVENT);
      await calls.first((count += 2));
    };
    const failing: (() => Response | Promise<Response>)[] = [
      () => new Response('<html>log in</html>'),
      () => Promise.reject(new TypeError('fetch failed')),
      () => new Response(null, { status: 503 }),
      () => new Promise(() => undefined),
    ];
    for (const fault of failing) {
      network.faults = (path) => (path === '/v1/telemetry' ? fault() : undefined);
      await publish();
      passes(HOUR_MS);
    }
    network.faults = () => undefined;
    await gateway.sendEvent(EVENT);
    const [first] = (await reports.first(1)) as [Told];
    assert.equal(first.report.publishes?.count, 5, 'none of them is forgotten');
    count += 3; // it asked, and told it at once
    for (const fault of failing.slice(0, 3)) {
      passes(60_001);
      network.faults = (path) => (path === '/v1/telemetry' ? fault() : undefined);
      await publish();
    }
    network.faults = () => undefined;
    passes(60_001);
    await gateway.sendEvent(EVENT);
    const [, second] = (await reports.first(2)) as [Told, Told];
    assert.deepEqual([second.report.publishes?.count, second.report.spanMs >= 240_000, errors], [4, true, []]);
  });

  test('does not keep a client from its end', async (t) => {
    const { gateway, network, calls } = await stage(t, 1);
    await gateway.sendEvent(EVENT);
    network.faults = () => new Promise(() => undefined);
    await gateway.close();
    await calls.first(2);
  });

  test('is not shipped where it is not imported', async () => {
    const without = await bundled('esm', 'connect, ws');
    const within = await bundled('esm', 'connect, ws, telemetry');
    assert.ok(within.includes('/v1/telemetry') && !without.includes('telemetry"'));
  });
});
