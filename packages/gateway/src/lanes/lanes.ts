/**
 * All lanes of the process: brings them back at start, hands them the tails' records, writes cursors down, and follows
 * the directory. A caught-up subscription with nothing open has no lane here: the index finds it when an event comes.
 */
import type { Notice } from '../api.ts';
import type { Deliver } from '../flow/deliver.ts';
import { createLane, type Lane, type Recovered } from '../flow/lane.ts';
import type { LaneKind } from './delivery.ts';
import type { Match } from '../flow/match.ts';
import type { Recorder } from '../flow/record.ts';
import { atMost } from '../at-most.ts';
import type { Limits } from '../limits.ts';
import type { Clock } from '../ports/clock.ts';
import type { DisabledCause, Failing, Run, Subscription, Topic, Versioned } from '../ports/directory.ts';
import type { Cursor, Ledger, OpenLane, SlotRow } from '../ports/ledger.ts';
import type { Log, LogRecord } from '../ports/log.ts';
import type { Vault } from '../vault.ts';
import { type CatchUp, createCatchUp } from './catch-up.ts';
import { createCheckpoint } from './checkpoint.ts';
import { cursorAt } from './cursor.ts';
import { createKeys } from './keys.ts';
import { recover, type Recovery } from './recovery.ts';
import { passOf } from './passes.ts';
import { createMoving } from './moving.ts';
import { createRestore } from './restore.ts';
import { createRetention } from './retention.ts';
import { rangeLetter } from './rows.ts';
import { createSubscriber, type Indexed, laneKey, liveName, runName, slotOf, type Subscriber, uidOf } from './subscriber.ts';
import { createSteady } from './steady.ts';
import { createTail, type Place, type Tail } from './tail.ts';
import { createTape } from './tape.ts';
import { cursorOfTime } from './trust.ts';
import type { Turns } from './turns.ts';

export interface Lanes {
  /** Brings back what the ledger knows; then the tails run. Without anything known they begin at the ends, and slots are to be taken. */
  start(known?: Known): Promise<void>;
  /** Takes these slots over while it runs; what they hold is worked from where the ledger says. */
  take(slots: ReadonlySet<number>, known: Known, onBegun?: () => void): Promise<void>;
  /** Lets them go: what is under way ends, within limits.drainMs, and is written down. Resolves when another may take them. */
  leave(slots: ReadonlySet<number>): Promise<void>;
  /** They are another's already: nothing of them is sent or written any more. */
  lose(slots: ReadonlySet<number>): void;
  /** It is being taken, and not worked yet. */
  isComing(uid: string): boolean;
  subscriber(uid: string): Subscriber | undefined;
  subscribers(): Iterable<Subscriber>;
  /** A subscription that is new; its cursors are durable already. To be called inside `beginning`. */
  open(subscription: Versioned<Subscription>, cursors: ReadonlyMap<string, Cursor>): void;
  /** Its settings changed. */
  change(subscription: Versioned<Subscription>): void;
  /** It was deleted: everything about it is forgotten. */
  close(uid: string): void;
  /**
   * While `work` fixes where a pass begins and stores it, the slots' rows stand still: on a shard that is discovered
   * meanwhile they would speak for a pass that has no row there yet.
   */
  beginning<T>(work: () => Promise<T>): Promise<T>;
  /** The subscription begins a new pass at these cursors; the lanes of the one before end. To be called inside `beginning`. */
  rewind(subscription: Versioned<Subscription>, cursors: ReadonlyMap<string, Cursor>): Promise<void>;
  startRun(run: Versioned<Run>): void;
  endRun(run: Versioned<Run>): Promise<void>;
  /** What is parked under this name is being given up just now: nothing may be added to it. */
  isEnding(name: string): boolean;
  /** The lane of that name, made if only the ledger knows it. */
  drain(uid: string, name: string, shard: string): Lane | undefined;
  /** What the ends of the shards are for a subscription that begins now, or at a time. */
  cursorsAt(timeMs: number | 'end' | 'start'): Promise<Map<string, Cursor>>;
  /** Undefined where the shard is not read yet. */
  tail(shard: string): Tail | undefined;
  pumpAll(): void;
  /** Where the tails stand, where that changed since the last call. */
  highWater(): SlotRow[];
  stop(): Promise<void>;
  abandon(): void;
}

