/**
 * The gateway: the journey of an event in five steps. Read this first.
 *
 *   publish ──► accept ──► append ──► match ──► deliver ──► record
 *               validate   durable    which     sign, send  what happened,
 *                          in the log lanes     classify    in one transaction
 *
 * A publisher's call ends after append: what follows is the lanes' work, at their own speed, from the log.
 */
import { createAgain } from './again.ts';
import type { Gateway, Health, Notice, Published, SubscriptionState } from './api.ts';
import { createChecks } from './checks.ts';
import { createDeadLetters } from './dead-letters.ts';
import { createDeliveries } from './deliveries.ts';
import { createDisabling } from './disabling.ts';
import { createEvents } from './events.ts';
import { createFailures } from './failures/failures.ts';
import { createFailedAt } from './failures/header.ts';
import { createFailureTokens } from './failures/token.ts';
import { createFeeds } from './realtime/feeds.ts';
import { createForgetRuns } from './forget-runs.ts';
import { createAccept } from './flow/accept.ts';
import { createAppend } from './flow/append.ts';
import { createClaiming, isForgetful } from './flow/claim.ts';
import { createDeliver } from './flow/deliver.ts';
import { createMatch } from './flow/match.ts';
import { createRecorder } from './flow/record.ts';
import { createGroups } from './groups.ts';
import { createJobs } from './jobs.ts';
import { createLanes, type Known } from './lanes/lanes.ts';
import { storePass } from './lanes/passes.ts';
import { type Indexed, liveName, slotOf, type Subscriber } from './lanes/subscriber.ts';
import { createTurns } from './lanes/turns.ts';
import { oldestWaiting } from './lanes/waiting.ts';
import { LIMITS, type Limits } from './limits.ts';
import { createLookUp } from './look-up.ts';
import { createPace } from './pace.ts';
import { createPast } from './past.ts';
import { Problem } from '@millrace/core/problem';
import type { Claims } from './ports/claims.ts';
import type { Clock } from './ports/clock.ts';
import type { Change, Directory, Run, Subscription, Versioned } from './ports/directory.ts';
import type { Cursor, Ledger } from './ports/ledger.ts';
import type { Appended, Entry, Log } from './ports/log.ts';
import type { Sender } from './ports/sender.ts';
import { createRegistry } from './registry.ts';
import { createRejects } from './rejects.ts';
import { createReplays } from './replays.ts';
import { createOwnership, createSlots } from './slots.ts';
import { createSubscriptions } from './subscriptions.ts';
import type { Vault } from './vault.ts';

const FINISH_AGAIN_MS = 5_000;

export interface GatewayPorts {
  readonly log: Log;
  readonly directory: Directory;
  readonly ledger: Ledger;
  /** Asked where the log forgets idempotency keys too soon; without it they are remembered as long as the log does. */
  readonly claims?: Claims | undefined;
  readonly sender: Sender;
  readonly clock: Clock;
  readonly vault: Vault;
}

export interface GatewayOptions {
  readonly ports: GatewayPorts;
  readonly limits?: Partial<Limits>;
  /** A node of a cluster: it works no subscription before it is given their slots. */
  readonly withoutSlots?: boolean;
  /** Why nothing would be sent to this address; undefined where nothing speaks against it. Default: nothing does. */
  readonly checkEndpoint?: (url: URL) => string | undefined;
  /** Where the gateway is reached from outside, by receivers too; undefined while that is not known. */
  readonly publicUrl?: () => string | undefined;
  /** Told of everything an operator may want to see. Must not throw. */
  readonly onNotice?: (notice: Notice) => void;
}

