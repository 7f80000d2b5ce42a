/**
 * What the gateway offers to its doors (HTTP, CLI, tests): one interface, no transport in it.
 * Everything rejects with a Problem; what is refused changes nothing.
 */
import type { EventDraft } from '@millrace/core/draft';
import type { Problem } from '@millrace/core/problem';
import type { TraceContext } from '@millrace/core/trace';
import type { NodeNotice } from './cluster/node.ts';
import type { Outage } from './lanes/endpoint.ts';
import type { Consumer, Member } from './lanes/group.ts';
import type { DisabledCause, Job, Run, Subscription, SubscriptionBounds, Versioned } from './ports/directory.ts';
import type { Finding } from './ports/finding.ts';
import type { DeadLetter, LanePosition } from './ports/ledger.ts';
import type { LogRecord, Position, Rejected } from './ports/log.ts';
import type { Feeds } from './realtime/feeds.ts';

export interface Gateway {
  /** Recovers the lanes from the ledger and begins. Resolves when publishing and delivering work. */
  start(): Promise<void>;
  /** Journey steps accept and append. Resolves when every event that is not refused is durable. */
  publish(request: Publish): Promise<readonly Published[]>;
  readonly subscriptions: Subscriptions;
  readonly replays: Replays;
  readonly deadLetters: DeadLetters;
  readonly jobs: Jobs;
  readonly deliveries: Deliveries;
  readonly failures: Failures;
  readonly events: Events;
  /** Ephemeral subs: what sessions are fed by. */
  readonly feeds: Feeds;
  readonly groups: Groups;
  readonly rejects: Rejects;
  /** State of a subscription's lanes as a management page shows it. */
  health(environment: string, id: string): Promise<Health>;
  /** Of all subscriptions that are worked here, what can be said without asking anybody. */
  states(): Iterable<SubscriptionState>;
  /** What log and store say of themselves. */
  checks(): Promise<readonly Check[]>;
  readonly slots: Slots;
  /** Stops reading, waits for what is in flight (at most limits.drainMs), commits, stops. Leaves the ports open. */
  stop(): Promise<void>;
  /** Stops at once, as a crash would: nothing is committed or sent any more. For tests and for fatal errors. */
  abandon(): void;
}

export interface Check {
  readonly name: 'log' | 'store';
  readonly findings: readonly Finding[];
}

/** Which subscriptions are worked here: all, or in a cluster those of the slots that the node was given. */
export interface Slots {
  /** Whether the subscription with this uid is worked here. */
  owns(uid: string): boolean;
  /** Resolves when what they hold is being worked. `onBegun` is called once it is known what the ledger has of them, before any of it is. */
  take(slots: ReadonlySet<number>, onBegun?: () => void): Promise<void>;
  /** What is under way ends, within limits.drainMs, and is written down. Resolves when another node may take them. */
  leave(slots: ReadonlySet<number>): Promise<void>;
  /** They are another's already: nothing of them is sent or written any more. */
  lose(slots: ReadonlySet<number>): void;
  /** Deliveries of a slot that were begun here since the process started. */
  started(slot: number): number;
}

export interface Publish {
  readonly environment: string;
  /** The publishing app; it must not be empty. */
  readonly app: string;
  /** 1 to limits.batchEvents. */
  readonly events: readonly Draft[];
  /** Of a single event (the Idempotency-Key header). Without it an event's own id, where the publisher set one, dedupes with its source. */
  readonly idempotencyKey?: string;
  /** Of the call: goes along with the events that have none of their own, where there is room for it. */
  readonly trace?: TraceContext;
}

/** An event as a publisher hands it in: id, source and time are filled in where missing. */
export type Draft = EventDraft;

/** One per event, in order. */
export type Published =
  | { readonly status: 'appended' | 'duplicate'; readonly id: string; readonly shard: string; readonly position: Position }
  | { readonly status: 'refused'; readonly problem: Problem };

/** Stream subscriptions, for their consumers. */
export interface Groups {
  /** Throws `not_found`, `conflict` for one that delivers to a webhook, `moving` where another node works it. */
  join(environment: string, id: string, consumer: Consumer): Member;
  /** Resolves when what was settled before is written down. */
  settled(): Promise<void>;
  /** Whether the last that was heard of this delivery is that it was delivered. */
  isDelivered(delivery: LanePosition): Promise<boolean>;
  /** No ack can come any more: what is out is given back, and no attempt counts. */
  giveBack(): void;
}

