/**
 * The oracle: promises 1 to 6 and 10 of design.md, section 4, held against what truly happened. It sees the durable
 * state change, every request and every answer; of the gateway it knows the ports and the types of its interface only.
 */
import type { Health, Notice, Published, From } from '@millrace/gateway/api';
import type { Limits } from '@millrace/gateway/limits';
import type { Change } from '@millrace/gateway/ports/directory';
import type { Commit, LanePosition } from '@millrace/gateway/ports/ledger';
import type { Fence } from '@millrace/gateway/ports/leases';
import type { Appended, Entry } from '@millrace/gateway/ports/log';
import type { Durable } from './durable.ts';
import type { Exchange } from './endpoints.ts';
import { createAttempts } from './oracle/attempts.ts';
import { createBounds } from './oracle/bounds.ts';
import { createBreakers } from './oracle/breakers.ts';
import { createFacts } from './oracle/facts.ts';
import type { Fact, Facts, Intent } from './oracle/facts.ts';
import { createLanes } from './oracle/lanes.ts';
import { createMirror, nameOf } from './oracle/mirror.ts';
import { createOrder } from './oracle/order.ts';
import { createOwed } from './oracle/owed.ts';
import type { Left } from './oracle/owed.ts';
import { createOwners } from './oracle/owners.ts';
import { createPublishing } from './oracle/publishing.ts';
import { createRequests } from './oracle/requests.ts';
import type { Request } from './oracle/requests.ts';
import { createRetention } from './oracle/retention.ts';
import { createSubscriptions } from './oracle/subscriptions.ts';
import type { SubscriptionFact, Subscriptions } from './oracle/subscriptions.ts';
import { createVerdict } from './oracle/verdict.ts';
import type { Broken, PromiseName } from './oracle/verdict.ts';
import type { Situations } from './situations.ts';
import type { Life, World } from './world.ts';

export interface Invariants {
  readonly found: readonly Broken[];
  readonly facts: Facts;
  readonly subscriptions: Subscriptions;
  broken(promise: PromiseName, sentence: string, detail?: string, words?: readonly string[]): void;
  // the workload says what it does
  intend(intent: Intent): void;
  answeredPublish(intents: readonly Intent[], results: readonly Published[]): void;
  /** A subscription is being created, or its lane set back, to begin there. */
  begins(environment: string, id: string, from: From): void;
  changeAnswered(environment: string, id: string): void;
  /** Something of the subscription is parked, held or in flight. */
  isOpen(environment: string, id: string): boolean;
  /** Deliveries of the subscription that wait for their next attempt. */
  parked(environment: string, id: string): readonly LanePosition[];
  discardAsked(letter: string): void;
  redriveAsked(letter: string): void;
  /** It is parked now; it may be settled before it is tried, and then is sent once more. */
  retryAsked(place: LanePosition): void;
  health(environment: string, id: string, health: Health): void;
  // the world says what happens
  appended(entries: readonly Entry[], results: readonly Appended[]): void;
  topicDeclared(environment: string, topic: string, retentionMs: number): void;
  committed(commit: Commit, life: Life): void;
  configured(change: Change): void;
  noticed(notice: Notice, life: Life): void;
  sent(exchange: Exchange): void;
  /** Its endpoint answered a process that is frozen. */
  unheard(exchange: Exchange): void;
  answered(exchange: Exchange): void;
  stepped(): void;
  crashed(durable: Durable): Promise<void>;
  /** One node of several. */
  nodeCrashed(durable: Durable, life: Life): Promise<void>;
  /** The store has given slots to a node. */
  owned(fences: readonly Fence[], life: Life): void;
  /** A node works these from now on. */
  taken(slots: ReadonlySet<number>, life: Life): void;
  /** The gateway has let these slots go: what it knew of their endpoints is forgotten, and what is under way is nobody's. */
  left(slots: ReadonlySet<number>, life?: Life): void;
  /** The gateway is up again: nobody acts on settings of before. */
  recovered(): void;
  logChanged(survives: (fact: Fact) => boolean): void;
  ledgerRestored(commits: number): void;
  /** What is still open; empty when all is delivered or accounted for. */
  stillOpen(): readonly Left[];
}

export interface InvariantOptions {
  readonly world: World;
  readonly limits: Limits;
  readonly situations: Situations;
  readonly hidden: () => ReadonlySet<string>;
  readonly slotOf: (uid: string) => number;
  readonly isCluster: boolean;
}