/** What the directory knows: all of it, whosever it is to work. */
export interface Known {
  readonly subscriptions: readonly Versioned<Subscription>[];
  readonly runs: readonly Versioned<Run>[];
}

interface Needs {
  readonly log: Log;
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly vault: Vault;
  readonly turns: Turns;
  readonly deliver: Deliver;
  readonly recorder: Recorder;
  readonly match: Match<Indexed>;
  readonly topic: (environment: string, name: string) => Topic | undefined;
  readonly topics: () => Iterable<Versioned<Topic>>;
  /** A run by its id, also one that has ended. */
  readonly run: (environment: string, id: string) => Run | undefined;
  readonly onNotice: (notice: Notice) => void;
  /** Whatever a tail gives out. */
  readonly onRecord: (record: LogRecord, before: Place) => void;
  /** The tail came to a record that can not be an event. */
  readonly onRejected: (record: LogRecord) => void;
  /** An endpoint keeps failing, or does so no longer: to be remembered over a restart. */
  readonly keepFailing: (subscription: Versioned<Subscription>, kept: Failing | undefined) => void;
  readonly onDisable: (subscription: Versioned<Subscription>, cause: DisabledCause) => void;
  /** Every lane of a run has sent what it had to. */
  readonly onRunDone: (run: string) => void;
  /** The log of a run is another one now: it can't go on. */
  readonly onRunLost: (run: Versioned<Run>) => void;
  /** The log is another one for these subscriptions: they begin a new pass. Resolves with the stored subscription. */
  readonly onLogChanged: (subscription: Versioned<Subscription>) => Promise<Versioned<Subscription>>;
}

/** Breakers that must be open by failures to connect before the fault is taken to be ours. */
const EGRESS_MIN = 3;