export interface Events {
  /**
   * Events of the log after a cursor. Answers at once where there are some, where the log was not read to its end, or
   * where some are missing (`gap`); else as soon as one comes, at the latest after `waitMs`, or when `signal` is aborted.
   */
  read(query: EventsQuery, signal?: AbortSignal): Promise<EventPage>;
}

export interface EventsQuery {
  readonly environment: string;
  /** Events for another audience are left out; without it all are shown. */
  readonly app?: string;
  /** Patterns. */
  readonly topics: readonly string[];
  /** Where to begin without a cursor. */
  readonly from?: From;
  readonly cursor?: ReadCursor;
  /** 1 to limits.eventsPage. */
  readonly limit: number;
  readonly waitMs: number;
}

/** A place in all shards. */
export interface ReadCursor {
  readonly log: string;
  readonly positions: Readonly<Record<string, Position>>;
  /** Of the last event passed: by it a reader goes on in another log. */
  readonly timeMs: number;
}

export interface EventPage {
  readonly records: readonly LogRecord[];
  readonly cursor: ReadCursor;
  /** Nothing newer was there. */
  readonly atEnd: boolean;
  readonly gap?: Gap;
}

/** Events between the cursor and the first that is still there. */
export interface Gap {
  readonly cause: 'expired' | 'log_changed';
  readonly after?: Position;
  readonly through?: Position;
  readonly count?: number;
}

/** As a person writes it (design.md section 5). */
export interface SubscriptionSpec {
  readonly app: string;
  readonly topics: readonly string[];
  readonly filter?: unknown;
  /** One of them. */
  readonly deliver: {
    readonly stream?: { readonly ackWait?: string | number };
    readonly webhook?: {
      readonly url: string;
      readonly signature?: 'standard' | 'simple';
      /** Without one, one is made and returned once. */
      readonly secret?: string;
      readonly timeoutMs?: number;
      readonly body?: 'data' | 'event';
      /** Only with `simple`. */
      readonly json?: 'canonical' | 'as-sent';
      readonly headers?: Readonly<Record<string, string>>;
    };
  };
  readonly retry?: { readonly schedule?: readonly (string | number)[]; readonly jitter?: number };
  readonly ordering?: 'none' | 'key';
  readonly onDead?: 'release' | 'hold';
  readonly concurrency?: number;
  readonly ratePerSecond?: number | null;
  readonly breaker?: { readonly failures?: number; readonly events?: number } | false;
  readonly bounds?: Partial<SubscriptionBounds>;
  /** A span of failure that disables it (default 5 days), or false. */
  readonly disableAfter?: string | number | false;
  /** Where a new subscription begins: now, at the first event that is still there, or at a time. Ignored in changes. */
  readonly from?: From;
}
export type From = 'latest' | 'earliest' | { readonly timeMs: number };

export interface Subscriptions {
  /** Fixes the cursors, then stores it: an event published after this resolved is delivered. `secret` is shown this once. */
  create(environment: string, id: string, spec: SubscriptionSpec): Promise<Created>;
  /** Members that are present replace those of the subscription; `filter: null` and `ratePerSecond: null` remove it. */
  update(environment: string, id: string, change: Partial<SubscriptionSpec>, expect?: number): Promise<Versioned<Subscription>>;
  /** What a person should know of its settings before it happens, e.g. a schedule that outlasts a topic's retention. */
  warnings(subscription: Versioned<Subscription>): readonly string[];
  /** Forgets it with its parked deliveries, attempts and dead letters. False when there was none. */
  delete(environment: string, id: string): Promise<boolean>;
  pause(environment: string, id: string): Promise<Versioned<Subscription>>;
  /** Starts a paused or disabled one; also has an open breaker probe at once. */
  resume(environment: string, id: string): Promise<Versioned<Subscription>>;
  /**
   * Sends an event of its own, signed as any other, and records nothing. A good answer has an open breaker probe at once. Rejects
   * with `too_many_requests` where one is under way already, or where no delivery could start for want of room or rate.
   */
  test(environment: string, id: string, event: { readonly topic: string; readonly data: Uint8Array }): Promise<TestResult>;
  /**
   * A new secret, made or given. Those before count on for `overlapMs`: Standard Webhooks deliveries carry a signature of
   * each, `simple` ones are tried with the other where the first is refused. `secret` is shown this once.
   */
  rotateSecret(
    environment: string,
    id: string,
    rotation: { readonly secret?: string; readonly overlapMs: number },
    expect?: number,
  ): Promise<{ readonly subscription: Versioned<Subscription>; readonly secret: string; readonly previousUntilMs: number }>;
}

