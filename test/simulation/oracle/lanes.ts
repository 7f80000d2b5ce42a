/** What becomes of each event in each lane: what the ledger durably says, and what truly happened. */
import type { AttemptRow, DeadLetter, ParkedRow } from '@millrace/gateway/ports/ledger';
import type { Fact } from './facts.ts';
import type { RunFact, SubscriptionFact, Subscriptions } from './subscriptions.ts';

/** One event in one lane. */
export interface Delivery {
  readonly lane: LaneFact;
  readonly fact: Fact;
  // true, whatever the ledger says
  /** An endpoint answered 2xx since this lane began. */
  accepted: boolean;
  /** The life in which the gateway heard of a 2xx; 0 for none. */
  heardIn: number;
  // by the ledger
  delivered: boolean;
  attempts: AttemptRow[];
  parked: ParkedRow | undefined;
  dead: DeadLetter | undefined;
  /** A range dead letter stands for it, and says so rightly. */
  covered: boolean;
  /** Redriven and not yet settled. */
  redriving: boolean;
  /** Attempts when it was redriven last. */
  redrivenAfter: number;
  redrivenWithBytes: boolean;
  /** By a person; stays so, whatever ledger comes back. */
  discarded: boolean;
}

export interface LaneFact {
  readonly name: string;
  readonly subscription: SubscriptionFact;
  /** Undefined for a live lane. */
  readonly run: RunFact | undefined;
  /** Of a live lane. */
  readonly pass: number;
  readonly deliveries: Map<Fact, Delivery>;
}

export interface Lanes {
  readonly all: Iterable<LaneFact>;
  /** By its name in the ledger; undefined when its subscription was never in the directory. */
  named(name: string): LaneFact | undefined;
  /** Of the present pass, unless another is named. */
  live(subscription: SubscriptionFact, pass?: number): LaneFact;
  ofRun(run: RunFact): LaneFact;
  delivery(lane: LaneFact, fact: Fact): Delivery;
  /** Forgets all that the ledger said: it is read anew. */
  forgetLedger(): void;
}

export function createLanes(subscriptions: Subscriptions): Lanes {
  const lanes = new Map<string, LaneFact>();

  function named(name: string): LaneFact | undefined {
    const known = lanes.get(name);
    if (known !== undefined) return known;
    const [uid = '', part = ''] = name.split('.');
    const subscription = subscriptions.byUid(uid);
    if (subscription === undefined) return undefined;
    const run = subscriptions.runs.find((one) => one.id === part);
    const lane: LaneFact = {
      name,
      subscription,
      run,
      pass: run === undefined ? Number(part.slice(1)) : -1,
      deliveries: new Map(),
    };
    lanes.set(name, lane);
    return lane;
  }

  return {
    get all() {
      return lanes.values();
    },
    named,
    live: (subscription, pass = subscription.present.pass) => named(`${subscription.uid}.p${pass}`)!,
    ofRun: (run) => named(`${run.subscription.uid}.${run.id}`)!,
    delivery: (lane, fact) =>
      lane.deliveries.getOrInsertComputed(fact, () => ({
        lane,
        fact,
        accepted: false,
        heardIn: 0,
        ...unrecorded(),
        discarded: false,
      })),
    forgetLedger() {
      for (const lane of lanes.values()) for (const delivery of lane.deliveries.values()) Object.assign(delivery, unrecorded());
    },
  };
}

function unrecorded(): Omit<Delivery, 'lane' | 'fact' | 'accepted' | 'heardIn' | 'discarded'> {
  return {
    delivered: false,
    attempts: [],
    parked: undefined,
    dead: undefined,
    covered: false,
    redriving: false,
    redrivenAfter: 0,
    redrivenWithBytes: false,
  };
}
