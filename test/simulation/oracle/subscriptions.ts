/**
 * Subscriptions and runs as the directory durably has them, with every version of their settings and the time in which
 * the gateway may still act on it: until a change is answered, or the process that made it is gone, the old one counts too.
 */
import type { Change, Run, Subscription } from '@millrace/gateway/ports/directory';
import type { From } from '@millrace/gateway/api';
import type { Position } from '@millrace/gateway/ports/log';
import type { Fact, Facts } from './facts.ts';
import { wants } from './matching.ts';

export interface Version {
  readonly value: Subscription;
  readonly fromMs: number;
  untilMs: number;
}

/** Where a live lane began. An event beyond it is owed. */
export interface Beginning {
  readonly from: From;
  readonly madeMs: number;
  /** Generation of the log, and its ends then. */
  readonly generation: number;
  readonly ends: ReadonlyMap<string, Position>;
  /** As `ends`, when it was asked for: nothing up to there may come. */
  readonly endsWhenAsked: ReadonlyMap<string, Position>;
  /** Shards that were not discovered then, or when it was asked for: entered by time. */
  readonly hidden: ReadonlySet<string>;
}

export interface SubscriptionFact {
  readonly uid: string;
  readonly environment: string;
  readonly id: string;
  readonly versions: Version[];
  present: Subscription;
  deleted: boolean;
  /** Its deletion was answered, or its process is gone. */
  gone: boolean;
  /** Of the pass that was last created or rewound. */
  beginning: Beginning;
  beganPass: number;
  /** The present pass goes on where another stood, because the log changed: what was settled there stays settled. */
  carriedOn: boolean;
  /** An older ledger was restored since the present pass began: where it began may be forgotten. */
  restored: boolean;
}

export interface RunFact {
  readonly id: string;
  readonly subscription: SubscriptionFact;
  readonly value: Run;
  readonly startedMs: number;
  readonly generation: number;
  state: Run['state'];
  endedMs: number;
}

export interface Subscriptions {
  readonly all: readonly SubscriptionFact[];
  readonly runs: readonly RunFact[];
  byUid(uid: string): SubscriptionFact | undefined;
  byName(environment: string, id: string): SubscriptionFact | undefined;
  byHost(host: string): { readonly subscription: SubscriptionFact; readonly run?: RunFact } | undefined;
  /** The host of an endpoint belongs to whoever was first told to use it. */
  expect(environment: string, id: string, from: From): void;
  changed(change: Change, nowMs: number): void;
  /** What was changed by name is answered, or nobody can act on what was before any more. */
  settled(nowMs: number, environment?: string, id?: string): void;
  /** Nobody waits for an answer any more. */
  crashed(): void;
  /** Whether it wanted the event by all its versions from `sinceMs` on: it must get it. */
  must(subscription: SubscriptionFact, fact: Fact, sinceMs: number): boolean;
  /** Whether it wanted it by any of them: it may get it. */
  may(subscription: SubscriptionFact, fact: Fact): boolean;
  possible(subscription: SubscriptionFact, sinceMs: number): readonly Subscription[];
  ledgerRestored(): void;
}