export function createGateway({
  ports,
  limits: given = {},
  withoutSlots = false,
  checkEndpoint = () => undefined,
  publicUrl = () => undefined,
  onNotice = () => undefined,
}: GatewayOptions): Gateway {
  const { log, directory, ledger, claims, sender, clock, vault } = ports;
  const limits: Limits = { ...LIMITS, ...given };
  const opening = new Map<string, ReadonlyMap<string, Cursor>>();

  const registry = createRegistry({ directory, onChange: follow });
  const topic = registry.topic;
  const pace = createPace({ clock, limits });

  // The five steps.
  const accept = createAccept({ topic, clock, limits });
  const appendToLog = createAppend({
    log,
    limits,
    pace,
    isUrgent: ({ environment, event }) => topic(environment, event.type)?.latency === 'interactive',
  });
  const append = (entries: readonly Entry[], isLate?: () => boolean) => appendToLog(entries, isLate).then(logWorks, logFails);
  const claiming =
    claims !== undefined && isForgetful(log, limits) ? createClaiming({ append, log, claims, clock, limits }) : undefined;
  const match = createMatch<Indexed>();
  const failureTokens = createFailureTokens({ vault, clock, limits });
  const deliver = createDeliver({ sender, clock, failedAt: createFailedAt({ publicUrl, tokens: failureTokens }) });
  const recorder = createRecorder({
    ledger,
    clock,
    limits,
    onTrouble: reportLedger,
    onRoom: () => lanes.pumpAll(),
    highWater: () => lanes.highWater(),
  });

  const turns = createTurns({
    limits,
    pace,
    quotaOf: (environment, app) => registry.app(environment, app)?.quotas?.deliveriesInFlight,
  });
  const rejects = createRejects({ log, clock, limits, onNotice });
  const lanes = createLanes({
    log,
    ledger,
    clock,
    limits,
    vault,
    turns,
    deliver,
    recorder,
    match,
    topic,
    topics: registry.topics,
    run: registry.run,
    onNotice,
    onRecord: (record, before) => feeds.onRecord(record, before),
    onRejected: rejects.note,
    onRunDone: (run) => void finishRun(run),
    onRunLost: ({ environment, id }) => void replays.cancel(environment, id).catch(reportLog),
    onLogChanged: nextPass,
    keepFailing: (subscription, kept) => disabling.keepFailing(subscription, kept),
    onDisable: (subscription, cause) => disabling.disable(subscription, cause),
  });
  const feeds = createFeeds({
    log,
    tail: (shard) => lanes.tail(shard),
    clock,
    limits,
    onTrouble: (code) => onNotice({ kind: 'log_failing', code }),
  });
  const disabling = createDisabling({ directory, registry, lanes: () => lanes, clock, onNotice, onTrouble: reportLog });
  const ownership = createOwnership({ withoutSlots });
  const { isOurs, tenureOf } = ownership;
  const lookUp = createLookUp({ registry, lanes, isOurs });
  const subscriptions = createSubscriptions({
    directory,
    registry,
    recorder,
    lanes,
    lookUp,
    isOneShard: log.supports.shards === 'one',
    vault,
    deliver,
    checkEndpoint,
    clock,
    opening,
    isOurs,
    tenureOf,
  });
  const forgetRuns = createForgetRuns({ directory, ledger, registry, lanes, isOurs, clock, limits });
  const replays = createReplays({
    log,
    directory,
    registry,
    lanes,
    lookUp,
    recorder,
    match,
    checkEndpoint,
    clock,
    limits,
    tenureOf,
    onStart: forgetOldRuns,
  });
  const again = createAgain({ recorder, lanes });
  const deadLetters = createDeadLetters({ ledger, lookUp, lanes, recorder, clock, again });
  const past = createPast({ log, run: registry.run });
  const deciding = new Set<string>();
  const deliveries = createDeliveries({ past, ledger, lookUp, lanes, deadLetters, again, run: registry.run, deciding, clock });
  const failures = createFailures({
    ledger,
    lookUp,
    lanes,
    recorder,
    again,
    tokens: failureTokens,
    past,
    deciding,
    clock,
    limits,
    onNotice,
  });
  const jobs = createJobs({ directory, ledger, lookUp, isOurs, deadLetters, clock, limits, onTrouble: reportLog });
  const events = createEvents({ log, clock, limits });
  const groups = createGroups({ lookUp, lanes, recorder, ledger, clock });
  const slots = createSlots({
    ownership,
    isNode: withoutSlots,
    registry,
    lanes,
    replays,
    jobs,
    recorder,
    turns,
    known,
    isRunning: () => state === 'running',
    goOnWith,
  });
  let logTrouble: string | undefined;
  let state: 'new' | 'running' | 'stopping' | 'stopped' = 'new';

  async function publish(request: Parameters<Gateway['publish']>[0]): Promise<readonly Published[]> {
    if (state !== 'running') throw new Problem('shutting_down', 'the gateway takes no events now', { retryAfterMs: 1_000 });
    const accepted = await acceptAll(request);
    const entries = accepted.filter((one): one is Entry => !(one instanceof Problem));
    const appended = entries.length === 0 ? [] : await (claiming ?? append)(entries);
    let at = 0;
    return accepted.map((one) =>
      one instanceof Problem ? { status: 'refused', problem: one } : publishedAs(one, appended[at++] as Appended | Problem),
    );
  }

  /** Told when it begins and when it is over: publishers are many. */
  function logFails(error: unknown): never {
    const code = error instanceof Problem ? error.code : String(error);
    if (code !== 'overloaded' && code !== logTrouble) onNotice({ kind: 'log_failing', code });
    if (code !== 'overloaded') logTrouble = code;
    throw error;
  }

  function logWorks(appended: readonly Appended[]): readonly Appended[] {
    if (logTrouble !== undefined) onNotice({ kind: 'log_working' });
    logTrouble = undefined;
    return appended;
  }

  /** In a hurry a large call is taken in piece by piece. */
  async function acceptAll(request: Parameters<Gateway['publish']>[0]): Promise<(Entry | Problem)[]> {
    const accepted: (Entry | Problem)[] = [];
    for (const piece of accept(request, pace.isHurried ? limits.hurriedEvents : undefined)) {
      accepted.push(...piece);
      if (accepted.length < request.events.length) await pace.ownTurn();
    }
    return accepted;
  }

  function follow(change: Change, before: Versioned<unknown> | undefined): void {
    if (change.kind === 'topic' && change.now !== undefined)
      void declare(change.environment, change.id, change.now.value.retentionMs);
    if (change.kind === 'run') followRun(change.now, before as Versioned<Run> | undefined);
    if (change.kind === 'subscription') followSubscription(change.now, before as Versioned<Subscription> | undefined);
  }

  function followSubscription(now: Versioned<Subscription> | undefined, before: Versioned<Subscription> | undefined): void {
    if (before !== undefined && before.value.uid !== now?.value.uid) lanes.close(before.value.uid);
    if (now === undefined) return;
    const { uid } = now.value;
    const cursors = opening.get(uid);
    const slot = slotOf(uid);
    if (!ownership.owned.has(slot)) return;
    if (cursors !== undefined) lanes.open(now, cursors);
    // Another node made it, and has lost the slot since.
    else if (withoutSlots && lanes.subscriber(uid) === undefined && !lanes.isComing(uid) && !ownership.taking.has(slot))
      void slots.take(new Set([slot])).catch(reportLog);
    else if (before?.value.pass === now.value.pass || lanes.isComing(uid)) lanes.change(now);
    // A new pass is begun by whoever rewinds: it knows the cursors. One that lost the slot meanwhile is not us.
    else if (withoutSlots && !replays.isRewinding(uid) && isOfAnotherPass(now)) {
      lanes.lose(new Set([slot]));
      void slots.take(new Set([slot])).catch(reportLog);
    }
  }

  function followRun(now: Versioned<Run> | undefined, before: Versioned<Run> | undefined): void {
    if (now?.value.state === 'running') lanes.startRun(now);
    else if (now?.value.state === 'cancelled' && before !== undefined) void lanes.endRun(before);
  }

  /** The log learns of a topic's retention; should it fail now, the next start tells it again. */
  async function declare(environment: string, name: string, retentionMs: number): Promise<void> {
    await log.declareTopic({ environment, topic: name, retentionMs }).catch(reportLog);
  }

  function reportLog(error: unknown): void {
    onNotice({ kind: 'log_failing', code: error instanceof Problem ? error.code : String(error) });
  }

  async function nextPass(subscription: Versioned<Subscription>): Promise<Versioned<Subscription>> {
    const { environment, id, value } = subscription;
    const now = await storePass(directory, subscription, { ...value, pass: value.pass + 1 });
    registry.tell({ kind: 'subscription', environment, id, now });
    return now;
  }

  /** Until it is stored: nobody else would, before the next start. */
  async function finishRun(run: string): Promise<void> {
    try {
      await replays.finish(run);
    } catch (error) {
      reportLog(error);
      if (state === 'running') clock.after(FINISH_AGAIN_MS, () => void finishRun(run));
    }
  }

  /** Beside all else: nobody waits for it. */
  function forgetOldRuns(): void {
    void forgetRuns().catch((error: unknown) => state === 'running' && reportLog(error));
  }

  function reportLedger(code: string | undefined): void {
    if (code !== undefined) onNotice({ kind: 'ledger_failing', code });
  }

  function known(): Known {
    return { subscriptions: [...registry.subscriptions()], runs: [...registry.runs()] };
  }

  function isOfAnotherPass({ value: { uid, pass } }: Versioned<Subscription>): boolean {
    const subscriber = lanes.subscriber(uid);
    return subscriber !== undefined && subscriber.versioned.value.pass !== pass;
  }

  async function start(): Promise<void> {
    await registry.start();
    // Together: a log that must tell a broker of them tells it once.
    await Promise.all(
      [...registry.topics()].map(({ environment, id, value }) =>
        log.declareTopic({ environment, topic: id, retentionMs: value.retentionMs }),
      ),
    );
    await lanes.start(withoutSlots ? undefined : known());
    if (!withoutSlots) await goOnWith(() => true);
    state = 'running';
    forgetOldRuns();
  }

  /** What else goes on beside lanes. */
  async function goOnWith(isOurs: (uid: string) => boolean): Promise<void> {
    await disabling.restore(isOurs);
    await jobs.start(isOurs);
  }

  async function health(environment: string, id: string): Promise<Health> {
    const subscriber = lookUp(environment, id);
    const [ends, waitingSinceMs] = await Promise.all([lanes.cursorsAt('end'), oldestWaiting({ subscriber, log, match })]);
    return { ...healthOf(subscriber, ends), behindMs: Math.max(0, Math.round(clock.now() - waitingSinceMs)) };
  }

  return {
    start,
    publish,
    subscriptions,
    replays,
    deadLetters,
    deliveries,
    failures,
    jobs,
    events,
    feeds,
    groups,
    rejects,
    health,
    checks: createChecks({ log, ledger, registry, rejects, limits, hasClaims: claims !== undefined }),
    states: () => [...lanes.subscribers()].map(stateOf),
    slots,
    async stop() {
      if (state === 'stopped') return;
      state = 'stopping';
      jobs.stop();
      // What an endpoint has not answered by then stays open and is sent again after the next start; so it is with consumers (lanes.ts).
      const tooLong = clock.after(limits.drainMs, () => void sender.close());
      await lanes.stop();
      tooLong.cancel();
      await claiming?.settled();
      claiming?.stop();
      registry.stop();
      recorder.abandon();
      state = 'stopped';
    },
    abandon() {
      state = 'stopped';
      jobs.stop();
      registry.stop();
      lanes.abandon();
      claiming?.stop();
      recorder.abandon();
    },
  };
}