export function createInvariants({ world, limits, situations, hidden, slotOf, isCluster }: InvariantOptions): Invariants {
  const now = (): number => world.monotonic();
  const verdict = createVerdict();
  const facts = createFacts();
  const retention = createRetention();
  const subscriptions = createSubscriptions(facts, hidden);
  const lanes = createLanes(subscriptions);
  const asked = { discards: new Set<string>(), redrives: new Set<string>(), retries: new Set<string>() };
  const mirror = createMirror(facts, lanes, asked);
  const common = { facts, subscriptions, lanes, mirror, retention, verdict, situations, now, limits };
  const owed = createOwed({ ...common, asked, slotOf });
  const requests = createRequests(common);
  const publishing = createPublishing({ ...common, windowMs: limits.dedupeWindowMs });
  const order = createOrder({ ...common, owed });
  const attempts = createAttempts({ ...common, requests, setBackMs: world.setBackMs, jumpedMs: world.jumpedMs });
  const bounds = createBounds(common);
  const breakers = createBreakers({ ...common, requests, wallMs: () => world.now() });
  const owners = createOwners({ isCluster, slotOf, letter: mirror.letter, verdict });
  const underWay = new Set<Request>();
  /** Under way when their slot was let go. */
  const nobodys = new Set<Request>();
  let journal: Commit[] = [];
  /** The number of the newest life that sent anything. */
  let newest = 0;

  function checkMatch({ subscription, fact, redriven, lane }: Request): void {
    if (!subscriptions.may(subscription, fact)) {
      verdict.broken(
        'P2',
        'an event goes only to who wants and may see it',
        `event ${fact.n} (${fact.topic}, audience ${fact.audience ?? 'none'}) to ${subscription.id} of ${subscription.present.app}`,
        [`event ${fact.n} `, subscription.id],
      );
    }
    if (lane?.run !== undefined && !redriven && !owed.spans(lane.run, fact)) {
      verdict.broken(
        'P2',
        'a run sends only the events it was started over',
        `event ${fact.n} at ${fact.shard} ${fact.position} by run ${lane.run.id} of ${subscription.id}`,
        [`event ${fact.n} `, `event ${fact.n}:`, lane.run.id],
      );
    }
    const { from, endsWhenAsked, generation, hidden: notThere } = subscription.beginning;
    const live = !notThere.has(fact.shard) && lane !== undefined && lane.run === undefined && !redriven && !subscription.restored;
    const isBefore =
      from === 'latest' && generation === fact.generation && fact.position <= (endsWhenAsked.get(fact.shard) ?? '');
    if (live && isBefore && subscription.present.pass === 0) {
      verdict.broken(
        'P2',
        'a subscription from latest gets nothing from before its creation',
        `event ${fact.n} to ${subscription.id}`,
        [subscription.uid],
      );
    }
  }

  function countLosses({ buried, ranges, unburied }: ReturnType<typeof mirror.apply>): void {
    for (const { letter } of ranges) situations.count(letter.cause === 'expired' ? 'rangeExpired' : 'logChangedRange');
    for (const { letter } of buried) if (letter.cause === 'log_changed') situations.count('logChangedRange');
    for (const { delivery } of unburied) situations.count(delivery.discarded ? 'discard' : 'redrive');
  }

  function accept({ lanes: its, fact }: Request): void {
    for (const lane of its) lanes.delivery(lane, fact).accepted = true;
  }

  function letGo(slots: ReadonlySet<number>): void {
    if (slots.size === 0) return;
    const isGone = ({ uid }: SubscriptionFact): boolean => slots.has(slotOf(uid));
    for (const request of underWay) if (isGone(request.subscription)) nobodys.add(request);
    order.left(isGone);
    bounds.left(isGone);
    breakers.left(isGone);
    if (!isCluster) return;
    // What was heard of and not written down is sent again by whoever has the slot next, though it be the same process.
    for (const lane of lanes.all)
      if (isGone(lane.subscription)) for (const delivery of lane.deliveries.values()) delivery.heardIn = 0;
  }

  function countUnwritten(life: number): void {
    for (const lane of lanes.all) {
      for (const delivery of lane.deliveries.values())
        if (delivery.heardIn === life && !delivery.delivered) situations.count('crashAnswered');
    }
  }

  return {
    found: verdict.found,
    facts,
    subscriptions,
    broken: (promise, sentence, detail, words) => verdict.broken(promise, sentence, detail, words),
    intend: (intent) => facts.intend(intent),
    answeredPublish: (intents, results) => publishing.answered(intents, results),
    begins(environment, id, from) {
      subscriptions.expect(environment, id, from);
      if (from === 'earliest') situations.count('earliest');
    },
    changeAnswered: (environment, id) => subscriptions.settled(now(), environment, id),
    parked(environment, id) {
      const subscription = subscriptions.byName(environment, id);
      return subscription === undefined ? [] : mirror.parked(subscription.uid);
    },
    isOpen(environment, id) {
      const subscription = subscriptions.byName(environment, id);
      if (subscription === undefined) return false;
      const { parked, held } = mirror.open(subscription.uid);
      return parked + held > 0 || bounds.inFlight(subscription.uid) > 0;
    },
    discardAsked(letter) {
      asked.redrives.delete(letter);
      asked.discards.add(letter);
    },
    redriveAsked(letter) {
      asked.discards.delete(letter);
      asked.redrives.add(letter);
    },
    retryAsked: ({ lane, shard, position }) => void asked.retries.add(nameOf(lane, shard, position)),
    health: (environment, id, health) => bounds.health(environment, id, health),
    appended(entries, results) {
      const before = facts.all.length;
      facts.appended(entries, results, now());
      publishing.appended(facts.all.slice(before));
    },
    topicDeclared: (environment, topic, retentionMs) => retention.declared(environment, topic, retentionMs),
    committed(commit, life) {
      owners.committed(commit, life);
      journal.push(commit);
      const touched = mirror.apply(commit);
      owed.committed(commit, touched);
      order.committed(touched);
      attempts.committed(touched);
      bounds.committed(touched);
      breakers.committed(touched);
      countLosses(touched);
    },
    configured(change) {
      subscriptions.changed(change, now());
      if (change.kind !== 'run') return;
      const run = subscriptions.runs.find(({ id }) => id === change.id);
      if (run?.state === 'done') situations.count('runDone');
      if (run !== undefined) owed.runEnded(run);
    },
    noticed(notice, life) {
      const uid = 'subscription' in notice ? subscriptions.byName(notice.environment, notice.subscription)?.uid : undefined;
      // What a node that was frozen believes of a subscription that is another's by now is nobody's concern.
      if (uid === undefined || owners.counts(slotOf(uid), life)) breakers.noticed(notice);
      bounds.noticed(notice);
    },
    sent(exchange) {
      const request = requests.sent(exchange);
      if (request === undefined) return;
      newest = exchange.life.number;
      underWay.add(request);
      owners.sent(request);
      checkMatch(request);
      breakers.sent(request);
      bounds.sent(request);
      order.sent(request);
      attempts.sent(request);
    },
    unheard(exchange) {
      const request = requests.of(exchange);
      if (request === undefined) return;
      if (exchange.accepted) accept(request);
      order.answered(request);
      situations.count('answeredFrozen');
    },
    answered(exchange) {
      const request = requests.of(exchange);
      if (request === undefined) return;
      if (exchange.accepted) accept(request);
      order.answered(request);
      underWay.delete(request);
      if (nobodys.delete(request) && exchange.life.alive) return bounds.ended(exchange.life);
      if (!exchange.life.alive) {
        situations.count('crashInFlight');
        if (exchange.accepted) situations.count('answerLost');
        return;
      }
      bounds.answered(request);
      attempts.answered(request);
      breakers.answered(request);
    },
    stepped() {
      retention.tick(world.now());
      breakers.stepped();
    },
    async crashed(durable) {
      countUnwritten(newest);
      underWay.clear();
      nobodys.clear();
      subscriptions.crashed();
      order.crashed();
      bounds.crashed();
      breakers.crashed();
      await publishing.checkDurable(durable);
    },
    async nodeCrashed(durable, life) {
      countUnwritten(life.number);
      letGo(owners.left(owners.workedBy(life), life));
      for (const request of underWay) if (request.exchange.life === life) underWay.delete(request);
      for (const request of nobodys) if (request.exchange.life === life) nobodys.delete(request);
      bounds.crashed(life);
      // Within a step: what has expired since the last one may be gone.
      retention.tick(world.now());
      await publishing.checkDurable(durable);
    },
    owned: (fences, life) => owners.owned(fences, life),
    taken(slots, life) {
      letGo(slots);
      owners.taken(slots, life);
    },
    left: (slots, life) => letGo(life === undefined ? slots : owners.left(slots, life)),
    recovered: () => subscriptions.settled(now()),
    logChanged(survives) {
      facts.logChanged(survives);
      owed.restart(false);
    },
    ledgerRestored(commits) {
      journal = journal.slice(0, commits);
      mirror.clear();
      owed.restart(true);
      for (const commit of journal) owed.repeated(mirror.apply(commit));
      subscriptions.ledgerRestored();
    },
    stillOpen: () => owed.left(),
  };
}
