/** What clients report of themselves: asked for by their app's setting, taken from keys, tokens and pages, and seen in the metrics. */
import assert from 'node:assert/strict';
import { describe, test, type TestContext } from 'node:test';
import { createHandClock } from '../../test/clock.ts';
import { type World, world } from '../../test/world.ts';
import { limitsOf } from '../limits.ts';
import { createMetrics } from '../metrics.ts';
import type { Clock } from '../ports/clock.ts';
import { systemClock } from '../system-clock.ts';
import { TELEMETRY } from '../telemetry/report.ts';

const COUNTS = [0, 3, 6, 2, 0, 0, 0, 0, 0, 0, 0, 1];
const REPORT = {
  client: 'millrace-js/0.1',
  spanMs: 60_000,
  publishes: { count: 12, failed: 1, retried: 2, latencyMs: { le: TELEMETRY.le, counts: COUNTS } },
  messages: { acked: 10, nacked: 1, lost: 0, handlerFailed: 1 },
  connects: 3,
};

interface Scene extends World {
  /** The line of /metrics that begins so. */
  metric(name: string): Promise<string | undefined>;
}

async function scene(t: TestContext, limits: Readonly<Record<string, number>> = {}, clock: Clock = systemClock): Promise<Scene> {
  const metrics = createMetrics({ version: '0' });
  const made = await world(t, { telemetry: metrics.telemetry, limits: limitsOf(limits), clock });
  return {
    ...made,
    metric: async (name) => (await metrics.text()).split('\n').find((line) => line.startsWith(name)),
  };
}

const sampled = ({ ask }: World, sample: number | null, app = 'shop') =>
  ask(`PATCH /v1/apps/${app}`, { json: { telemetry: sample === null ? null : { sample } } });

