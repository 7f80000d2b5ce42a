/**
 * Promise 2, held against durable state: after every commit, an event that a lane's recoverable cursor has passed is
 * delivered, parked, held, dead-lettered or inside a range that says why. What is durable now is what a crash leaves.
 */
import type { Commit, DeadLetter } from '@millrace/gateway/ports/ledger';
import type { Fact, Facts } from './facts.ts';
import type { Delivery, LaneFact, Lanes } from './lanes.ts';
import { nameOf, passes } from './mirror.ts';
import type { Asked, Mirror, Stand, Touched } from './mirror.ts';
import type { Retention } from './retention.ts';
import type { RunFact, SubscriptionFact, Subscriptions } from './subscriptions.ts';
import type { Verdict } from './verdict.ts';

export interface Owed {
  committed(commit: Commit, touched: Touched): void;
  /** Takes a commit of an older ledger in again, which was judged when it was made. */
  repeated(touched: Touched): void;
  /** The directory says that a run is done. */
  runEnded(run: RunFact): void;
  /** The ledger or the log is another one: look at everything again. */
  restart(withLedger: boolean): void;
  /** Whether the lane must still see to the event that it gets delivered or accounted for. */
  owes(lane: LaneFact, fact: Fact): boolean;
  /** Whether a run was started over the event. */
  spans(run: RunFact, fact: Fact): boolean;
  /** What has to happen before nothing is open any more. */
  left(): readonly Left[];
}

/** Something that is still open. */
export interface Left {
  readonly delivery: string;
  readonly state: string;
  /** What the trace calls it. */
  readonly words: readonly string[];
}

interface Needs {
  readonly facts: Facts;
  readonly subscriptions: Subscriptions;
  readonly lanes: Lanes;
  readonly mirror: Mirror;
  readonly retention: Retention;
  readonly verdict: Verdict;
  readonly asked: Asked;
  /** The slot a subscription (uid) is in. */
  readonly slotOf: (uid: string) => number;
}

/** How far a lane's cursor in one shard was looked at, and what it passed that is not final. */
interface Passed {
  count: number;
  readonly open: Set<Delivery>;
}

