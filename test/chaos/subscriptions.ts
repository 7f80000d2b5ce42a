/** Who gets what, and how well its endpoint behaves. */
import type { Random } from '../simulation/random.ts';
import type { Published } from './book.ts';

export const TOPICS = { orders: 'chaos.orders', parcels: 'chaos.parcels', slow: 'chaos.slow' } as const;

export interface Answer {
  /** `reset`: the connection is cut instead. */
  readonly status: number | 'reset';
  readonly delayMs: number;
}

export interface Situation {
  readonly random: Random;
  readonly life: number;
  /** Outages are over: what is owed is to arrive now. */
  readonly calm: boolean;
}

export interface Spec {
  readonly id: string;
  readonly topics: readonly string[];
  /** What `topics` says, in words of this file. */
  readonly wants: (topic: string) => boolean;
  readonly ordered: boolean;
  readonly concurrency: number;
  readonly schedule: readonly string[];
  /** Whether it ever refuses: one that never does has no dead letters. */
  readonly fails: boolean;
  readonly answer: (event: Published, situation: Situation) => Answer;
}

/** Of the first keys of every publisher deliveries often fail, so that at any instant some keys wait for their head. */
export const FAILING_KEYS = 8;
const isFailingKey = (key: string | undefined): boolean => /-k[0-7]$/.test(key ?? '');
/** Of these events every delivery fails where an endpoint fails at all: they end as dead letters. */
const isPoison = ({ n }: Published): boolean => n % 499 === 250;

const OK = { status: 204, delayMs: 0 } as const;
const FAILS = { status: 500, delayMs: 0 } as const;

export const SPECS: readonly Spec[] = [
  {
    id: 'plain',
    topics: ['chaos.*'],
    wants: () => true,
    ordered: false,
    concurrency: 16,
    schedule: ['200ms', '1s', '1s'],
    fails: false,
    answer: () => OK,
  },
  {
    id: 'ordered',
    topics: [TOPICS.orders, TOPICS.parcels],
    wants: (topic) => topic !== TOPICS.slow,
    ordered: true,
    concurrency: 32,
    schedule: ['50ms', '100ms', '200ms', '400ms', '400ms'],
    fails: true,
    answer(event, { random }) {
      const fails = isPoison(event) || (isFailingKey(event.key) && random.chance(0.4));
      return { status: fails ? 500 : 204, delayMs: random.int(0, 3) };
    },
  },
  {
    id: 'slow',
    topics: [TOPICS.slow],
    wants: (topic) => topic === TOPICS.slow,
    ordered: false,
    concurrency: 64,
    schedule: ['200ms', '1s', '1s'],
    fails: false,
    answer: (_, { random }) => ({ status: 200, delayMs: random.int(50, 400) }),
  },
  {
    id: 'flaky',
    topics: ['chaos.*'],
    wants: () => true,
    ordered: false,
    concurrency: 16,
    schedule: ['50ms', '200ms', '500ms', '1s', '1s', '1s'],
    fails: true,
    answer(event, { random }) {
      if (isPoison(event)) return FAILS;
      if (random.chance(0.3)) return { status: random.chance(0.2) ? 'reset' : 500, delayMs: random.int(0, 2) };
      return OK;
    },
  },
  {
    // Down for a whole life of the gateway now and then: its breaker opens, and is forgotten at the kill.
    id: 'outage',
    topics: [TOPICS.parcels],
    wants: (topic) => topic === TOPICS.parcels,
    ordered: false,
    concurrency: 16,
    schedule: ['100ms', '300ms', '1s', '1s', '1s', '1s', '1s', '1s'],
    fails: true,
    answer: (_, { life, calm }) => (life % 4 === 3 && !calm ? { status: 503, delayMs: 0 } : OK),
  },
];

/** What can be in flight at once. */
export function concurrencyOf(specs: readonly Spec[]): number {
  return specs.reduce((sum, { concurrency }) => sum + concurrency, 0);
}

/** The body of `PUT /v1/subscriptions/{id}`. */
export function settingsOf({ topics, ordered, concurrency, schedule }: Spec, url: string): object {
  return {
    topics,
    deliver: { webhook: { url } },
    retry: { schedule, jitter: 0.2 },
    ordering: ordered ? 'key' : 'none',
    concurrency,
  };
}