describe('/v1/telemetry', { timeout: 30_000 }, () => {
  test('says whether clients of the app are to report: none unless it is set', async (t) => {
    const made = await scene(t);
    const shop = await made.key('shop', ['publish']);
    const asked = async () => (await made.ask('GET /v1/telemetry', { key: shop })).json;
    assert.deepEqual(await asked(), { sample: 0, everyMs: 60_000 });
    assert.deepEqual((await sampled(made, 0.1)).json.telemetry, { sample: 0.1 });
    assert.deepEqual(await asked(), { sample: 0.1, everyMs: 60_000 });
    assert.deepEqual((await made.ask('GET /v1/telemetry')).json, { sample: 0, everyMs: 60_000 }, 'of its own app');
    assert.deepEqual((await made.ask('PUT /v1/apps/shop', { json: {} })).json.telemetry, { sample: 0.1 }, 'it stays');
    assert.equal((await sampled(made, null)).json.telemetry, undefined);
    assert.equal((await asked()).sample, 0);
    assert.equal((await made.ask('GET /v1/telemetry', { key: '' })).status, 401);
  });

  test('takes what they report into the metrics of their app, while it is on', async (t) => {
    const made = await scene(t);
    const shop = await made.key('shop', ['subscribe']);
    const report = () => made.ask('POST /v1/telemetry', { key: shop, json: REPORT });
    assert.deepEqual([(await report()).status, await made.metric('millrace_client_reports_total')], [204, undefined]);
    await sampled(made, 0.5);
    assert.equal((await report()).status, 204);
    assert.equal(await made.metric('millrace_client_publishes_total'), 'millrace_client_publishes_total{app="default/shop"} 12');
    assert.equal(
      await made.metric('millrace_client_telemetry_sample'),
      'millrace_client_telemetry_sample{app="default/shop"} 0.5',
    );
    await sampled(made, 0);
    assert.equal((await report()).status, 204);
    assert.equal(await made.metric('millrace_client_reports_total'), 'millrace_client_reports_total{app="default/shop"} 1');
    assert.equal(await made.metric('millrace_client_telemetry_sample'), undefined);
    // Nothing of what it calls itself becomes a series.
    assert.equal(await made.metric('millrace_client_reports_total{client'), undefined);
  });

  test('is there for tokens, and for pages of the app’s origins', async (t) => {
    const made = await scene(t);
    const origin = 'https://shop.example.com';
    await made.ask('PATCH /v1/apps/shop', { json: { origins: [origin], telemetry: { sample: 1 } } });
    const key = await made.key('shop', ['publish', 'subscribe', 'manage']);
    const { token } = (await made.ask('POST /v1/tokens', { key, json: { scopes: ['subscribe'], topics: ['orders.*'] } })).json;
    const asked = await made.ask('GET /v1/telemetry', { key: token, headers: { origin } });
    assert.deepEqual([asked.json.sample, asked.headers['access-control-allow-origin']], [1, origin]);
    const reported = await made.ask('POST /v1/telemetry', { key: token, json: REPORT, headers: { origin } });
    assert.deepEqual([reported.status, reported.headers['access-control-allow-origin']], [204, origin]);
    const preflight = await made.app.inject({
      method: 'OPTIONS',
      url: '/v1/telemetry',
      headers: {
        origin,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization,content-type',
      },
    });
    assert.deepEqual([preflight.statusCode, preflight.headers['access-control-allow-methods']], [204, 'GET, POST']);
    const evil = await made.ask('POST /v1/telemetry', { key: token, json: REPORT, headers: { origin: 'https://evil.example' } });
    assert.deepEqual([evil.status, evil.json.code], [403, 'origin_not_allowed']);
    assert.equal(await made.metric('millrace_client_reports_total'), 'millrace_client_reports_total{app="default/shop"} 1');
  });

  test('refuses what is no report, and numbers that nobody can have', async (t) => {
    const made = await scene(t);
    await sampled(made, 1, 'default');
    const { publishes, messages } = REPORT;
    const counts = (list: readonly unknown[]) => ({ publishes: { latencyMs: { le: TELEMETRY.le, counts: list } } });
    for (const [change, pointer] of [
      [{ client: undefined }, '/client'],
      [{ client: 'no version' }, '/client'],
      [{ client: `a/${'b'.repeat(49)}` }, '/client'],
      [{ spanMs: undefined }, '/spanMs'],
      [{ spanMs: 86_400_001 }, '/spanMs'],
      [{ publishes: { ...publishes, count: 1e18 } }, '/publishes/count'],
      [{ publishes: { ...publishes, count: -1 } }, '/publishes/count'],
      [{ publishes: { ...publishes, failed: 0.5 } }, '/publishes/failed'],
      [{ messages: { ...messages, acked: 1_000_001 } }, '/messages/acked'],
      [{ messages: { ...messages, users: ['u'] } }, '/messages/users'],
      [{ connects: '1' }, '/connects'],
      [{ publishes: { latencyMs: { le: [1, 2], counts: COUNTS } } }, '/publishes/latencyMs/le'],
      [counts(COUNTS.slice(1)), '/publishes/latencyMs/counts'],
      [counts([...COUNTS, 0]), '/publishes/latencyMs/counts'],
      [counts(COUNTS.with(11, 1e18)), '/publishes/latencyMs/counts/11'],
      [{ userAgent: 'x' }, '/userAgent'],
    ] as const) {
      const { status, json } = await made.ask('POST /v1/telemetry', { json: { ...REPORT, ...change } });
      assert.deepEqual([status, json.code, json.pointer], [400, 'invalid_request', pointer], JSON.stringify(change));
    }
    assert.equal(await made.metric('millrace_client_reports_total'), undefined);
    for (const sample of [-0.1, 1.1, '1']) {
      const { status, json } = await made.ask('PATCH /v1/apps/shop', { json: { telemetry: { sample } } });
      assert.deepEqual([status, json.pointer], [400, '/telemetry/sample'], String(sample));
    }
  });

  test('takes so many of an app and no more, and no fewer of another', async (t) => {
    const hand = createHandClock();
    const made = await scene(t, { telemetryPerSecond: 1 }, { ...systemClock, monotonic: hand.monotonic });
    await sampled(made, 1, 'shop');
    await sampled(made, 1, 'crm');
    const [shop, crm] = [await made.key('shop', ['publish']), await made.key('crm', ['publish'])];
    const report = (key: string) => made.ask('POST /v1/telemetry', { key, json: REPORT });
    const answers = await Promise.all(Array.from({ length: 8 }, () => report(shop)));
    assert.deepEqual(
      answers.map(({ status }) => status),
      [204, 204, 204, 204, 204, 429, 429, 429],
    );
    assert.deepEqual([answers[7]?.json.code, answers[7]?.headers['retry-after']], ['too_many_requests', '1']);
    assert.equal((await report(crm)).status, 204);
    hand.pass(1_000);
    assert.equal((await report(shop)).status, 204);
  });
});