function publishedAs({ event }: Entry, appended: Appended | Problem): Published {
  if (appended instanceof Problem) return { status: 'refused', problem: appended };
  if (appended.status === 'conflict') {
    return {
      status: 'refused',
      problem: new Problem('idempotency_key_reused', 'the key was used before for other content', {
        advice: 'Use a new key (or event id) for a new event.',
      }),
    };
  }
  const { status, shard, position } = appended;
  return { status, shard, position, id: appended.status === 'duplicate' ? appended.id : event.id };
}

function stateOf({ bounds, endpoint, versioned, environment, id }: Subscriber): SubscriptionState {
  const stoppedBy = bounds.stoppedBy();
  const { parked, held, deadLetters } = bounds.counts;
  return {
    environment,
    id,
    state: versioned.value.state,
    breaker: endpoint.breakerOpen ? 'open' : 'closed',
    ...(endpoint.outage === undefined ? {} : { outage: endpoint.outage }),
    failingMs: endpoint.failing.spanMs,
    ...(stoppedBy === undefined ? {} : { stoppedBy }),
    parked,
    held,
    deadLetters,
    inFlight: endpoint.inFlight,
  };
}

function healthOf(
  { bounds, endpoint, versioned, lanes }: Subscriber,
  ends: ReadonlyMap<string, Cursor>,
): Omit<Health, 'behindMs'> {
  const name = liveName(versioned.value);
  const own = [...lanes.values()].filter((lane) => lane.name === name);
  const stoppedBy = bounds.stoppedBy();
  return {
    state: versioned.value.state,
    ...(versioned.value.disabled === undefined ? {} : { disabled: versioned.value.disabled }),
    breaker: endpoint.breakerOpen ? 'open' : 'closed',
    ...(endpoint.outage === undefined ? {} : { outage: endpoint.outage }),
    failingMs: endpoint.failing.spanMs,
    ...(stoppedBy === undefined ? {} : { stoppedBy }),
    ...bounds.counts,
    inFlight: endpoint.inFlight,
    allowed: endpoint.allowed,
    cursors: Object.fromEntries(
      [...ends].map(([shard, { position }]) => [shard, own.find((lane) => lane.shard === shard)?.place.position ?? position]),
    ),
  };
}