/** A request sent now, outside of any lane. */
export interface TestResult {
  readonly webhookId: string;
  readonly delivered: boolean;
  /** 0 without an answer. */
  readonly status: number;
  /** Stable code, empty when delivered. */
  readonly cause: string;
  readonly snippet: string;
  readonly durationMs: number;
}

export interface Created {
  readonly subscription: Versioned<Subscription>;
  /** Of a webhook. */
  readonly secret?: string;
  /** As `warnings()` of it. */
  readonly warnings: readonly string[];
}

/** What clients of the broker wrote to a topic and can not be an event. It stands in the log, and nowhere else. */
export interface Rejects {
  /** Newest first. One call looks through so much of the log; `next` goes on where it stopped, also where it found nothing. */
  read(query: RejectsQuery): Promise<RejectPage>;
}

export interface RejectsQuery {
  readonly environment: string;
  readonly topic: string;
  readonly limit: number;
  readonly cursor?: RejectCursor;
}

/** Before this record; without shard and position, before this time. */
export interface RejectCursor {
  readonly timeMs: number;
  readonly shard: string;
  readonly position: Position;
  /** What is looked through next, as the last call found it fit. */
  readonly windowMs: number;
}

export interface RejectPage {
  readonly records: readonly (LogRecord & { readonly rejected: Rejected })[];
  /** Everything from this time on was looked through, up to where the call began. */
  readonly throughMs: number;
  readonly next?: RejectCursor;
}

export interface ReplaySpec {
  readonly from: From;
  /** Inclusive; without it the end at the time of the call. */
  readonly untilMs?: number;
  readonly ids?: 'same' | 'as-new';
  /** Send to another endpoint (a drill). */
  readonly to?: { readonly url: string };
}

export interface RunProgress {
  /** Of the span of time it goes over, 0 to 100. */
  readonly percent: number;
  /** Append time of what it has sent. */
  readonly atMs: number;
}

export interface Replays {
  /** How many events the run would send, without starting it. */
  count(environment: string, id: string, spec: ReplaySpec): Promise<number>;
  /** Starts a bounded run beside the live lane. */
  start(environment: string, id: string, spec: ReplaySpec): Promise<Versioned<Run>>;
  cancel(environment: string, run: string): Promise<Versioned<Run>>;
  /** How far a running one has come, on the log's clock; undefined of one that has ended. */
  progress(run: Versioned<Run>): RunProgress | undefined;
  /** Sets the live lane itself back (or forward) to `from`: its parked deliveries are dropped, as the events come again. */
  rewind(environment: string, id: string, from: From): Promise<Versioned<Subscription>>;
}

export interface DeadLetters {
  list(
    environment: string,
    id: string,
    page: { readonly after?: string; readonly limit: number },
  ): Promise<readonly DeadLetter[]>;
  /** Delivers it again with a fresh schedule; attempts go on counting. A range has nothing to send: `not_redrivable`. */
  redrive(environment: string, id: string, deadLetter: string): Promise<void>;
  /** Removes it. */
  discard(environment: string, id: string, deadLetter: string): Promise<void>;
}

/** Which dead letters: all of a subscription where nothing is said. Times are when they died, both inclusive. */
export type DeadLetterFilter = Job['filter'];

export interface Jobs {
  /** How many letters it would be about. */
  count(environment: string, id: string, kind: Job['kind'], filter: DeadLetterFilter): Promise<number>;
  /** Starts it; what dies from then on is not touched. */
  begin(environment: string, id: string, kind: Job['kind'], filter: DeadLetterFilter): Promise<Versioned<Job>>;
  /** What it has done by then stays done. */
  cancel(environment: string, job: string): Promise<Versioned<Job>>;
}

export interface Deliveries {
  /**
   * Tries it now: one that is parked before it is due, one that is dead or delivered once more with a fresh schedule.
   * `conflict` for one that waits behind its key, `in_flight` while it is under way, `not_redrivable` where its event is gone.
   */
  retry(environment: string, id: string, delivery: LanePosition): Promise<void>;
  /** What receivers know it by; undefined where its event is no longer in the log. */
  webhookIdOf(environment: string, delivery: LanePosition, eventId: string): Promise<string | undefined>;
}

