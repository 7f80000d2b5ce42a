/** Every request, read as its endpoint reads it: whose it is, for which event, in which lane. Promise 3 lives here. */
import { hash } from 'node:crypto';
import { webhookId } from '@millrace/core/webhook-id';
import type { Exchange } from '../endpoints.ts';
import type { Situations } from '../situations.ts';
import type { Fact, Facts } from './facts.ts';
import type { LaneFact, Lanes } from './lanes.ts';
import type { RunFact, SubscriptionFact, Subscriptions } from './subscriptions.ts';
import type { Verdict } from './verdict.ts';

export interface Request {
  readonly exchange: Exchange;
  readonly subscription: SubscriptionFact;
  readonly fact: Fact;
  /** Goes to the target of a run, not to the subscription's own endpoint. */
  readonly elsewhere: boolean;
  /** The lane it is of, where that can be told; a replay with the same ids can't be told from its live lane. */
  readonly lane: LaneFact | undefined;
  /** All lanes it may be of. */
  readonly lanes: readonly LaneFact[];
  /** A person redrives this event: such a delivery is an order of its own. */
  readonly redriven: boolean;
  probe: boolean;
}

export interface Requests {
  /** Undefined when it can't be told for whom it is, which breaks a promise. */
  sent(exchange: Exchange): Request | undefined;
  of(exchange: Exchange): Request | undefined;
  /** All of one subscription's requests for one event, whichever log it stood in. */
  about(subscription: SubscriptionFact, fact: Fact): readonly Request[];
}

interface Needs {
  readonly facts: Facts;
  readonly subscriptions: Subscriptions;
  readonly lanes: Lanes;
  readonly verdict: Verdict;
  readonly situations: Situations;
}

const decoder = new TextDecoder();
const eventOf = ({ uid }: SubscriptionFact, { n, id }: Fact): string => `${uid} ${n} ${id}`;
const sha256 = (bytes: Uint8Array): Uint8Array => hash('sha256', bytes, 'buffer');

