import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createMetrics, sumOf } from '../metrics.ts';
import { TELEMETRY, type TelemetryReport } from './report.ts';

const REPORT: TelemetryReport = {
  client: 'millrace-js/0.1.0',
  spanMs: 60_000,
  publishes: {
    count: 12,
    failed: 1,
    retried: 2,
    latencyMs: { le: TELEMETRY.le, counts: [1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 4] },
  },
  messages: { acked: 10, nacked: 1, lost: 3, handlerFailed: 2 },
  connects: 3,
};

/** The lines about clients, without what explains them. */
const linesOf = (text: string): string[] => text.split('\n').filter((line) => line.startsWith('millrace_client_'));

describe('what clients report', { timeout: 10_000 }, () => {
  test('is counted by app, the latencies as a histogram', async () => {
    const { telemetry, text } = createMetrics({ version: '0' });
    telemetry.add('default/shop', REPORT);
    telemetry.add('default/shop', { client: 'x/1', spanMs: 500 });
    telemetry.sampling(() => [['default/shop', 0.1]]);
    const app = 'app="default/shop"';
    const lines = linesOf(await text());
    for (const line of [
      `millrace_client_reports_total{${app}} 2`,
      `millrace_client_reported_seconds_total{${app}} 60.5`,
      `millrace_client_publishes_total{${app}} 12`,
      `millrace_client_publish_failures_total{${app}} 1`,
      `millrace_client_publish_retries_total{${app}} 2`,
      `millrace_client_connects_total{${app}} 3`,
      `millrace_client_messages_total{${app},outcome="acked"} 10`,
      `millrace_client_messages_total{${app},outcome="nacked"} 1`,
      `millrace_client_messages_total{${app},outcome="lost"} 3`,
      `millrace_client_messages_total{${app},outcome="handler_failed"} 2`,
      `millrace_client_telemetry_sample{${app}} 0.1`,
      `millrace_client_publish_duration_seconds_bucket{le="0.005",${app}} 1`,
      `millrace_client_publish_duration_seconds_bucket{le="0.025",${app}} 3`,
      `millrace_client_publish_duration_seconds_bucket{le="10",${app}} 3`,
      `millrace_client_publish_duration_seconds_bucket{le="+Inf",${app}} 7`,
      `millrace_client_publish_duration_seconds_count{${app}} 7`,
    ])
      assert.ok(lines.includes(line), `${line}\n${lines.join('\n')}`);
  });

  test('is added up over threads, the part that reports is not', async () => {
    const threads = [createMetrics({ version: '0' }), createMetrics({ version: '0' })];
    for (const { telemetry } of threads) {
      telemetry.add('default/shop', REPORT);
      telemetry.sampling(() => [['default/shop', 0.1]]);
    }
    const lines = linesOf(await sumOf(await Promise.all(threads.map((one) => one.samples()))).text());
    const has = (pattern: RegExp) =>
      assert.ok(
        lines.some((line) => pattern.test(line)),
        `${pattern}\n${lines.join('\n')}`,
      );
    has(/^millrace_client_publishes_total\{.*\} 24$/);
    has(/^millrace_client_publish_duration_seconds_bucket\{.*le="\+Inf".*\} 14$/);
    has(/^millrace_client_publish_duration_seconds_count\{.*\} 14$/);
    has(/^millrace_client_telemetry_sample\{.*\} 0\.1$/);
  });

  test('has series for so many apps and no more', async () => {
    const { telemetry, text } = createMetrics({ version: '0' });
    for (let at = 0; at < 600; at++) telemetry.add(`default/app-${at}`, REPORT);
    const lines = linesOf(await text()).filter((line) => line.startsWith('millrace_client_reports_total'));
    assert.equal(lines.length, 501);
    assert.ok(lines.includes('millrace_client_reports_total{app="other"} 100'));
  });
});