/** What receivers report of deliveries that they have acknowledged before. */
export interface Failures {
  /** What the token of an attempt says, of the delivery with this id. Throws `unauthorized` or `token_expired`. */
  read(id: string, token: string | undefined): Reported;
  /**
   * The delivery is parked again, or dead. Once per attempt: said again it is as it is. `in_flight` where the answer of that
   * attempt is not written down yet, `conflict` where it was sent again since, `not_redrivable` where its event is gone.
   */
  report(environment: string, id: string, delivery: LanePosition, said: SaidFailed): Promise<Settled>;
}

/** Which attempt of a delivery. */
export interface Reported {
  readonly n: number;
  /** How many before it do not count for its schedule. */
  readonly before: number;
  /** When its token was made, about. */
  readonly madeMs: number;
}

export interface SaidFailed {
  readonly reported: Reported;
  readonly reason: string;
  /** Never again. */
  readonly dead?: boolean;
  /** Until the next attempt; without it, as the schedule says. */
  readonly delayMs?: number;
}

export interface Settled {
  readonly outcome: 'retry' | 'dead';
  /** When it is tried again; absent while it is. */
  readonly dueMs?: number;
}

export interface SubscriptionState extends Pick<
  Health,
  'state' | 'breaker' | 'outage' | 'failingMs' | 'stoppedBy' | 'parked' | 'held' | 'deadLetters' | 'inFlight'
> {
  readonly environment: string;
  readonly id: string;
}

export interface Health {
  readonly state: Subscription['state'];
  /** Why and when the gateway disabled it. */
  readonly disabled?: NonNullable<Subscription['disabled']>;
  readonly breaker: 'closed' | 'open';
  /** Why the breaker is open. */
  readonly outage?: Outage;
  /** From the first failure to the last one, without a success in between. */
  readonly failingMs: number;
  /** Name of the bound at which the lane stands still, else undefined. */
  readonly stoppedBy?: keyof SubscriptionBounds;
  readonly parked: number;
  readonly parkedBytes: number;
  readonly held: number;
  readonly deadLetters: number;
  readonly inFlight: number;
  /** How long the oldest event has waited that is neither delivered, parked nor held, ms; 0 where there is none. */
  readonly behindMs: number;
  /** Per shard: where the lane has read to. */
  readonly cursors: Readonly<Record<string, Position>>;
  /** Deliveries allowed at once by now: concurrency, less what failures took from it. */
  readonly allowed: number;
}

/** Something an operator should know. Given to `onNotice`; wording lives with who shows it. */
export type Notice =
  | {
      readonly kind: 'delivered' | 'retry' | 'dead';
      readonly webhookId: string;
      readonly environment: string;
      readonly subscription: string;
      readonly eventId: string;
      readonly topic: string;
      readonly cause: string;
      readonly status: number;
      readonly n: number;
      readonly durationMs: number;
      readonly nextMs?: number;
    }
  | {
      readonly kind: 'breaker_open' | 'breaker_closed';
      readonly environment: string;
      readonly subscription: string;
      readonly cause: string;
    }
  | {
      readonly kind: 'bound_reached';
      readonly environment: string;
      readonly subscription: string;
      readonly bound: keyof SubscriptionBounds;
    }
  | {
      /** Its receiver acknowledged it and failed later. */
      readonly kind: 'reported';
      readonly environment: string;
      readonly subscription: string;
      /** Its id. */
      readonly event: string;
      readonly topic: string;
      readonly n: number;
      readonly outcome: 'retry' | 'dead';
    }
  | {
      /** A client of the broker wrote what can not be an event. */
      readonly kind: 'rejected';
      readonly environment: string;
      readonly topic: string;
      readonly code: string;
      readonly detail: string;
    }
  | { readonly kind: 'retention_near'; readonly environment: string; readonly subscription: string; readonly percent: 50 | 80 }
  | {
      readonly kind: 'range_expired' | 'log_changed';
      readonly environment: string;
      readonly subscription: string;
      readonly after: Position;
      readonly through: Position;
    }
  | { readonly kind: 'disabled'; readonly environment: string; readonly subscription: string; readonly cause: DisabledCause }
  | NodeNotice
  | { readonly kind: 'egress_failing'; readonly subscriptions: number }
  | { readonly kind: 'ledger_failing' | 'log_failing'; readonly code: string }
  /** Events are taken again. */
  | { readonly kind: 'log_working' }
  /** Events that nobody reads: where, and what to do. */
  | { readonly kind: 'left_behind'; readonly problem: string; readonly advice: string };