export function createSubscriptions(facts: Facts, hidden: () => ReadonlySet<string>): Subscriptions {
  const all: SubscriptionFact[] = [];
  const runs: RunFact[] = [];
  const hosts = new Map<string, { readonly subscription: SubscriptionFact; readonly run?: RunFact }>();
  const expected = new Map<
    string,
    { readonly from: From; readonly ends: ReadonlyMap<string, Position>; readonly hidden: ReadonlySet<string> }
  >();
  const verdicts = new Map<Subscription, Map<number, boolean>>();

  const byUid = (uid: string): SubscriptionFact | undefined => all.find((one) => one.uid === uid);
  const byName = (environment: string, id: string): SubscriptionFact | undefined =>
    all.findLast((one) => one.environment === environment && one.id === id && !one.deleted);

  const endsNow = (): ReadonlyMap<string, Position> => new Map(facts.shards().map((shard) => [shard, facts.end(shard)]));

  function beginning(name: string, madeMs: number): Beginning {
    const asked = expected.get(name);
    expected.delete(name);
    const ends = endsNow();
    return {
      from: asked?.from ?? 'latest',
      endsWhenAsked: asked?.ends ?? ends,
      madeMs,
      generation: facts.generation,
      ends,
      hidden: new Set([...(asked?.hidden ?? []), ...hidden()]),
    };
  }

  function subscriptionChanged(environment: string, id: string, value: Subscription | undefined, nowMs: number): void {
    const name = `${environment} ${id}`;
    const before = byName(environment, id);
    if (before !== undefined && value?.uid !== before.uid) before.deleted = true;
    if (value === undefined) return;
    const known = byUid(value.uid) ?? added(environment, id, value, beginning(name, nowMs));
    if (value.pass !== known.present.pass) {
      known.carriedOn = !expected.has(name);
      if (!known.carriedOn) Object.assign(known, { beginning: beginning(name, nowMs), beganPass: value.pass });
      known.restored = known.restored && known.carriedOn;
    }
    known.versions.push({ value, fromMs: nowMs, untilMs: Number.POSITIVE_INFINITY });
    known.present = value;
    hosts.getOrInsertComputed(new URL(value.deliver.webhook?.url ?? '').host, () => ({ subscription: known }));
  }

  function added(environment: string, id: string, present: Subscription, began: Beginning): SubscriptionFact {
    const made = {
      uid: present.uid,
      environment,
      id,
      versions: [],
      present,
      deleted: false,
      gone: false,
      beginning: began,
      beganPass: present.pass,
      carriedOn: false,
      restored: false,
    };
    all.push(made);
    return made;
  }

  function runChanged(id: string, value: Run | undefined, nowMs: number): void {
    const known = runs.find((run) => run.id === id);
    if (known === undefined) {
      const subscription = value && byUid(value.subscriptionUid);
      if (value === undefined || subscription === undefined) return;
      const run: RunFact = {
        id,
        subscription,
        value,
        startedMs: nowMs,
        generation: facts.generation,
        state: value.state,
        endedMs: Number.POSITIVE_INFINITY,
      };
      runs.push(run);
      if (value.to !== undefined) hosts.set(new URL(value.to.url).host, { subscription, run });
      return;
    }
    const state = value?.state ?? 'cancelled';
    if (known.state === 'running' && state !== 'running') known.endedMs = nowMs;
    known.state = state;
  }

  function wantedBy(subscription: SubscriptionFact, version: Subscription, fact: Fact): boolean {
    const known = verdicts.getOrInsertComputed(version, () => new Map());
    return known.getOrInsertComputed(fact.n, () => wants(version, subscription.environment, fact));
  }

  return {
    all,
    runs,
    byUid,
    byName,
    byHost: (host) => hosts.get(host),
    expect: (environment, id, from) =>
      void expected.set(`${environment} ${id}`, { from, ends: endsNow(), hidden: new Set(hidden()) }),
    changed(change, nowMs) {
      if (change.kind === 'subscription') subscriptionChanged(change.environment, change.id, change.now?.value, nowMs);
      if (change.kind === 'run') runChanged(change.id, change.now?.value, nowMs);
    },
    crashed: () => expected.clear(),
    settled(nowMs, environment, id) {
      expected.delete(`${environment} ${id}`);
      for (const one of all) {
        if (environment !== undefined && (one.environment !== environment || one.id !== id)) continue;
        one.gone = one.deleted;
        for (const version of one.versions.slice(0, -1)) version.untilMs = Math.min(version.untilMs, nowMs);
      }
    },
    must(subscription, fact, sinceMs) {
      const fromMs = Math.max(fact.bornMs, sinceMs);
      return subscription.versions.every(({ value, untilMs }) => untilMs < fromMs || wantedBy(subscription, value, fact));
    },
    may: (subscription, fact) =>
      subscription.versions.some(({ value, untilMs }) => untilMs >= fact.bornMs && wantedBy(subscription, value, fact)),
    possible: (subscription, sinceMs) =>
      subscription.versions.filter(({ untilMs }) => untilMs >= sinceMs).map(({ value }) => value),
    ledgerRestored() {
      for (const one of all) one.restored = true;
    },
  };
}
