/** Replays: a bounded run of its own from an older cursor, beside the live lane; or the live lane itself set back. */
import { newId } from '@millrace/core/ids';
import { Problem } from '@millrace/core/problem';
import type { From, Replays, ReplaySpec } from './api.ts';
import type { Match } from './flow/match.ts';
import type { Recorder } from './flow/record.ts';
import type { Lanes } from './lanes/lanes.ts';
import { storePass, writePass } from './lanes/passes.ts';
import type { Indexed, Subscriber } from './lanes/subscriber.ts';
import type { Limits } from './limits.ts';
import { Elsewhere, type LookUp, noSubscription } from './look-up.ts';
import { bytesFrom, type Clock } from './ports/clock.ts';
import type { Directory, Run, Subscription, Versioned } from './ports/directory.ts';
import type { Log } from './ports/log.ts';
import type { Registry } from './registry.ts';
import { type CheckEndpoint, endpointOf } from './settings.ts';
import { beginning, owedFrom } from './subscriptions.ts';

/** Until it is worth asking for a place again: replays take seconds or days. */
const PLACE_MS = 10_000;

interface Needs {
  readonly log: Log;
  readonly directory: Directory;
  readonly registry: Registry;
  readonly lanes: Lanes;
  readonly lookUp: LookUp;
  readonly recorder: Recorder;
  readonly match: Match<Indexed>;
  readonly checkEndpoint: CheckEndpoint;
  readonly clock: Clock;
  readonly limits: Limits;
  /** Under what the slot of a subscription (uid) is held; another one where it was lost meanwhile. */
  readonly tenureOf: (uid: string) => object | undefined;
  /** Another one begins: others may be old enough to be forgotten. */
  readonly onStart: () => void;
}

export interface ReplaysAndEnd extends Replays {
  /** All lanes of the run have done their work. */
  finish(run: string): Promise<void>;
  /** A subscription (uid) is being set back by this process. */
  isRewinding(uid: string): boolean;
  /** Resolves when all that are being set back now have been, or could not be. */
  rewound(): Promise<void>;
}

