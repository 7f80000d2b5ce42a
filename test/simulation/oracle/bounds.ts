/** Promise 5: what a subscription and the process may cost. In flight, rate, slow-down, pause, and the bounds of the ledger. */
import type { Health, Notice } from '@millrace/gateway/api';
import type { Limits } from '@millrace/gateway/limits';
import type { Subscription } from '@millrace/gateway/ports/directory';
import type { Situations } from '../situations.ts';
import type { Mirror, Touched } from './mirror.ts';
import type { Request } from './requests.ts';
import type { SubscriptionFact, Subscriptions } from './subscriptions.ts';
import type { Verdict } from './verdict.ts';
import type { Life } from '../world.ts';

export interface Bounds {
  sent(request: Request): void;
  answered(request: Request): void;
  committed(touched: Touched): void;
  noticed(notice: Notice): void;
  health(environment: string, id: string, health: Health): void;
  /** Requests under way at a subscription's own endpoint. */
  inFlight(uid: string): number;
  crashed(life?: Life): void;
  /** As a crash, for these: what is still under way counts for the process alone, until it has ended. */
  left(isGone: (subscription: SubscriptionFact) => boolean): void;
  /** Such a one has. */
  ended(life: Life): void;
}

interface Needs {
  readonly limits: Limits;
  readonly subscriptions: Subscriptions;
  readonly mirror: Mirror;
  readonly verdict: Verdict;
  readonly situations: Situations;
  readonly now: () => number;
}

/** Of a subscription at one endpoint: its own, or the target of a run. */
interface Load {
  readonly subscription: SubscriptionFact;
  inFlight: number;
  tokens: number;
  atMs: number;
  lastMs: number;
  slowUntilMs: number;
}

/** Clocks are read a little apart. */
const TOLERANCE_MS = 1;

