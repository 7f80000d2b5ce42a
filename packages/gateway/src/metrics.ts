/** What Prometheus reads at /metrics: counters of what happened since the start, gauges of what is the case now. */
import { Counter, Gauge, Histogram, Registry } from '@prometheus-io/client';
import { Problem } from '@millrace/core/problem';
import type { Gateway, Notice, SubscriptionState } from './api.ts';
import type { NodeWork } from './cluster/node.ts';
import { createTelemetryMetrics, type TelemetrySink } from './telemetry/telemetry-metrics.ts';

/** As they cross from one thread to another. */
export type Samples = Awaited<ReturnType<Registry['getMetricsAsJSON']>>;

export interface Metrics {
  readonly contentType: string;
  text(): Promise<string>;
  samples(): Promise<Samples>;
  notice(notice: Notice): void;
  /** What clients report. */
  readonly telemetry: TelemetrySink;
  /** Asked at every scrape: what sessions have not taken yet. */
  unsent(of: () => number): void;
  /** The same gateway, what is published through it counted. */
  counting(gateway: Gateway): Gateway;
}

/** Different subscriptions, topics, and apps, that have series of their own; all others share one called `other`. */
const LABELS_MAX = 500;
/** What strangers make up must not become series. No topic is called so. */
const OF_REFUSED = '';
/** Seconds. From a loopback's answer to the longest timeout there is: an answer of a minute must not end in +Inf alone. */
const ATTEMPT_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.25, 0.4, 0.6, 1, 1.5, 2.5, 5, 10, 20, 30, 60];

interface Needs {
  readonly version: string;
  /** Of a node of a cluster: what it works. */
  readonly node?: () => NodeWork | undefined;
}

export function createMetrics({ version, node }: Needs): Metrics {
  const registry = new Registry();
  const registers = [registry];
  const subscriptions = createLabels();
  const topics = createLabels();
  const telemetry = createTelemetryMetrics({ registry, labels: createLabels() });
  let states: () => Iterable<SubscriptionState> = () => [];
  let unsentBytes = (): number => 0;

  new Gauge({ name: 'millrace_build_info', help: 'Always 1.', labelNames: ['version'], aggregator: 'first', registers }).set(
    { version },
    1,
  );
  const events = new Counter({
    name: 'millrace_events_total',
    help: 'Events published, by what became of them: appended, duplicate, or the code they were refused with (then without a topic).',
    labelNames: ['topic', 'outcome'],
    registers,
  });
  const attempts = new Counter({
    name: 'millrace_delivery_attempts_total',
    help: 'Attempts of deliveries, by outcome (delivered, retry, dead) and cause.',
    labelNames: ['subscription', 'outcome', 'cause'],
    registers,
  });
  const durations = new Histogram({
    name: 'millrace_delivery_attempt_duration_seconds',
    help: 'From the request to the last byte of its answer.',
    labelNames: ['subscription'],
    buckets: ATTEMPT_BUCKETS,
    registers,
  });
  const notices = new Counter({
    name: 'millrace_notices_total',
    help: 'What an operator should know of, by kind.',
    labelNames: ['kind'],
    registers,
  });
  const rejects = new Counter({
    name: 'millrace_rejects_total',
    help: 'Messages of clients of the broker that could not be events, by topic and code, as this process came to them.',
    labelNames: ['topic', 'code'],
    registers,
  });
  const gauges = gaugesIn(registers);
  const nodeGauges = node === undefined ? undefined : nodeGaugesIn(registers);

  function collect(): void {
    for (const gauge of Object.values(gauges)) gauge.reset();
    for (const state of states()) {
      const labels = { subscription: subscriptions(`${state.environment}/${state.id}`) };
      gauges.parked.inc(labels, state.parked);
      gauges.deadLetters.inc(labels, state.deadLetters);
      gauges.inFlight.inc(labels, state.inFlight);
      gauges.breakerOpen.inc(labels, state.breaker === 'open' ? 1 : 0);
      gauges.standing.inc(labels, state.state !== 'active' || state.stoppedBy !== undefined ? 1 : 0);
    }
    const { heapUsed, rss } = process.memoryUsage();
    gauges.heap.set(heapUsed);
    gauges.resident.set(rss);
    gauges.unsent.set(unsentBytes());
    const work = node?.();
    nodeGauges?.slots.set(work?.slots ?? 0);
    nodeGauges?.load.set(work?.load ?? 0);
  }

  return {
    contentType: registry.contentType,
    text() {
      collect();
      return registry.metrics();
    },
    samples() {
      collect();
      return registry.getMetricsAsJSON();
    },
    notice(notice) {
      if (notice.kind === 'rejected') rejects.inc({ topic: topics(notice.topic), code: notice.code });
      if (!('eventId' in notice)) return notices.inc({ kind: notice.kind });
      const subscription = subscriptions(`${notice.environment}/${notice.subscription}`);
      attempts.inc({ subscription, outcome: notice.kind, cause: notice.cause });
      durations.observe({ subscription }, notice.durationMs / 1_000);
    },
    telemetry,
    unsent: (of) => void (unsentBytes = of),
    counting(gateway) {
      states = gateway.states;
      return {
        ...gateway,
        async publish(request) {
          try {
            const published = await gateway.publish(request);
            for (const [at, one] of published.entries()) {
              if (one.status === 'refused') events.inc({ topic: OF_REFUSED, outcome: one.problem.code });
              else events.inc({ topic: topics(request.events[at]?.type ?? ''), outcome: one.status });
            }
            return published;
          } catch (error) {
            const outcome = error instanceof Problem ? error.code : 'internal_error';
            events.inc({ topic: OF_REFUSED, outcome }, request.events.length);
            throw error;
          }
        },
      };
    },
  };
}

