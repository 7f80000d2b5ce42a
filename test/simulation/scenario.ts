/** What one seed is about: bounds, faults, topics, disasters. Small bounds, so that hard situations arise in seconds. */
import type { SubscriptionSpec, From } from '@millrace/gateway/api';
import type { Limits } from '@millrace/gateway/limits';
import type { LatencyClass } from '@millrace/gateway/ports/directory';
import type { Random } from './random.ts';
import type { WorkloadFilter } from './oracle/matching.ts';

export interface Scenario {
  readonly shards: number;
  /** A shard that is discovered only in the middle. */
  readonly lateShard: boolean;
  readonly limits: Partial<Limits>;
  readonly topics: readonly TopicPlan[];
  readonly publishMs: number;
  readonly operateMs: number;
  readonly moodMs: number;
  readonly poisonRate: number;
  readonly faultRate: number;
  readonly latencyMs: number;
  readonly clockJumps: boolean;
  readonly crashes: readonly Crash[];
  readonly subscriptions: number;
  /** Undefined: one process has all to itself. */
  readonly cluster?: ClusterPlan;
}

export interface ClusterPlan {
  readonly nodes: number;
  readonly leaseMs: number;
  /** How far the wall clocks of nodes are from the world's, either way. */
  readonly skewMs: number;
  /** Mean time between two things that befall a node or the network. */
  readonly troubleMs: number;
}

export interface TopicPlan {
  readonly environment: string;
  readonly topic: string;
  readonly retentionMs: number;
  readonly latency: LatencyClass;
  /** The publisher leaves the key to the topic's key path. */
  readonly keyPath: boolean;
}

export interface Crash {
  readonly step: number;
  readonly downMs: number;
  /** What befalls the durable state while the gateway is down. */
  readonly disaster: 'none' | 'older-ledger' | 'recreated-log' | 'lost-tail';
  /** Stops in order instead of crashing. */
  readonly graceful: boolean;
}

export const APPS = ['shop', 'crm', 'billing'] as const;
export const KEYS = ['k0', 'k1', 'k2', 'k3', 'k4'] as const;
export const KINDS = ['a', 'b', 'c'] as const;
const TOPICS = ['orders.created', 'orders.paid', 'users.changed', 'audit.log'] as const;
const DAY_MS = 86_400_000;
/** Of all seeds. */
const CLUSTERS = 0.3;

export function createScenario(random: Random, steps: number): Scenario {
  const shards = random.pick([1, 2, 2, 3, 3]);
  return {
    shards,
    lateShard: shards > 1 && random.chance(0.3),
    limits: limitsOf(random),
    topics: topicsOf(random),
    publishMs: random.between(30, 120),
    operateMs: random.between(300, 900),
    moodMs: random.between(1_500, 6_000),
    poisonRate: random.pick([0, 0.3]),
    faultRate: random.pick([0, 0.02, 0.05]),
    latencyMs: random.pick([0.5, 2, 8]),
    clockJumps: random.chance(0.4),
    crashes: crashesOf(random, steps),
    subscriptions: random.int(3, 5),
    ...clusterOf(random.fork('cluster')),
  };
}

/** Of its own, so that seeds of one process go on meaning what they meant. */
function clusterOf(random: Random): Pick<Scenario, 'cluster'> {
  if (!random.chance(CLUSTERS)) return {};
  return {
    cluster: {
      nodes: random.pick([2, 2, 3]),
      leaseMs: random.pick([300, 600, 1_500]),
      skewMs: random.pick([0, 0, 2_000, 90_000]),
      troubleMs: random.between(500, 2_500),
    },
  };
}

function limitsOf(random: Random): Partial<Limits> {
  const drawn = drawnLimits(random);
  // Not drawn themselves: a seed goes on meaning what it meant.
  return { ...drawn, hurriedStarts: drawn.inFlight >> 2, hurriedEvents: Math.min(drawn.appendEvents, 32), hurryMs: drawn.openMs };
}