export function createBounds({ limits, subscriptions, mirror, verdict, situations, now }: Needs): Bounds {
  const loads = new Map<string, Load>();
  const told = new Set<string>();
  const inFlight = new Map<Life, number>();

  const loadOf = ({ subscription, elsewhere, exchange }: Request): Load =>
    loads.getOrInsertComputed(elsewhere ? exchange.host : subscription.uid, () => ({
      subscription,
      inFlight: 0,
      tokens: Number.POSITIVE_INFINITY,
      atMs: now(),
      lastMs: -1,
      slowUntilMs: 0,
    }));

  /** The most that any settings the gateway may act on now allow. */
  function most(subscription: SubscriptionFact, of: (settings: Subscription) => number): number {
    return Math.max(...subscriptions.possible(subscription, now()).map(of));
  }

  function spend(load: Load, { subscription, fact }: Request): void {
    const rate = most(subscription, ({ ratePerSecond }) => ratePerSecond ?? Number.POSITIVE_INFINITY);
    if (rate === Number.POSITIVE_INFINITY) {
      load.tokens = rate;
      load.atMs = now();
      return;
    }
    load.tokens = Math.min(Math.max(1, rate), load.tokens + ((now() - load.atMs) * rate) / 1_000) - 1;
    load.atMs = now();
    const smoothMs = 1_000 / rate;
    if (now() - load.lastMs < 1.2 * smoothMs && now() - load.lastMs > 0.8 * smoothMs) situations.count('rateWait');
    load.lastMs = now();
    if (load.tokens < -0.1) {
      verdict.broken(
        'P5',
        'a subscription gets no more than its rate',
        `event ${fact.n} to ${subscription.id}: more than ${rate} in a second`,
        [subscription.id],
      );
    }
  }

  const ended = (life: Life): void => void inFlight.set(life, (inFlight.get(life) ?? 0) - 1);

  return {
    sent(request) {
      const { subscription, fact, elsewhere, exchange } = request;
      const load = loadOf(request);
      load.inFlight += 1;
      const ofProcess = (inFlight.get(exchange.life) ?? 0) + 1;
      inFlight.set(exchange.life, ofProcess);
      const concurrency = most(subscription, (settings) => settings.concurrency);
      const about = `event ${fact.n} to ${exchange.host} of ${subscription.id}`;
      if (load.inFlight >= concurrency) situations.count('concurrencyFull');
      if (load.inFlight > concurrency) {
        verdict.broken(
          'P5',
          'a subscription has no more in flight than its concurrency',
          `${about}: ${load.inFlight} instead of ${concurrency}`,
          [exchange.host],
        );
      }
      if (ofProcess >= limits.inFlight) situations.count('processFull');
      if (ofProcess > limits.inFlight)
        verdict.broken('P5', 'the process has no more in flight than its bound', `${ofProcess} instead of ${limits.inFlight}`);
      if (now() < load.slowUntilMs - TOLERANCE_MS) {
        verdict.broken(
          'P5',
          'a subscription that was asked to slow down by Retry-After gets nothing until then',
          `${about}: ${(load.slowUntilMs - now()).toFixed(1)} ms too soon`,
          [exchange.host],
        );
      }
      if (subscription.gone) verdict.broken('P5', 'a deleted subscription gets nothing', about, [exchange.host]);
      if (!elsewhere && subscriptions.possible(subscription, now()).every(({ state }) => state === 'paused')) {
        verdict.broken('P5', 'a paused subscription gets nothing', about, [exchange.host, subscription.id]);
      }
      spend(load, request);
    },
    answered(request) {
      const load = loadOf(request);
      load.inFlight -= 1;
      ended(request.exchange.life);
      const { result } = request.exchange;
      if (result === undefined || !('status' in result) || result.status !== 429) return;
      situations.count('slowDown');
      if (result.retryAfterMs !== undefined)
        load.slowUntilMs = Math.max(load.slowUntilMs, now() + Math.min(result.retryAfterMs, limits.slowDownMs));
    },
    committed({ lanes }) {
      for (const subscription of new Set([...lanes].map((lane) => lane.subscription))) {
        const open = mirror.open(subscription.uid);
        for (const name of ['parked', 'parkedBytes', 'held', 'deadLetters'] as const) {
          const bound = most(subscription, ({ bounds }) => bounds[name]);
          if (open[name] >= bound) situations.count('boundReached');
          if (open[name] <= bound) continue;
          verdict.broken(
            'P5',
            'a subscription stays inside its bounds',
            `${name} of ${subscription.id} is ${open[name]}, its bound ${bound}`,
            [subscription.uid],
          );
        }
      }
    },
    noticed(notice) {
      if (notice.kind === 'bound_reached') told.add(`${notice.environment} ${notice.subscription}`);
    },
    health(environment, id, health) {
      const subscription = subscriptions.byName(environment, id);
      if (subscription === undefined) return;
      if (health.stoppedBy !== undefined && !told.has(`${environment} ${id}`)) {
        verdict.broken('P5', 'a bound that stops a lane is told', `${health.stoppedBy} of ${id}`);
      }
      for (const name of ['parked', 'parkedBytes', 'held'] as const) {
        const bound = most(subscription, ({ bounds }) => bounds[name]);
        if (health[name] > bound)
          verdict.broken('P5', 'health stays inside the bounds', `${name} of ${id} is ${health[name]}, its bound ${bound}`);
        if (health[name] < 0)
          verdict.broken('contract', 'health counts nothing below zero', `${name} of ${id} is ${health[name]}`);
      }
      if (health.inFlight < 0)
        verdict.broken('contract', 'health counts nothing below zero', `inFlight of ${id} is ${health.inFlight}`);
    },
    inFlight: (uid) => loads.get(uid)?.inFlight ?? 0,
    crashed(life) {
      if (life !== undefined) return void inFlight.delete(life);
      // What a process knew of rates and slow-downs ends with it.
      loads.clear();
      inFlight.clear();
    },
    left(isGone) {
      for (const [name, { subscription }] of loads) if (isGone(subscription)) loads.delete(name);
    },
    ended,
  };
}