function nodeGaugesIn(registers: Registry[]) {
  return {
    slots: new Gauge({ name: 'millrace_slots', help: 'Slots of the cluster that this node works, of 128.', registers }),
    load: new Gauge({
      name: 'millrace_load',
      help: 'Deliveries that this node begins in a second, over about a minute: what slots are moved by.',
      registers,
    }),
  };
}

function gaugesIn(registers: Registry[]) {
  const gauge = (name: string, help: string): Gauge<'subscription'> =>
    new Gauge({ name, help, labelNames: ['subscription'], registers });
  const plain = (name: string, help: string, aggregator: 'sum' | 'max' = 'sum'): Gauge =>
    new Gauge({ name, help, aggregator, registers });
  return {
    parked: gauge('millrace_parked_deliveries', 'Deliveries that wait for their next attempt.'),
    deadLetters: gauge('millrace_dead_letters', 'Deliveries given up and not yet decided on.'),
    inFlight: gauge('millrace_deliveries_in_flight', 'Requests under way.'),
    breakerOpen: gauge('millrace_breaker_open', '1 while the endpoint is taken to be down.'),
    standing: gauge('millrace_subscription_standing', '1 while it is paused, disabled, or stands at a bound.'),
    heap: plain('millrace_heap_bytes', 'Heap of JavaScript in use.'),
    resident: plain('millrace_resident_bytes', 'Memory of the process.', 'max'),
    unsent: plain('millrace_sessions_unsent_bytes', 'What realtime sessions have been given and not taken yet.'),
  };
}

function createLabels(): (name: string) => string {
  const known = new Set<string>();
  return (name) => {
    if (known.has(name)) return name;
    if (known.size >= LABELS_MAX) return 'other';
    known.add(name);
    return name;
  };
}

/** Those of several threads, summed. */
export function sumOf(all: readonly Samples[]): { text(): Promise<string>; counted(): Promise<Samples> } {
  const registry = Registry.aggregate(all as Parameters<typeof Registry.aggregate>[0]);
  return {
    text: () => registry.metrics(),
    /** Counters go on where a thread that counted has ended; what was the case in it is not any more. */
    async counted() {
      const samples = await registry.getMetricsAsJSON();
      return samples.filter(({ type }) => ['counter', 'histogram'].includes(type));
    },
  };
}
