/** Promise 5, breakers: they open on evidence, while open only single probes go out, and nothing dies of it. */
import type { Notice } from '@millrace/gateway/api';
import type { Situations } from '../situations.ts';
import type { Lanes } from './lanes.ts';
import type { Touched } from './mirror.ts';
import type { Request, Requests } from './requests.ts';
import type { SubscriptionFact, Subscriptions } from './subscriptions.ts';
import type { Verdict } from './verdict.ts';

export interface Breakers {
  noticed(notice: Notice): void;
  sent(request: Request): void;
  answered(request: Request): void;
  /** After the step in which answers were heard. */
  stepped(): void;
  committed(touched: Touched): void;
  crashed(): void;
  /** As a crash, for these. */
  left(isGone: (subscription: SubscriptionFact) => boolean): void;
}

interface Breaker {
  readonly subscription: SubscriptionFact;
  openSinceMs: number | undefined;
  probes: number;
  /** Failures in a row. */
  readonly evidence: Evidence;
}

interface Evidence {
  connectFailures: number;
  readonly failed: Set<number>;
}

interface Needs {
  readonly subscriptions: Subscriptions;
  readonly requests: Requests;
  readonly verdict: Verdict;
  readonly situations: Situations;
  readonly lanes: Lanes;
  readonly now: () => number;
  readonly wallMs: () => number;
}

const UNREACHED = new Set(['dns', 'refused', 'unreachable', 'connect_timeout', 'tls']);
/** Evidence beyond the threshold that is forgiven: answers that were under way when it opened. */
const SLACK = 2;

export function createBreakers({ subscriptions, requests, verdict, situations, lanes, now, wallMs }: Needs): Breakers {
  const breakers = new Map<string, Breaker>();
  const suspects = new Set<Breaker>();
  const lastAnswered = new Map<SubscriptionFact, Breaker>();

  /** The target of a run has a breaker of its own. */
  const breakerOf = ({ subscription, elsewhere, exchange }: Request): Breaker =>
    breakers.getOrInsertComputed(elsewhere ? exchange.host : subscription.uid, () => ({
      subscription,
      openSinceMs: undefined,
      probes: 0,
      evidence: { connectFailures: 0, failed: new Set() },
    }));

  function weigh(tally: Evidence, { exchange, fact }: Request): void {
    const { result } = exchange;
    if (result === undefined || ('status' in result && result.status === 429)) return;
    if ('status' in result && result.status < 500) return forget(tally);
    if ('error' in result && UNREACHED.has(result.error)) tally.connectFailures += 1;
    else tally.connectFailures = 0;
    tally.failed.add(fact.n);
  }

  function forget(tally: Evidence): void {
    tally.connectFailures = 0;
    tally.failed.clear();
  }

  function checkEvidence({ subscription, evidence: all }: Breaker): void {
    const enough = subscriptions
      .possible(subscription, now())
      .some(({ breaker }) => breaker !== false && (all.connectFailures >= breaker.failures || all.failed.size >= breaker.events));
    if (enough) return;
    verdict.broken(
      'P5',
      'a breaker opens only on evidence',
      `${subscription.id}: ${all.connectFailures} failures to connect in a row, ${all.failed.size} different events failed`,
      [subscription.id],
    );
  }

  function hasDue(subscription: SubscriptionFact): boolean {
    return lanes
      .live(subscription)
      .deliveries.values()
      .some(({ parked }) => parked?.state === 'parked' && parked.dueMs <= wallMs());
  }

  return {
    noticed(notice) {
      if (notice.kind !== 'breaker_open' && notice.kind !== 'breaker_closed') return;
      const subscription = subscriptions.byName(notice.environment, notice.subscription);
      if (subscription === undefined) return;
      // A notice does not say which of a subscription's endpoints it means: the one that just answered.
      const breaker = lastAnswered.get(subscription);
      if (breaker === undefined) return;
      situations.count(notice.kind === 'breaker_open' ? 'breakerOpened' : 'breakerClosed');
      if (notice.kind === 'breaker_open') checkEvidence(breaker);
      breaker.openSinceMs = notice.kind === 'breaker_open' ? now() : undefined;
      breaker.probes = 0;
      forget(breaker.evidence);
    },
    sent(request) {
      const breaker = breakerOf(request);
      if (breaker.openSinceMs === undefined) return;
      request.probe = true;
      breaker.probes += 1;
      situations.count('probe');
      if (hasDue(request.subscription)) situations.count('parkedDueWhileOpen');
      if (breaker.probes > 1) {
        verdict.broken(
          'P5',
          'an open breaker lets one probe out at a time',
          `event ${request.fact.n} to ${request.subscription.id}`,
          [request.exchange.host],
        );
      }
    },
    answered(request) {
      const breaker = breakerOf(request);
      lastAnswered.set(request.subscription, breaker);
      if (breaker.openSinceMs === undefined) {
        weigh(breaker.evidence, request);
        // Of the target of a run nobody is told.
        if (!request.elsewhere) suspects.add(breaker);
      }
      if (request.probe && breaker.openSinceMs !== undefined) breaker.probes = Math.max(0, breaker.probes - 1);
    },
    stepped() {
      for (const {
        subscription,
        evidence: { connectFailures, failed },
        openSinceMs,
      } of suspects) {
        const settings = subscriptions.possible(subscription, now()).map(({ breaker }) => breaker);
        if (openSinceMs !== undefined || subscription.deleted) continue;
        const due = settings.every(
          (one) => one !== false && (connectFailures >= one.failures + SLACK || failed.size >= one.events + SLACK),
        );
        if (due) {
          verdict.broken(
            'P5',
            'a breaker opens on enough evidence',
            `${subscription.id}: ${connectFailures} failures to connect in a row, ${failed.size} different events failed`,
            [subscription.id],
          );
        }
      }
      suspects.clear();
    },
    committed({ buried }) {
      for (const { delivery, letter } of buried) {
        const about = requests.about(delivery.lane.subscription, delivery.fact);
        const last = about.findLast(
          ({ exchange }) => exchange.result !== undefined && exchange.startedWallMs === delivery.attempts.at(-1)?.startedMs,
        );
        if (last?.probe && letter.cause !== 'expired' && letter.cause !== 'log_changed') {
          verdict.broken(
            'P5',
            'nothing dies while its breaker is open',
            `event ${delivery.fact.n} of ${delivery.lane.subscription.id}`,
            [`event ${delivery.fact.n} `, `event ${delivery.fact.n}:`],
          );
        }
      }
    },
    crashed() {
      breakers.clear();
      lastAnswered.clear();
      suspects.clear();
    },
    left(isGone) {
      for (const [name, { subscription }] of breakers) if (isGone(subscription)) breakers.delete(name);
      for (const subscription of lastAnswered.keys()) if (isGone(subscription)) lastAnswered.delete(subscription);
      for (const breaker of suspects) if (isGone(breaker.subscription)) suspects.delete(breaker);
    },
  };
}
