/**
 * Promise 4: with `ordering: key` the events of one key go out one at a time in log order. Checked when a request goes
 * out, against what truly was answered before and what durably is a dead letter, so it holds over crashes too.
 */
import type { Situations } from '../situations.ts';
import type { Fact, Facts } from './facts.ts';
import type { LaneFact } from './lanes.ts';
import type { Touched } from './mirror.ts';
import type { Owed } from './owed.ts';
import type { Request } from './requests.ts';
import type { Retention } from './retention.ts';
import type { SubscriptionFact, Subscriptions } from './subscriptions.ts';
import type { Verdict } from './verdict.ts';

export interface Order {
  sent(request: Request): void;
  answered(request: Request): void;
  committed(touched: Touched): void;
  crashed(): void;
  /** As a crash, for these. */
  left(isGone: (subscription: SubscriptionFact) => boolean): void;
}

interface Needs {
  readonly facts: Facts;
  readonly subscriptions: Subscriptions;
  readonly owed: Owed;
  readonly retention: Retention;
  readonly verdict: Verdict;
  readonly situations: Situations;
  readonly now: () => number;
}

export function createOrder({ facts, subscriptions, owed, retention, verdict, situations, now }: Needs): Order {
  const under = new Map<string, Request>();
  /** Events that were dead-lettered without holding their key, by lane. */
  const released = new Map<LaneFact, Set<Fact>>();

  function isOrdered({ subscription, fact, lane, redriven }: Request): boolean {
    return lane !== undefined && !redriven && fact.key !== undefined && subscription.present.ordering === 'key';
  }

  const placeOf = ({ lane, fact }: Request): string => `${lane!.name} ${fact.shard} ${fact.key}`;

  function lets(lane: LaneFact, fact: Fact): boolean {
    const delivery = lane.deliveries.get(fact);
    if (delivery?.accepted || delivery?.discarded || delivery?.covered || delivery?.delivered) return true;
    // What retention took can't come any more, whether or not its range is written down yet.
    return released.get(lane)?.has(fact) || retention.expired(fact) || !owed.owes(lane, fact);
  }

  function checkBefore({ lane, fact, subscription }: Request): void {
    for (const earlier of facts.ofKey(fact.shard, fact.key!)) {
      if (earlier.position >= fact.position) return;
      if (lets(lane!, earlier)) continue;
      const state = lane!.deliveries.get(earlier);
      verdict.broken(
        'P4',
        'an event of a key goes out when each earlier one was answered 2xx or is durably dead-lettered',
        `event ${fact.n} of key ${fact.key} went to ${subscription.id} (lane ${lane!.name}) before event ${earlier.n} (${state?.dead ? 'dead, holding' : (state?.parked?.state ?? 'not settled')})`,
        [`event ${fact.n} `, `event ${fact.n}:`, `event ${earlier.n} `, `event ${earlier.n}:`],
      );
      return;
    }
  }

  return {
    sent(request) {
      if (!isOrdered(request)) return;
      const other = under.get(placeOf(request));
      if (other !== undefined) {
        verdict.broken(
          'P4',
          'no two requests of one key are under way at once',
          `events ${other.fact.n} and ${request.fact.n} of key ${request.fact.key} to ${request.subscription.id} in ${request.lane!.name}`,
          [`event ${other.fact.n} `, `event ${request.fact.n} `, `event ${other.fact.n}:`, `event ${request.fact.n}:`],
        );
      }
      under.set(placeOf(request), request);
      checkBefore(request);
      const before = facts
        .ofKey(request.fact.shard, request.fact.key!)
        .filter(({ position }) => position < request.fact.position);
      if (before.some((fact) => released.get(request.lane!)?.has(fact))) situations.count('keyReleased');
    },
    answered(request) {
      if (request.lane !== undefined && request.fact.key !== undefined && under.get(placeOf(request)) === request)
        under.delete(placeOf(request));
    },
    committed({ buried, parked }) {
      for (const { delivery, letter, redriven } of buried) {
        const { subscription } = delivery.lane;
        const mayRelease = subscriptions.possible(subscription, now()).some(({ onDead }) => onDead === 'release');
        if (letter.holdsKey !== undefined) situations.count('keyHeld');
        const isLost = letter.cause === 'expired' || letter.cause === 'log_changed';
        if (
          letter.holdsKey === undefined &&
          !isLost &&
          delivery.fact.key !== undefined &&
          subscription.present.ordering === 'key' &&
          !mayRelease &&
          !redriven
        ) {
          verdict.broken(
            'P4',
            'with onDead: hold a dead letter holds its key',
            `event ${delivery.fact.n} in ${delivery.lane.name}`,
            [delivery.lane.name],
          );
        }
        if (mayRelease || isLost) released.getOrInsertComputed(delivery.lane, () => new Set()).add(delivery.fact);
      }
      for (const { row } of parked) if (row.state === 'held') situations.count('heldBehindParked');
    },
    crashed: () => under.clear(),
    left(isGone) {
      for (const [place, { subscription }] of under) if (isGone(subscription)) under.delete(place);
    },
  };
}