export function createLanes(needs: Needs): Lanes {
  const { log, ledger, clock, limits, recorder, match } = needs;
  const steady = createSteady(clock);
  const subscribers = new Map<string, Subscriber>();
  const runs = new Map<string, Versioned<Run>>();
  const tails = new Map<string, Tail>();
  const catchUps = new Map<string, CatchUp>();
  /** Subscriptions (uid) that are being set back, and the settings they got meanwhile. */
  const turning = new Map<string, Versioned<Subscription> | undefined>();
  /** Runs that are being given up, by the names of their lanes. */
  const cancelling = new Set<string>();
  /** Up to here a record may have been worked before the restart. */
  const gapEnds = new Map<string, string>();
  /** Where the slots stood then, which is not the same for all: some may have been another's for a while. */
  const stood = new Map<string, Place>();
  /** Called once at the next page of any tail. */
  const waitingForPages: (() => void)[] = [];
  let egressFailing = false;
  let discovering: Promise<void> | undefined;
  let stopped = false;

  const checkpoint = createCheckpoint({ clock, limits, recorder, log: log.identity, subscribers, tails, onDone: finish });
  const { touch, holdSlots } = checkpoint;
  const retention = createRetention({
    log,
    ledger,
    clock,
    limits,
    subscribers,
    topics: needs.topics,
    discover,
    onNotice: needs.onNotice,
  });

  // ── making lanes ───────────────────────────────────────────────────────────────────────────────────────────────

  function make(subscriber: Subscriber, name: string, shard: string, kind: LaneKind): Lane {
    const tail = tails.get(shard) as Tail;
    // Also what a run left parked when it ended, or had redriven since, is the run's: its ids, its address.
    const run = needs.run(subscriber.environment, name.slice(subscriber.uid.length + 1));
    const to = run?.to?.url;
    const lane = createLane({
      name,
      shard,
      kind,
      asNew: run?.ids === 'as-new' ? name.slice(subscriber.uid.length + 1) : undefined,
      environment: subscriber.environment,
      subscription: subscriber.id,
      log: log.identity,
      wants: (record) => match.one(subscriber.indexed, record),
      isTooCostly: (record) => match.isTooCostly(subscriber.indexed, record),
      topics: () => subscriber.versioned.value.topics,
      target: () => (to === undefined ? subscriber.target : subscriber.targetAt(to)),
      line: ({ environment, event }) =>
        kind === 'live' ? (needs.topic(environment, event.type)?.latency ?? 'standard') : 'replay',
      settings: () => subscriber.versioned.value,
      endpoint: to === undefined ? subscriber.endpoint : subscriber.endpointAt(to),
      tape: createTape(),
      keys: createKeys(),
      tail,
      catchUp: catchUps.get(shard) as CatchUp,
      share: subscriber.share,
      deliver: needs.deliver,
      recorder,
      restore: createRestore({ shard, log, find: tail.find }),
      ledger,
      clock,
      steady,
      limits,
      onNotice: (notice) => {
        const isOfBreaker = notice.kind === 'breaker_open' || notice.kind === 'breaker_closed';
        // The breaker of a drill says nothing of the subscription's endpoint.
        if (isOfBreaker && to !== undefined) return;
        needs.onNotice(notice);
        if (isOfBreaker) watchEgress();
      },
      tellBound: () => tellBound(subscriber),
      onFreed: () => {
        if (stopped) return;
        touch();
        subscriber.pump();
      },
    });
    subscriber.lanes.set(laneKey(name, shard), lane);
    return lane;
  }

  /** Once each time the subscription comes to stand at a bound. */
  function tellBound({ bounds, environment, id }: Subscriber): void {
    const bound = bounds.stoppedBy();
    if (bound === bounds.told) return;
    bounds.told = bound;
    if (bound !== undefined) needs.onNotice({ kind: 'bound_reached', environment, subscription: id, bound });
  }

  /** Makes a lane that has to ask the ledger first. Nothing is lost meanwhile: it reads from its cursor when it starts. */
  function load(subscriber: Subscriber, lane: Lane, cursor: Cursor, hasRow: boolean, open?: OpenLane): Promise<void> {
    return holdSlots(async () => {
      const ordered = subscriber.versioned.value.ordering === 'key';
      const keyed = ordered ? await untilItWorks(() => ledger.keyed(lane.name, lane.shard)) : [];
      const handled = await untilItWorks(() => ledger.handledAfter(lane.name, lane.shard, cursor.position));
      if (stopped || subscriber.lanes.get(laneKey(lane.name, lane.shard)) !== lane) return;
      const nothing = { parked: 0, parkedBytes: 0, held: 0 };
      lane.start({ cursor, hasRow, handled: handled ?? [], keyed: keyed ?? [], ...nothing, ...open } satisfies Recovered);
    });
  }

  /** On shards that were discovered since its cursors were fixed a subscription is owed events from its beginning. */
  async function owedOn(shards: readonly string[], { value }: Versioned<Subscription>): Promise<Map<string, Cursor>> {
    const cursors = new Map<string, Cursor>();
    for (const shard of shards) {
      const cursor = await untilItWorks(() => cursorOfTime(log, shard, value.beginsMs));
      if (cursor !== undefined) cursors.set(shard, cursor);
    }
    return cursors;
  }

  /** A shard that was discovered while the subscription was being created or taken over. */
  async function enterNewcomers(subscriber: Subscriber, known: ReadonlySet<string>): Promise<void> {
    const others = [...tails.keys()].filter((shard) => !known.has(shard));
    if (others.length === 0) return;
    const all = await holdSlots(() => owedOn(others, subscriber.versioned));
    const name = subscriber.liveName;
    for (const [shard, cursor] of all) {
      // The tail may have made one that begins with its own first record.
      subscriber.lanes.get(laneKey(name, shard))?.end();
      void load(subscriber, make(subscriber, name, shard, 'live'), cursor, false);
    }
  }

  /** Lanes of a subscription that is new, or begins a new pass; their cursors are on their way to the ledger. */
  function beginAt(subscriber: Subscriber, cursors: ReadonlyMap<string, Cursor>): void {
    const name = subscriber.liveName;
    for (const [shard, cursor] of cursors) void load(subscriber, make(subscriber, name, shard, 'live'), cursor, true);
  }

  async function untilItWorks<T>(read: () => Promise<T>): Promise<T | undefined> {
    for (let delayMs = 50; !stopped; delayMs = Math.min(5_000, delayMs * 2)) {
      try {
        return await read();
      } catch (error) {
        needs.onNotice({ kind: 'ledger_failing', code: (error as { code?: string }).code ?? String(error) });
        await new Promise<void>((resolve) => clock.after(delayMs, resolve));
      }
    }
    return undefined;
  }

  function enter(subscription: Versioned<Subscription>): Subscriber {
    const subscriber = subscriberOf(subscription);
    subscribers.set(subscriber.uid, subscriber);
    return subscriber;
  }

  function subscriberOf(subscription: Versioned<Subscription>): Subscriber {
    return createSubscriber({
      versioned: subscription,
      share: needs.turns.share({
        slot: slotOf(subscription.value.uid),
        of: { environment: subscription.environment, app: subscription.value.app },
      }),
      vault: needs.vault,
      clock,
      limits,
      keepFailing: needs.keepFailing,
      isEgressFailing: () => egressFailing,
      onDisable: needs.onDisable,
    });
  }

  // ── tails ──────────────────────────────────────────────────────────────────────────────────────────────────────

  function makeTail(shard: string, from: Place): void {
    steady.atLeast(from.timeMs);
    const onTrouble = (code: string | undefined): void => {
      if (code !== undefined) needs.onNotice({ kind: 'log_failing', code });
    };
    catchUps.set(shard, createCatchUp({ shard, log, clock, limits, onTrouble }));
    const onRecord = (record: LogRecord, before: Place): void => {
      dispatch(shard, record, before);
      if (!stopped) needs.onRecord(record, before);
    };
    tails.set(
      shard,
      createTail({
        shard,
        from,
        log,
        clock,
        limits,
        onRecord,
        onPage() {
          touch();
          pumpRuns(shard);
          for (const look of waitingForPages.splice(0)) look();
        },
        onExpired: () => fallBehind(shard),
        onTrouble,
      }),
    );
  }

  /** A run never reads ahead of the tail, so it may have to wait for it. */
  function pumpRuns(shard: string): void {
    for (const { id, value } of runs.values()) {
      const subscriber = subscribers.get(value.subscriptionUid);
      subscriber?.lanes.get(laneKey(runName(subscriber.uid, id), shard))?.pump();
    }
  }

  function dispatch(shard: string, record: LogRecord, before: Place): void {
    if (stopped) return;
    if (record.rejected !== undefined) return needs.onRejected(record);
    for (const { subscriber } of match(record)) {
      const name = subscriber.liveName;
      const lane = subscriber.lanes.get(laneKey(name, shard));
      if (lane !== undefined) lane.dispatch(record, before);
      else if (record.position <= (gapEnds.get(shard) ?? '')) dispatchInGap(subscriber, name, record, before);
      else {
        const fresh = make(subscriber, name, shard, 'live');
        fresh.start();
        fresh.dispatch(record, before);
      }
    }
  }

  /** What its slot's row has passed was nothing for it, or is settled. */
  function dispatchInGap(subscriber: Subscriber, name: string, { shard, position }: LogRecord, before: Place): void {
    const place = stood.get(`${subscriber.slot}\n${shard}`) ?? before;
    if (position > place.position) void openInGap(subscriber, name, shard, place.position > before.position ? place : before);
  }

  /** A subscription without a row meets an event of the time before the restart: the ledger knows whether it was worked. */
  async function openInGap(subscriber: Subscriber, name: string, shard: string, before: Place): Promise<void> {
    await load(subscriber, make(subscriber, name, shard, 'live'), cursorAt(before, log.identity), false);
  }

  /** Retention overtook the tail: every caught-up subscription has to find out for itself whether it lost something. */
  function fallBehind(shard: string): void {
    const place = (tails.get(shard) as Tail).end;
    for (const subscriber of subscribers.values()) {
      if (turning.has(subscriber.uid)) continue;
      const name = subscriber.liveName;
      const lane = subscriber.lanes.get(laneKey(name, shard));
      if (lane !== undefined) lane.fallBehind(place);
      else void openInGap(subscriber, name, shard, place);
    }
  }

  /** A shard that appeared since: every subscription enters it at the time from which on it is owed events. */
  async function discover(): Promise<void> {
    while (!stopped && !log.shards().every((shard) => tails.has(shard))) {
      discovering ??= enterNewShards().finally(() => (discovering = undefined));
      await discovering;
    }
  }

  /** With the digest of the last event, so that a restart can see whether it is still there. */
  async function cursorAtEnd(shard: string): Promise<Cursor> {
    const { last, end } = await log.bounds(shard);
    const record = last?.position === end ? await log.fetch(shard, end) : undefined;
    // Of an empty shard no time is known: 0 is before whatever comes.
    return cursorAt(record ?? { position: end, timeMs: last?.timeMs ?? 0 }, log.identity);
  }

  async function enterNewShards(): Promise<void> {
    for (const shard of log.shards().filter((one) => !tails.has(one))) {
      const { last, end } = await log.bounds(shard);
      const owed = await Promise.all(
        [...subscribers.values()].map(async (subscriber) => ({
          subscriber,
          cursor: await cursorOfTime(log, shard, subscriber.versioned.value.beginsMs),
        })),
      );
      if (stopped) return;
      const place = { position: end, timeMs: last?.timeMs ?? 0 };
      checkpoint.doubtful(shard, place);
      makeTail(shard, place);
      for (const { subscriber, cursor } of owed) {
        // One that is being set back enters it with its new pass.
        if (subscribers.get(subscriber.uid) !== subscriber || turning.has(subscriber.uid)) continue;
        void load(subscriber, make(subscriber, subscriber.liveName, shard, 'live'), cursor, false);
      }
      void (tails.get(shard) as Tail).start();
    }
  }

  // ── ends ───────────────────────────────────────────────────────────────────────────────────────────────────────

  function finish(subscriber: Subscriber, lane: Lane, key: string): void {
    lane.end();
    subscriber.lanes.delete(key);
    recorder.add({ idle: { lane: lane.name, shard: lane.shard } });
    const run = runs.get(lane.name.slice(subscriber.uid.length + 1));
    const isLast = ![...subscriber.lanes.values()].some(({ name }) => name === lane.name);
    if (run === undefined || !isLast) return;
    runs.delete(run.id);
    void recorder.settled().then(() => needs.onRunDone(run.id));
  }

  /** When most endpoints can't be reached at once, the fault is ours: one alert. */
  function watchEgress(): void {
    let unreachable = 0;
    for (const { endpoint } of subscribers.values()) if (endpoint.breakerByConnect) unreachable++;
    const failing = unreachable >= EGRESS_MIN && unreachable * 2 > subscribers.size;
    if (failing && !egressFailing) needs.onNotice({ kind: 'egress_failing', subscriptions: unreachable });
    egressFailing = failing;
  }

  // ── life cycle ─────────────────────────────────────────────────────────────────────────────────────────────────

  async function begin({ lanes, counts, lostRuns }: Pick<Recovery, 'lanes' | 'counts' | 'lostRuns'>): Promise<void> {
    for (const run of lostRuns) {
      runs.delete(run.id);
      needs.onRunLost(run);
    }
    for (const { subscriber, parked, parkedBytes, held, deadLetters } of counts) {
      Object.assign(subscriber.bounds.counts, { parked, parkedBytes, held, deadLetters });
      tellBound(subscriber);
    }
    await Promise.all(
      lanes.map(({ subscriber, name, shard, kind, cursor, hasRow, open }) =>
        load(subscriber, make(subscriber, name, shard, kind), cursor, hasRow, open),
      ),
    );
  }

  /** It may stand beyond the bound of dead letters: there is one per change of the log, and losing it would be silent. */
  const lostRange: Parameters<typeof recover>[0]['lostRange'] = ({ subscriber, name, shard, was, now }) => {
    const [after, through] = [was.position, now.position];
    const { environment, id: subscription } = subscriber;
    needs.onNotice({ kind: 'log_changed', environment, subscription, after, through });
    const range = { cause: 'log_changed', after, through, timeMs: was.timeMs, throughTimeMs: now.timeMs } as const;
    return rangeLetter({ lane: name, shard }, range, clock.now());
  };

  /** What the ledger knows of these; repeated until it answers. */
  function recovered(
    which: Pick<Parameters<typeof recover>[0], 'slots' | 'subscribers' | 'runs'> & {
      readonly known?: ReadonlySet<string>;
      readonly onTry?: () => void;
    },
  ): Promise<Recovery | undefined> {
    const moved = new Set<string>();
    const { run, onLogChanged } = needs;
    // Those that were to be taken may be lost again before the ledger answers: they are not here then, and not deleted.
    const exists = (uid: string): boolean => subscribers.has(uid) || moving.isComing(uid) || which.known?.has(uid) === true;
    // One that was not discovered yet is entered when it is.
    const shards = (): readonly string[] => (which.slots === undefined ? log.shards() : [...tails.keys()]);
    return untilItWorks(() => {
      which.onTry?.();
      return recover({ log, ledger, recorder, shards: shards(), exists, run, moved, lostRange, onLogChanged, ...which });
    });
  }

  async function start(known?: Known): Promise<void> {
    if (known === undefined) {
      await untilItWorks(discover);
      if (!stopped) retention.start();
      return;
    }
    for (const run of known.runs) if (run.value.state === 'running') runs.set(run.id, run);
    for (const subscription of known.subscriptions) enter(subscription);
    const recovery = await recovered({ subscribers, runs });
    if (recovery === undefined || stopped) return;
    for (const subscriber of subscribers.values()) match.add(subscriber.indexed);
    for (const [shard, { from, end, isExact }] of recovery.places) {
      if (!isExact) checkpoint.doubtful(shard, from);
      makeTail(shard, from);
      gapEnds.set(shard, end);
    }
    for (const { subscriber, shard, cursor } of recovery.standing) stood.set(`${subscriber.slot}\n${shard}`, cursor);
    await begin(recovery);
    for (const tail of tails.values()) void tail.start();
    retention.start();
  }

  /** Ends what there is of a subscription's passes, also those of before the log changed; resolves with their names. */
  async function endPasses(subscriber: Subscriber): Promise<Set<string>> {
    const its = (): Lane[] => [...subscriber.lanes.values()].filter(({ name }) => passOf({ lane: name }) !== undefined);
    const names = new Set([subscriber.liveName]);
    for (let former = its(); former.length > 0; former = its()) {
      await retired(subscriber, former);
      for (const lane of former) {
        names.add(lane.name);
        lane.end();
        subscriber.lanes.delete(laneKey(lane.name, lane.shard));
      }
    }
    return names;
  }

  /** Requests end by themselves. A consumer may extend what it has without end: past a bound it is taken back, and an ack of it is too late. */
  async function retired({ group }: Subscriber, its: readonly Lane[]): Promise<void> {
    const names = new Set(its.map(({ name }) => name));
    const tooLong = clock.after(limits.takeBackMs, () => group?.takeBack(names));
    await Promise.all(its.map((lane) => lane.retire()));
    tooLong.cancel();
  }

  /** Resolves when the tails have read what is in the log by now. */
  async function reachEnds(): Promise<void> {
    for (const tail of tails.values()) {
      const bounds = await untilItWorks(() => log.bounds(tail.shard));
      if (bounds === undefined) return;
      while (!stopped && tail.end.position < bounds.end) await new Promise<void>((resolve) => waitingForPages.push(resolve));
    }
  }

  const moving = createMoving({
    subscribers,
    runs,
    tails,
    match,
    recorder,
    clock,
    limits,
    log: log.identity,
    checkpoint,
    subscriberOf,
    reachEnds,
    recovered,
    begin,
    enterNewcomers,
    isStopped: () => stopped,
  });

  function isEnding(name: string): boolean {
    return cancelling.has(name) || (passOf({ lane: name }) !== undefined && turning.has(uidOf(name)));
  }

  function close(uid: string): void {
    if (moving.forget(uid)) return recorder.add({ dropSubscription: uid });
    const subscriber = subscribers.get(uid);
    if (subscriber === undefined) return;
    subscribers.delete(uid);
    match.remove(subscriber.indexed);
    for (const lane of subscriber.lanes.values()) lane.end();
    subscriber.lanes.clear();
    subscriber.stop();
    for (const [id, run] of runs) if (run.value.subscriptionUid === uid) runs.delete(id);
    recorder.add({ dropSubscription: uid });
  }

  return {
    start,
    subscriber: (uid) => subscribers.get(uid),
    subscribers: () => subscribers.values(),
    open(subscription, cursors) {
      if (subscribers.has(subscription.value.uid)) return;
      const subscriber = enter(subscription);
      match.add(subscriber.indexed);
      beginAt(subscriber, cursors);
      void enterNewcomers(subscriber, new Set(cursors.keys()));
    },
    change(subscription) {
      if (moving.note(subscription)) return;
      const subscriber = subscribers.get(subscription.value.uid);
      if (subscriber === undefined) return;
      // While it is set back, the new pass begins with what it was changed to meanwhile.
      if (turning.has(subscriber.uid)) return void turning.set(subscriber.uid, subscription);
      const stood = subscriber.versioned.value.state !== 'active';
      const was = JSON.stringify(subscriber.versioned.value.deliver);
      match.remove(subscriber.indexed);
      subscriber.configure(subscription);
      match.add(subscriber.indexed);
      // What is sent, or where to, is another now: what failed before may work.
      const isOther = stood || JSON.stringify(subscription.value.deliver) !== was;
      if (isOther && subscription.value.state === 'active') subscriber.endpoint.probeNow();
      tellBound(subscriber);
      subscriber.pump();
    },
    close,
    take: moving.take,
    leave: moving.leave,
    lose: moving.lose,
    isComing: moving.isComing,
    beginning: holdSlots,
    async rewind(subscription, cursors) {
      const subscriber = subscribers.get(subscription.value.uid);
      if (subscriber === undefined) return;
      turning.set(subscriber.uid, undefined);
      match.remove(subscriber.indexed);
      const names = await endPasses(subscriber);
      const others = await owedOn(
        [...tails.keys()].filter((shard) => !cursors.has(shard)),
        subscription,
      );
      const newest = turning.get(subscriber.uid) ?? subscription;
      turning.delete(subscriber.uid);
      if (stopped || subscribers.get(subscriber.uid) !== subscriber) return;
      subscriber.configure(newest);
      const lane = liveName(newest.value);
      for (const [shard, cursor] of others) recorder.add({ lane: { lane, shard, cursor } });
      for (const name of names) recorder.add({ dropLane: name });
      match.add(subscriber.indexed);
      beginAt(subscriber, new Map([...cursors, ...others]));
    },
    startRun(run) {
      const subscriber = subscribers.get(run.value.subscriptionUid);
      if (subscriber === undefined || runs.has(run.id)) return;
      runs.set(run.id, run);
      const name = runName(subscriber.uid, run.id);
      for (const [shard, { after, until }] of Object.entries(run.value.spans)) {
        const cursor = { log: log.identity, position: after, timeMs: 0, idHash: '' };
        // As long as it has rows, a restart knows that it was running: should it be cancelled, what it parked goes too.
        recorder.add({ lane: { lane: name, shard, cursor } });
        void load(subscriber, make(subscriber, name, shard, { until }), cursor, true);
      }
    },
    async endRun(run) {
      runs.delete(run.id);
      const subscriber = subscribers.get(run.value.subscriptionUid);
      if (subscriber === undefined) return;
      const name = runName(subscriber.uid, run.id);
      const its = [...subscriber.lanes.values()].filter((lane) => lane.name === name);
      cancelling.add(name);
      await retired(subscriber, its);
      for (const lane of its) {
        lane.end();
        subscriber.lanes.delete(laneKey(name, lane.shard));
      }
      recorder.add({ dropLane: name });
      cancelling.delete(name);
    },
    isEnding,
    drain(uid, name, shard) {
      const subscriber = subscribers.get(uid);
      const tail = tails.get(shard);
      if (subscriber === undefined || tail === undefined || isEnding(name)) return undefined;
      const there = subscriber.lanes.get(laneKey(name, shard));
      if (there !== undefined) return there;
      const isLive = name === subscriber.liveName;
      const lane = make(subscriber, name, shard, isLive ? 'live' : 'drain');
      // While the tail still reads what may have been worked before the restart, only the ledger knows what was.
      if (isLive && tail.end.position < (gapEnds.get(shard) ?? ''))
        void load(subscriber, lane, cursorAt(tail.end, log.identity), false);
      else lane.start();
      return lane;
    },
    async cursorsAt(timeMs) {
      await discover();
      const cursors = new Map<string, Cursor>();
      for (const shard of tails.keys()) {
        cursors.set(
          shard,
          timeMs === 'end' ? await cursorAtEnd(shard) : await cursorOfTime(log, shard, timeMs === 'start' ? 0 : timeMs),
        );
      }
      return cursors;
    },
    highWater: checkpoint.highWater,
    tail: (shard) => tails.get(shard),
    pumpAll: () => {
      for (const subscriber of subscribers.values()) subscriber.pump();
    },
    async stop() {
      retention.stop();
      for (const tail of tails.values()) tail.stop();
      for (const catchUp of catchUps.values()) catchUp.stop();
      // A consumer may hold what it has for hours. Given back, it counts no attempt, stays open, and comes again after the next start.
      const tooLong = clock.after(limits.drainMs, () => subscribers.forEach(({ group }) => group?.leave()));
      await Promise.all([...subscribers.values()].flatMap(({ lanes }) => [...lanes.values()].map((lane) => lane.retire())));
      tooLong.cancel();
      checkpoint.writeAll();
      // A ledger that can't be written, its disk being full for instance, must not keep the process.
      await atMost(clock, limits.drainMs, recorder.settled());
      stopAll();
    },
    abandon: stopAll,
  };

  function stopAll(): void {
    stopped = true;
    for (const look of waitingForPages.splice(0)) look();
    checkpoint.stop();
    retention.stop();
    for (const tail of tails.values()) tail.stop();
    for (const catchUp of catchUps.values()) catchUp.stop();
    for (const subscriber of subscribers.values()) {
      for (const lane of subscriber.lanes.values()) lane.end();
      subscriber.stop();
    }
  }
}