function drawnLimits(random: Random) {
  return {
    ringBytes: random.pick([1_000, 3_000, 12_000, 1_000_000]),
    catchUpReaders: random.pick([1, 2, 4]),
    pageRecords: random.pick([2, 5, 20]),
    pageBytes: random.pick([800, 4_000, 100_000]),
    inFlight: random.pick([4, 8, 8, 32]),
    windowRecords: random.pick([2, 4, 4, 16]),
    windowBytes: random.pick([1_000, 5_000, 100_000]),
    unrecorded: random.pick([6, 20, 1_000]),
    commitRows: random.pick([2, 6, 30, 1_000]),
    checkpointMs: random.int(40, 400),
    openMs: random.int(100, 900),
    keepBytesMs: random.pick([100, 1_000, 3_600_000]),
    dueRows: random.pick([1, 3, 16]),
    probeMs: random.int(300, 1_500),
    probeRecords: random.pick([1, 4, 16]),
    slowDownMs: random.pick([400, 3_000]),
    retentionMs: random.int(200, 1_500),
    dedupeWindowMs: random.pick([2_000, 20_000, 600_000]),
    appendEvents: random.pick([1, 3, 100]),
    drainMs: random.int(200, 2_000),
  };
}

function topicsOf(random: Random): readonly TopicPlan[] {
  const short = random.chance(0.6);
  return ['default', 'staging'].flatMap((environment) =>
    TOPICS.map((topic) => ({
      environment,
      topic,
      retentionMs: short && random.chance(0.6) ? random.int(1_500, 8_000) : 7 * DAY_MS,
      latency: random.pick<LatencyClass>(['interactive', 'standard', 'bulk']),
      keyPath: topic === 'users.changed',
    })),
  );
}

function crashesOf(random: Random, steps: number): readonly Crash[] {
  const count = random.int(2, 4);
  return Array.from({ length: count }, (_, at) => ({
    step: Math.floor((steps * (at + random.between(0.4, 1))) / (count + 0.3)),
    downMs: random.pick([0, 20, 300, 2_500]),
    disaster: random.chance(0.78) ? ('none' as const) : random.pick(['older-ledger', 'recreated-log', 'lost-tail'] as const),
    // Two real crashes at least.
    graceful: at >= 2 && random.chance(0.4),
  }));
}

/** A new subscription at an endpoint of its own. */
export function specOf(random: Random, url: string): SubscriptionSpec {
  const tight = random.chance(0.3);
  return {
    app: random.pick(APPS),
    topics: topicsFor(random),
    ...(random.chance(0.35) ? { filter: filterFor(random) } : {}),
    deliver: {
      webhook: {
        url,
        timeoutMs: random.int(1_000, 2_500),
        body: random.pick(['data', 'data', 'event']),
        signature: random.pick(['standard', 'simple']),
      },
    },
    retry: { schedule: scheduleFor(random), jitter: random.pick([0, 0.2]) },
    ordering: random.pick(['key', 'key', 'none']),
    onDead: random.pick(['release', 'release', 'hold']),
    concurrency: random.pick([1, 2, 4, 8]),
    ...(random.chance(0.25) ? { ratePerSecond: random.pick([5, 20, 50]) } : {}),
    breaker: random.chance(0.2) ? false : { failures: random.pick([2, 3]), events: random.pick([3, 5, 10]) },
    ...(tight
      ? {
          bounds: {
            parked: random.pick([3, 5, 100]),
            held: random.pick([3, 5, 100]),
            deadLetters: random.pick([2, 3, 100]),
            parkedBytes: random.pick([1_000_000, 50_000_000]),
          },
        }
      : {}),
    from: fromFor(random),
  };
}

export function fromFor(random: Random): From {
  return random.pick<From>(['latest', 'latest', 'earliest']);
}

export function topicsFor(random: Random): readonly string[] {
  return random.pick<readonly string[]>([
    ['orders.*'],
    ['>'],
    ['orders.created', 'users.changed'],
    ['users.>', 'audit.log'],
    ['*.paid', 'orders.created'],
  ]);
}

export function scheduleFor(random: Random): readonly number[] {
  return Array.from({ length: random.int(0, 4) }, () => random.int(20, 1_200));
}

export function filterFor(random: Random): WorkloadFilter {
  return random.pick<WorkloadFilter>([
    { data: { kind: [random.pick(KINDS)] } },
    { data: { kind: ['a', 'b'] } },
    { data: { amount: [{ numeric: ['>', random.int(2, 6)] }] } },
    { type: ['orders.created', 'users.changed'] },
    { type: ['orders.created'], data: { kind: ['a', 'c'] } },
  ]);
}