export function createRequests({ facts, subscriptions, lanes, verdict, situations }: Needs): Requests {
  const owners = new Map<string, string>();
  const ids = new Map<string, string>();
  const byExchange = new Map<Exchange, Request>();
  const byEvent = new Map<string, Request[]>();

  /** What it may be about, the likeliest first: an event may stand in the log twice, or come again after the log lost it. */
  function factsOf({ request, body }: Exchange, subscription: SubscriptionFact | undefined): readonly Fact[] {
    const candidates = facts.byNumber(body.n);
    if (candidates.length < 2) return candidates;
    const id = request.headers['ce-id'] ?? (JSON.parse(decoder.decode(request.body)) as { id?: string }).id;
    const same = candidates.filter((fact) => fact.id === id);
    // A person may still redrive one of a log that is gone.
    const redriven = subscription && same.find((fact) => redrivenIn(subscription, fact).length > 0);
    const first = redriven ?? same.find(({ lost }) => !lost) ?? same.at(-1);
    return first === undefined ? [] : [first, ...same.filter((fact) => fact !== first)];
  }

  /** Promise 3 in the words of design.md: made from subscription, publisher, source and id, and the run where it makes new ones. */
  function expectedId(subscription: SubscriptionFact, fact: Fact, run?: RunFact): string {
    const name = `${subscription.uid} ${fact.app} ${fact.source} ${fact.id} ${run?.id ?? ''}`;
    const id = ids.getOrInsertComputed(name, () => {
      const identity = { subscription: subscription.uid, publisher: fact.app, source: fact.source, id: fact.id };
      return webhookId(run === undefined ? identity : { ...identity, run: run.id }, sha256);
    });
    if (owners.getOrInsert(id, name) !== name) {
      verdict.broken('P3', 'different deliveries never share a webhook-id', `${id} is of ${name} and of ${owners.get(id)}`);
    }
    return id;
  }

  function lanesOf(
    exchange: Exchange,
    subscription: SubscriptionFact,
    fact: Fact,
    target: RunFact | undefined,
  ): readonly LaneFact[] {
    const id = exchange.request.headers['webhook-id'] ?? '';
    const runs =
      target === undefined
        ? subscriptions.runs.filter((run) => run.subscription === subscription && run.value.to === undefined)
        : [target];
    const asNew = runs.find((run) => run.value.ids === 'as-new' && expectedId(subscription, fact, run) === id);
    if (asNew !== undefined) return [lanes.ofRun(asNew)];
    if (expectedId(subscription, fact) !== id) {
      verdict.broken(
        'P3',
        'the webhook-id of an event is the same on every attempt, and new only in a run with new ids',
        `event ${fact.n} to ${subscription.id} came with ${id}`,
        [`event ${fact.n} `, `event ${fact.n}:`],
      );
    }
    const same = runs
      .filter((run) => run.value.ids === 'same' && (mayStillSend(run, exchange) || isParked(lanes.ofRun(run), fact)))
      .map((run) => lanes.ofRun(run));
    if (target !== undefined) return same;
    // While a lane is set back, its former pass may still send.
    const passes = new Set(subscriptions.possible(subscription, exchange.startedMs).map(({ pass }) => pass));
    return [...[...passes].map((pass) => lanes.live(subscription, pass)), ...drained(subscription, fact), ...same];
  }

  /** What was parked in a former pass when the log changed is still worked off there. */
  function drained(subscription: SubscriptionFact, fact: Fact): readonly LaneFact[] {
    return [...lanes.all].filter(
      (lane) =>
        lane.subscription === subscription &&
        lane.run === undefined &&
        lane.pass >= subscription.beganPass &&
        lane.pass < subscription.present.pass &&
        isParked(lane, fact),
    );
  }

  /** Also in a run that has ended, where an older ledger knows no better. */
  const isParked = ({ deliveries }: LaneFact, fact: Fact): boolean => deliveries.get(fact)?.parked !== undefined;

  /** A cancelled run may have a request or two on its way. Redriven deliveries of its own are told by `redriven`. */
  function mayStillSend(run: RunFact, { startedMs }: Exchange): boolean {
    return run.state === 'running' || run.endedMs >= startedMs - 50 || run.value.to !== undefined;
  }

  function redrivenIn(subscription: SubscriptionFact, fact: Fact): readonly LaneFact[] {
    return [...lanes.all].filter((lane) => lane.subscription === subscription && lane.deliveries.get(fact)?.redriving);
  }

  function checkHeaders({ request }: Exchange, subscription: SubscriptionFact, fact: Fact): void {
    const { headers, body } = request;
    if (headers['x-idempotency-key'] !== headers['webhook-id']) {
      verdict.broken('P3', 'every delivery carries its webhook-id as x-idempotency-key', `event ${fact.n} to ${subscription.id}`);
    }
    if (headers['millrace-subscription'] !== subscription.id) {
      verdict.broken(
        'P3',
        'every delivery names its subscription',
        `event ${fact.n}: ${headers['millrace-subscription']} instead of ${subscription.id}`,
      );
    }
    const asData = subscription.versions.some(({ value }) => value.deliver.webhook?.body === 'data');
    if (asData && 'ce-id' in headers && Buffer.compare(body, fact.data) !== 0) {
      verdict.broken('contract', 'the body is the stored bytes', `event ${fact.n} to ${subscription.id}`);
    }
  }

  function countRun(lane: LaneFact | undefined, run: RunFact | undefined): void {
    const of = lane?.run ?? run;
    if (of === undefined) return;
    situations.count(of.value.ids === 'as-new' ? 'replayAsNew' : 'replayBesideLive');
    if (of.value.to !== undefined) situations.count('replayElsewhere');
  }

  return {
    sent(exchange) {
      const host = subscriptions.byHost(exchange.host);
      const about = factsOf(exchange, host?.subscription);
      const [fact] = about;
      if (host === undefined || fact === undefined) {
        verdict.broken(
          'contract',
          'requests go only to endpoints of subscriptions and runs, with events that are in the log',
          exchange.request.url,
        );
        return undefined;
      }
      const { subscription, run } = host;
      checkHeaders(exchange, subscription, fact);
      const redriven = redrivenIn(subscription, fact);
      const possible = [
        ...new Set(about.flatMap((one) => [...lanesOf(exchange, subscription, one, run), ...redrivenIn(subscription, one)])),
      ];
      const lane = possible.length === 1 && !facts.hasTwin(fact) ? possible[0] : undefined;
      countRun(lane, run);
      const request = {
        exchange,
        subscription,
        fact,
        elsewhere: run !== undefined,
        lane,
        lanes: possible,
        redriven: redriven.length > 0,
        probe: false,
      };
      byExchange.set(exchange, request);
      byEvent.getOrInsertComputed(eventOf(subscription, fact), () => []).push(request);
      return request;
    },
    of: (exchange) => byExchange.get(exchange),
    about: (subscription, fact) => byEvent.get(eventOf(subscription, fact)) ?? [],
  };
}