export function createOwed({ facts, subscriptions, lanes, mirror, retention, verdict, asked, slotOf }: Needs): Owed {
  const passed = new Map<string, Passed>();
  /** Range dead letters by lane and shard, also those that were discarded since. */
  const ranges = new Map<string, DeadLetter[]>();

  function standOf(lane: LaneFact, shard: string): Stand | undefined {
    if (lane.run !== undefined) return mirror.laneStand(lane.name, shard);
    // A slot's row speaks for passes the ledger knows. An older ledger may know only one of before the log changed.
    for (let { pass } = lane; pass >= lane.subscription.beganPass; pass--) {
      const { name } = lanes.live(lane.subscription, pass);
      if (mirror.laneStand(name, '') !== undefined)
        return mirror.laneStand(name, shard) ?? mirror.slotStand(slotOf(lane.subscription.uid), shard);
    }
    return undefined;
  }

  function isCurrent(lane: LaneFact): boolean {
    if (lane.subscription.deleted) return false;
    return lane.run === undefined ? lane.pass === lane.subscription.present.pass : lane.run.state === 'running';
  }

  /** By where the lane began. */
  function isBeyond({ beginning, present }: SubscriptionFact, fact: Fact): boolean {
    const { from, ends, generation, hidden } = beginning;
    if (hidden.has(fact.shard) && fact.timeMs < present.beginsMs) return false;
    // What came after it, also where the time it begins at was still to come.
    const isLater = fact.generation > generation || fact.position > (ends.get(fact.shard) ?? '');
    if (isLater || from === 'latest') return isLater;
    if (fact.bornMs <= beginning.madeMs && retention.expired(fact)) return false;
    return from === 'earliest' || fact.timeMs >= from.timeMs;
  }

  function isInSpan({ value, generation }: RunFact, fact: Fact): boolean {
    const span = value.spans[fact.shard];
    return span !== undefined && fact.generation <= generation && fact.position > span.after && fact.position <= span.until;
  }

  function owes(lane: LaneFact, fact: Fact): boolean {
    if (fact.lost || !isCurrent(lane) || facts.hasTwin(fact)) return false;
    const { subscription, run } = lane;
    if (run !== undefined) return isInSpan(run, fact) && subscriptions.must(subscription, fact, run.startedMs);
    if (!isBeyond(subscription, fact) || !subscriptions.must(subscription, fact, subscription.beginning.madeMs)) return false;
    return !(subscription.carriedOn && wasSettled(subscription, fact));
  }

  function wasSettled(subscription: SubscriptionFact, fact: Fact): boolean {
    for (const lane of lanes.all) {
      const delivery = lane.subscription === subscription && lane.run === undefined ? lane.deliveries.get(fact) : undefined;
      if (delivery?.delivered || delivery?.dead || delivery?.parked || delivery?.covered || delivery?.discarded) return true;
      if (lane.subscription === subscription && lane.run === undefined && isCovered(lane, fact)) return true;
    }
    return false;
  }

  /** `done`: nothing can be owed any more. `open`: accounted for as long as its row stands. */
  function judge(lane: LaneFact, fact: Fact, known: boolean): 'done' | 'open' {
    const delivery = lane.deliveries.get(fact);
    if (fact.lost || delivery?.delivered || delivery?.covered || delivery?.discarded) return 'done';
    if (delivery?.dead !== undefined || delivery?.parked !== undefined) return 'open';
    if (!known && !owes(lane, fact)) return 'done';
    if (isCovered(lane, fact)) {
      lanes.delivery(lane, fact).covered = true;
      return 'done';
    }
    // Redriven from a lane of the past: it goes on in another lane.
    if (delivery?.redriving && openElsewhere(lane, fact)) return 'open';
    verdict.broken(
      'P2',
      'an event that a durable cursor has passed is delivered, parked, held, dead-lettered or in a range dead letter',
      `event ${fact.n} at ${fact.shard} ${fact.position} in lane ${lane.name} (subscription ${lane.subscription.id}): nothing is recorded of it`,
      [`event ${fact.n}:`, `event ${fact.n} `, ` ${lane.subscription.uid} `, `row of ${lane.name}`, `no row for ${lane.name}`],
    );
    return 'done';
  }

  function openElsewhere(lane: LaneFact, fact: Fact): boolean {
    for (const other of lanes.all) {
      const delivery = other.subscription === lane.subscription ? other.deliveries.get(fact) : undefined;
      if (delivery?.parked !== undefined || delivery?.delivered || delivery?.dead !== undefined) return true;
    }
    return false;
  }

  /** Whatever lane it is in, a row goes only when something else stands for its event, or its lane is given up as a whole. */
  function checkUnparked(commit: Commit, { unparked }: Touched): void {
    for (const { delivery } of unparked) {
      const { lane, fact } = delivery;
      const isStoodFor =
        delivery.delivered || delivery.dead || delivery.parked || delivery.discarded || fact.lost || isCovered(lane, fact);
      const isGivenUp = lane.subscription.deleted || (commit.dropLanes?.includes(lane.name) && !isCurrent(lane));
      if (isStoodFor || isGivenUp || openElsewhere(lane, fact)) continue;
      verdict.broken(
        'P2',
        'a parked delivery goes only when it is delivered or dead',
        `event ${fact.n} at ${fact.shard} ${fact.position} in lane ${lane.name} of ${lane.subscription.id}`,
        [`event ${fact.n} `, `event ${fact.n}:`, lane.name],
      );
    }
  }

  function look(lane: LaneFact, shard: string, touched: boolean): void {
    const stand = standOf(lane, shard);
    const here = facts.inShard(shard);
    const seen = passed.getOrInsertComputed(`${lane.name} ${shard}`, () => ({ count: 0, open: new Set() }));
    const last = here[seen.count - 1];
    if (last !== undefined && (stand === undefined || !passes(stand, last))) {
      seen.count = 0;
      seen.open.clear();
    }
    if (touched) for (const delivery of seen.open) if (judge(lane, delivery.fact, true) === 'done') seen.open.delete(delivery);
    for (
      let fact = here[seen.count];
      fact !== undefined && stand !== undefined && passes(stand, fact);
      fact = here[++seen.count]
    ) {
      if (judge(lane, fact, false) === 'open') seen.open.add(lanes.delivery(lane, fact));
    }
  }

  function current(): LaneFact[] {
    const live = subscriptions.all.filter(({ deleted }) => !deleted).map((subscription) => lanes.live(subscription));
    const runs = subscriptions.runs
      .filter(({ state, subscription }) => state === 'running' && !subscription.deleted)
      .map((run) => lanes.ofRun(run));
    return [...live, ...runs];
  }

  function cover({ ranges: written }: Touched): void {
    for (const { lane, letter } of written) ranges.getOrInsertComputed(`${lane.name} ${letter.shard}`, () => []).push(letter);
  }

  /** A range stands for what was lost in it by now: also for what still was there when it was written. */
  function isCovered(lane: LaneFact, fact: Fact): boolean {
    return (ranges.get(`${lane.name} ${fact.shard}`) ?? []).some(({ position, cause, range }) => {
      const { through, throughTimeMs } = range!;
      // A range of one event stands at that event, others after their first position.
      const isIn = position === through ? fact.position === through : fact.position > position && fact.position <= through;
      // After a change of the log a lane goes on by time: positions of before and after do not compare.
      return cause === 'expired' ? isIn && retention.expired(fact) : cause === 'log_changed' && fact.timeMs < throughTimeMs;
    });
  }

  function account({ unburied }: Touched): void {
    for (const { delivery, letter } of unburied) {
      if (
        !asked.discards.has(letter.id) &&
        !asked.redrives.has(letter.id) &&
        !asked.retries.has(nameOf(letter.lane, letter.shard, letter.position)) &&
        delivery.dead === undefined &&
        isCurrent(delivery.lane)
      ) {
        verdict.broken('P2', 'a dead letter goes only when a person asked for it', `${letter.id} of event ${letter.eventId}`, [
          letter.lane,
        ]);
      }
      const gone = delivery.dead === undefined && delivery.parked === undefined && !delivery.discarded && !delivery.delivered;
      if (gone && !delivery.lane.subscription.deleted && !openElsewhere(delivery.lane, delivery.fact)) {
        verdict.broken('P2', 'a redriven dead letter is parked in the same commit', `${letter.id} of event ${delivery.fact.n}`, [
          delivery.lane.name,
        ]);
      }
    }
  }

  return {
    committed(commit, touched) {
      for (const uid of commit.dropSubscriptions ?? []) {
        const subscription = subscriptions.byUid(uid);
        if (subscription !== undefined && !subscription.deleted) {
          verdict.broken('P2', 'only a deleted subscription is forgotten', `${subscription.id} (${uid})`, [uid]);
        }
      }
      cover(touched);
      for (const { delivery, letter } of touched.overwritten) {
        if (isCovered(delivery.lane, delivery.fact)) continue;
        verdict.broken(
          'P2',
          "a range dead letter never takes the place of an event's own",
          `${letter.id} of event ${delivery.fact.n} in lane ${delivery.lane.name}`,
          [`event ${delivery.fact.n} `, letter.id],
        );
      }
      account(touched);
      checkUnparked(commit, touched);
      for (const lane of current()) for (const shard of facts.shards()) look(lane, shard, touched.lanes.has(lane));
    },
    repeated: cover,
    runEnded(run) {
      if (run.state !== 'done') return;
      const lane = lanes.ofRun(run);
      for (const fact of facts.all) {
        if (
          fact.lost ||
          facts.hasTwin(fact) ||
          !isInSpan(run, fact) ||
          !subscriptions.must(run.subscription, fact, run.startedMs)
        )
          continue;
        const delivery = lane.deliveries.get(fact);
        // What a person redrives just then was dead.
        if (delivery?.delivered || delivery?.dead || delivery?.redriving || delivery?.discarded || isCovered(lane, fact))
          continue;
        verdict.broken(
          'P2',
          'a run is done when each of its events is delivered or dead-lettered',
          `event ${fact.n} at ${fact.shard} ${fact.position} in lane ${lane.name}`,
          [`event ${fact.n} `, `event ${fact.n}:`, lane.name],
        );
      }
    },
    restart(withLedger) {
      passed.clear();
      if (withLedger) ranges.clear();
    },
    owes,
    spans: isInSpan,
    left() {
      const left: Left[] = [];
      const leave = (lane: LaneFact, fact: Fact, state: string): void => {
        left.push({
          delivery: `event ${fact.n} at ${fact.shard} ${fact.position} in lane ${lane.name} of ${lane.subscription.id}`,
          state,
          words: [
            `event ${fact.n} `,
            `event ${fact.n}:`,
            ` ${lane.subscription.uid} `,
            `row of ${lane.name} ${fact.shard}`,
            `no row for ${lane.name} ${fact.shard}`,
          ],
        });
      };
      for (const lane of lanes.all) {
        if (lane.subscription.deleted) continue;
        for (const { fact, parked, dead } of lane.deliveries.values()) {
          if (parked !== undefined) leave(lane, fact, parked.state);
          else if (dead !== undefined) leave(lane, fact, 'dead');
        }
      }
      for (const lane of current()) {
        for (const fact of facts.all) {
          const delivery = lane.deliveries.get(fact);
          if (delivery?.delivered || delivery?.covered || delivery?.discarded || delivery?.parked || delivery?.dead) continue;
          if (owes(lane, fact) && !isCovered(lane, fact)) leave(lane, fact, 'not recorded');
        }
      }
      for (const run of subscriptions.runs) {
        if (run.state === 'running' && !run.subscription.deleted)
          left.push({ delivery: `run ${run.id} of ${run.subscription.id}`, state: 'running', words: [run.id] });
      }
      return left;
    },
  };
}