export function createReplays(needs: Needs): ReplaysAndEnd {
  const { log, directory, registry, lanes, recorder, lookUp, match, checkEndpoint, clock, limits, tenureOf, onStart } = needs;
  /** Subscriptions (uid) that are being set back: two at once would write the same rows. */
  const rewinding = new Map<string, Promise<unknown>>();
  /** Subscriptions (uid) of replays that are being started, one for each. */
  const starting: string[] = [];

  /** Unless there is no room: then it throws `too_many_requests`. */
  async function inItsPlace<T>(uid: string, start: () => Promise<T>): Promise<T> {
    const underWay = [...registry.runs()]
      .filter(({ value }) => value.state === 'running')
      .map(({ value }) => value.subscriptionUid);
    // Of one whose subscription was deleted nothing is under way, whatever its state says.
    const taken = [...underWay.filter((one) => lanes.subscriber(one) !== undefined), ...starting];
    if (taken.filter((one) => one === uid).length >= limits.subscriptionReplays)
      throw noPlace(`${limits.subscriptionReplays} replays of this subscription are under way already`);
    if (taken.length >= limits.replays) throw noPlace(`${limits.replays} replays are under way already`);
    starting.push(uid);
    try {
      return await start();
    } finally {
      starting.splice(starting.indexOf(uid), 1);
    }
  }

  async function spansOf({ from, untilMs }: ReplaySpec): Promise<Pick<Run, 'spans' | 'fromMs' | 'throughMs'>> {
    if (untilMs !== undefined && !(Number.isFinite(untilMs) && untilMs >= 0))
      throw new Problem('invalid_request', 'until is a time', { pointer: '/until' });
    await checkPast(from);
    const starts = await lanes.cursorsAt(beginning(from));
    // Inclusive: the run ends before the first event that is later.
    const ends = await lanes.cursorsAt(untilMs === undefined ? 'end' : untilMs + 1);
    const spans = Object.fromEntries(
      [...starts].map(([shard, { position }]) => [shard, { after: position, until: ends.get(shard)?.position ?? position }]),
    );
    const times = (cursors: typeof starts): number[] => [...cursors.values()].map(({ timeMs }) => timeMs);
    return { spans, fromMs: Math.min(...times(starts)), throughMs: Math.max(...times(ends)) };
  }

  /** Nothing has come from there yet: whoever says so has mistaken the year, or the time zone. */
  async function checkPast(from: From): Promise<void> {
    const at = beginning(from);
    if (typeof at !== 'number' || at <= clock.now()) return;
    // The log has a clock of its own, and goes by the wall clock only while that goes on.
    const nowMs = Math.max(clock.now(), ...[...(await lanes.cursorsAt('end')).values()].map(({ timeMs }) => timeMs));
    if (at <= nowMs) return;
    throw new Problem('invalid_request', `from lies in the future: it is ${new Date(nowMs).toISOString()} now`, {
      pointer: '/from',
      advice: 'What comes from now on is delivered anyway; for what is there already, say since when.',
    });
  }

  async function countSpan(
    { indexed, environment, versioned }: Subscriber,
    shard: string,
    { after, until }: Run['spans'][string],
  ): Promise<number> {
    const only = { environment, topics: versioned.value.topics };
    let count = 0;
    for (let at = after; at < until;) {
      const page = await log.read({ shard, after: at, only, limit: limits.pageRecords, maxBytes: limits.pageBytes });
      for (const record of page.records) if (record.position <= until && match.one(indexed, record)) count++;
      if (page.through === at) break;
      at = page.through;
    }
    return count;
  }

  async function setBack(
    environment: string,
    id: string,
    uid: string,
    at: ReturnType<typeof beginning>,
    tenure: object | undefined,
  ): Promise<Versioned<Subscription>> {
    const found = await directory.get('subscription', environment, id);
    if (found === undefined || found.value.uid !== uid) throw noSubscription(environment, id);
    const pass = found.value.pass + 1;
    const beginsMs = owedFrom(at, (await lanes.cursorsAt('end')).values());
    const value: Subscription = { ...found.value, pass, beginsPass: pass, beginsMs };
    let cursors = await lanes.cursorsAt(at);
    await writePass(recorder, value, cursors);
    // A shard may have appeared meanwhile: it is set back like the others.
    while (cursors.size < log.shards().length) await writePass(recorder, value, (cursors = await lanes.cursorsAt(at)));
    // What was on its way for a slot that is lost is not written: whoever has it now would begin by the time alone.
    if (tenureOf(uid) !== tenure) throw new Elsewhere(id, uid);
    const now = await storePass(directory, found, value);
    await lanes.rewind(now, cursors);
    // Unless it was deleted meanwhile.
    if (registry.subscription(environment, id)?.value.uid === uid) registry.tell({ kind: 'subscription', environment, id, now });
    return now;
  }

  async function store(run: Versioned<Run>, value: Run): Promise<Versioned<Run>> {
    const now = await directory.put('run', run.environment, run.id, value, run.version);
    registry.tell({ kind: 'run', environment: run.environment, id: run.id, now });
    return now;
  }

  return {
    async count(environment, id, spec) {
      const subscriber = lookUp(environment, id);
      let count = 0;
      for (const [shard, span] of Object.entries((await spansOf(spec)).spans)) count += await countSpan(subscriber, shard, span);
      return count;
    },
    async start(environment, id, spec) {
      const subscriber = lookUp(environment, id);
      const { ids = 'same' } = spec;
      const to = spec.to && { url: endpointOf(spec.to.url, checkEndpoint, '/to/url') };
      if (ids !== 'same' && ids !== 'as-new')
        throw new Problem('invalid_request', "ids is 'same' or 'as-new'", { pointer: '/ids' });
      return inItsPlace(subscriber.uid, async () => {
        onStart();
        const run = newId('run', clock.now(), bytesFrom(clock));
        const value: Run = {
          subscription: id,
          subscriptionUid: subscriber.uid,
          log: log.identity,
          ...(await spansOf(spec)),
          ids,
          ...(to === undefined ? {} : { to }),
          state: 'running',
          createdMs: clock.now(),
        };
        const now = await directory.put('run', environment, run, value, 'absent');
        registry.tell({ kind: 'run', environment, id: run, now });
        return now;
      });
    },
    async cancel(environment, id) {
      const found = await directory.get('run', environment, id);
      if (found === undefined) throw new Problem('not_found', `there is no replay '${id}'`);
      if (found.value.state !== 'running') return found;
      return store(found, { ...found.value, state: 'cancelled', endedMs: clock.now() });
    },
    progress({ id, value: { state, subscriptionUid, fromMs = 0, throughMs = 0 } }) {
      const its = [...(lanes.subscriber(subscriptionUid)?.lanes.values() ?? [])].filter(({ name }) => name.endsWith(`.${id}`));
      if (state !== 'running' || its.length === 0) return undefined;
      const atMs = Math.max(fromMs, Math.min(...its.map(({ place }) => place.timeMs)));
      const share = throughMs > fromMs ? (atMs - fromMs) / (throughMs - fromMs) : 0;
      return { percent: Math.min(100, Math.floor(share * 100)), atMs };
    },
    isRewinding: (uid) => rewinding.has(uid),
    async rewind(environment, id, from: From) {
      const { uid } = lookUp(environment, id);
      const tenure = tenureOf(uid);
      const at = beginning(from);
      await checkPast(from);
      if (rewinding.has(uid))
        throw new Problem('in_flight', 'this subscription is being set back just now', { retryAfterMs: 1_000 });
      const setting = lanes.beginning(() => setBack(environment, id, uid, at, tenure));
      rewinding.set(uid, setting);
      try {
        return await setting;
      } finally {
        rewinding.delete(uid);
      }
    },
    async rewound() {
      await Promise.allSettled(rewinding.values());
    },
    async finish(id) {
      const run = [...registry.runs()].find((one) => one.id === id);
      if (run?.value.state === 'running') await store(run, { ...run.value, state: 'done', endedMs: clock.now() });
    },
  };
}

function noPlace(why: string): Problem {
  return new Problem('too_many_requests', why, {
    retryAfterMs: PLACE_MS,
    advice: 'Wait for one of them, or cancel it: GET /v1/operations.',
  });
}
