/** Reports of clients as metrics, by app. Counted as they came: what of its clients an app has report is told beside it. */
import { Counter, Gauge, type Registry } from '@prometheus-io/client';
import { TELEMETRY, type TelemetryReport } from './report.ts';

export interface TelemetrySink {
  /** `app`: with its environment. */
  add(app: string, report: TelemetryReport): void;
  /** Asked at every scrape: the part of their clients that apps have report. */
  sampling(of: () => Iterable<readonly [app: string, sample: number]>): void;
}

interface Needs {
  readonly registry: Registry;
  /** Of so many apps; all others share one name. */
  readonly labels: (app: string) => string;
}

const APP = ['app'] as const;

export function createTelemetryMetrics({ registry, labels }: Needs): TelemetrySink {
  let sampled: () => Iterable<readonly [string, number]> = () => [];
  const registers = [registry];
  const counter = (name: string, help: string): Counter<'app'> =>
    new Counter({ name: `millrace_client_${name}_total`, help, labelNames: APP, registers });
  const reports = counter('reports', 'Reports of clients, by app.');
  const seconds = counter('reported_seconds', 'What they were about: time of clients.');
  const publishes = counter('publishes', 'Events that they published, or tried to.');
  const failures = counter('publish_failures', 'Of these, those that failed for good.');
  const retries = counter('publish_retries', 'Attempts after the first.');
  const connects = counter('connects', 'Connections that they made: all but the first of a client are reconnects.');
  const messages = new Counter({
    name: 'millrace_client_messages_total',
    help: 'Messages of subscriptions, by what became of them: acked, nacked, lost, handler_failed.',
    labelNames: [...APP, 'outcome'],
    registers,
  });
  const latencies = createCounted(registry);
  // oxlint-disable-next-line no-new -- it registers itself
  new Gauge({
    name: 'millrace_client_telemetry_sample',
    help: 'Which part of the clients of an app reports: what is counted above is of these.',
    labelNames: APP,
    aggregator: 'max',
    registers,
    collect() {
      this.reset();
      for (const [app, sample] of sampled()) this.set({ app: labels(app) }, sample);
    },
  });

  return {
    add(name, { spanMs, publishes: published = {}, messages: got = {}, connects: connected = 0 }) {
      const app = { app: labels(name) };
      reports.inc(app);
      seconds.inc(app, spanMs / 1_000);
      publishes.inc(app, published.count ?? 0);
      failures.inc(app, published.failed ?? 0);
      retries.inc(app, published.retried ?? 0);
      connects.inc(app, connected);
      messages.inc({ ...app, outcome: 'acked' }, got.acked ?? 0);
      messages.inc({ ...app, outcome: 'nacked' }, got.nacked ?? 0);
      messages.inc({ ...app, outcome: 'lost' }, got.lost ?? 0);
      messages.inc({ ...app, outcome: 'handler_failed' }, got.handlerFailed ?? 0);
      if (published.latencyMs !== undefined) latencies.add(app.app, published.latencyMs.counts);
    },
    sampling: (of) => void (sampled = of),
  };
}

const NAME = 'millrace_client_publish_duration_seconds';
const HELP = 'From the call to the receipt, as clients measured it. They tell how many within which bound: the sum is about.';

/** A histogram that is given counts: one of the library would have to be told each value, and clients do not tell them. */
function createCounted(registry: Registry): { add(app: string, counts: readonly number[]): void } {
  const byApp = new Map<string, number[]>();
  const bounds = TELEMETRY.le.map((ms) => ms / 1_000);
  /** Of what lies above the last one nothing more is known. */
  const middles = [...bounds.map((bound, at) => (bound + (bounds[at - 1] ?? 0)) / 2), bounds.at(-1) ?? 0];

  function valuesOf([app, counts]: readonly [string, readonly number[]]): object[] {
    let within = 0;
    const buckets = counts.map((count, at) => {
      within += count;
      return { metricName: `${NAME}_bucket`, labels: { le: bounds[at] ?? '+Inf', app }, value: within };
    });
    const sum = counts.reduce((all, count, at) => all + count * (middles[at] ?? 0), 0);
    return [
      ...buckets,
      { metricName: `${NAME}_sum`, labels: { app }, value: sum },
      { metricName: `${NAME}_count`, labels: { app }, value: within },
    ];
  }

  const metric = {
    name: NAME,
    help: HELP,
    type: 'histogram',
    aggregator: 'sum',
    get: async () => ({
      name: NAME,
      help: HELP,
      type: 'histogram',
      aggregator: 'sum',
      values: [...byApp].flatMap(valuesOf),
    }),
    reset: () => byApp.clear(),
  };
  // What the registry asks of one; its types know its own kinds alone.
  registry.registerMetric(metric as unknown as Parameters<Registry['registerMetric']>[0]);
  return {
    add(app, counts) {
      const all = byApp.getOrInsertComputed(app, () => counts.map(() => 0));
      for (const [at, count] of counts.entries()) all[at] = (all[at] ?? 0) + count;
    },
  };
}
