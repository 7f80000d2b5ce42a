/**
 * Slots that come and go while the process runs: what a node of a cluster does when others join, end, or have less to do. A slot
 * brings its subscriptions, and they go on from where the ledger says they stand.
 *
 * Taking: the tails first read what is in the log by then, as the former node may have written down cursors up to there. A
 * subscription for which its slot's row speaks needs a lane only where something for it came since; the ring tells.
 * Leaving: the subscriptions are taken out of the index in one turn of the event loop, and where the tails stood in that turn is
 * what their slots' rows say. Lanes that were caught up stand at that place from then on, so that no row of theirs passes it.
 */
import { atMost } from '../at-most.ts';
import type { Lane } from '../flow/lane.ts';
import type { Match } from '../flow/match.ts';
import type { Recorder } from '../flow/record.ts';
import type { Limits } from '../limits.ts';
import type { Clock } from '../ports/clock.ts';
import type { Run, Subscription, Versioned } from '../ports/directory.ts';
import type { Position } from '../ports/log.ts';
import type { Checkpoint } from './checkpoint.ts';
import { cursorAt } from './cursor.ts';
import type { Known, Lanes } from './lanes.ts';
import type { RecoveredLane, Recovery, Standing } from './recovery.ts';
import { type Indexed, liveName, runName, slotOf, type Subscriber } from './subscriber.ts';
import type { Place, Tail } from './tail.ts';

interface Needs {
  readonly subscribers: Map<string, Subscriber>;
  readonly runs: Map<string, Versioned<Run>>;
  readonly tails: ReadonlyMap<string, Tail>;
  readonly match: Match<Indexed>;
  readonly recorder: Recorder;
  readonly clock: Clock;
  readonly limits: Limits;
  /** The log's identity. */
  readonly log: string;
  readonly checkpoint: Pick<Checkpoint, 'holdSlots' | 'isHolding'>;
  readonly subscriberOf: (subscription: Versioned<Subscription>) => Subscriber;
  readonly reachEnds: () => Promise<void>;
  readonly recovered: (which: {
    readonly slots: ReadonlySet<number>;
    readonly subscribers: ReadonlyMap<string, Subscriber>;
    readonly runs: ReadonlyMap<string, Versioned<Run>>;
    /** All there are (uid), also those that are not to be recovered. */
    readonly known: ReadonlySet<string>;
    /** Before each try: a pass is stored only on top of the present settings. */
    readonly onTry: () => void;
  }) => Promise<Recovery | undefined>;
  readonly begin: (recovery: Pick<Recovery, 'lanes' | 'counts' | 'lostRuns'>) => Promise<void>;
  /** Shards that were discovered since: the subscription enters them. */
  readonly enterNewcomers: (subscriber: Subscriber, known: ReadonlySet<string>) => Promise<void>;
  readonly isStopped: () => boolean;
}

export interface Moving extends Pick<Lanes, 'take' | 'leave' | 'lose' | 'isComing'> {
  /** Settings of one that is being taken have changed. False where it is none. */
  note(subscription: Versioned<Subscription>): boolean;
  /** One that is being taken was deleted. False where it is none. */
  forget(uid: string): boolean;
}

/** One that is being taken: nobody finds it before it begins. */
interface Coming {
  readonly subscriber: Subscriber;
  newest: Versioned<Subscription> | undefined;
}

export function createMoving(needs: Needs): Moving {
  const { subscribers, runs, tails, match, recorder, clock, limits, checkpoint } = needs;
  const coming = new Map<string, Coming>();
  /** Whose slots are being left: what they did is not all written down yet. */
  const leaving = new Set<Subscriber>();

  /** Their slots' rows stand still until their lanes are there: they would speak for what has not begun. */
  const take: Lanes['take'] = (slots, known, onBegun = () => undefined) => {
    const uids = new Set(known.subscriptions.map(({ value }) => value.uid));
    return takeThose(slots, known, uids, onBegun);
  };

  function takeThose(slots: ReadonlySet<number>, known: Known, uids: ReadonlySet<string>, onBegun: () => void): Promise<void> {
    return checkpoint.holdSlots(async () => {
      const taken = new Map<string, Subscriber>();
      for (const subscription of known.subscriptions) {
        const { uid } = subscription.value;
        if (!slots.has(slotOf(uid)) || subscribers.has(uid) || coming.has(uid)) continue;
        const subscriber = needs.subscriberOf(subscription);
        coming.set(uid, { subscriber, newest: undefined });
        taken.set(uid, subscriber);
      }
      const its = new Map(known.runs.flatMap((run) => (isGoingOn(run, taken) ? [[run.id, run]] : [])));
      for (const [id, run] of its) runs.set(id, run);
      // What is on its way for them, from when they were worked here before, comes first.
      await recorder.settled();
      await needs.reachEnds();
      const onTry = (): void => update(taken);
      const recovery = await needs.recovered({ slots, subscribers: taken, runs: its, known: uids, onTry });
      if (recovery === undefined || needs.isStopped()) return;
      onBegun();
      await beginTaken(taken, its, uids, recovery);
    });
  }

  /** By what was heard of them meanwhile. Those that were deleted, or are lost, are no more to be taken. */
  function update(taken: Map<string, Subscriber>): void {
    for (const [uid, subscriber] of taken) {
      const one = coming.get(uid);
      if (one?.subscriber !== subscriber) taken.delete(uid);
      else if (one.newest !== undefined) subscriber.configure(one.newest);
      if (one?.subscriber === subscriber) one.newest = undefined;
    }
  }

  /** In one turn of the event loop: what the tails bring from then on finds the subscriptions in the index. */
  function beginTaken(
    taken: ReadonlyMap<string, Subscriber>,
    its: ReadonlyMap<string, Versioned<Run>>,
    uids: ReadonlySet<string>,
    { places, lanes, standing, counts, lostRuns }: Recovery,
  ): Promise<void> {
    const setBack: Versioned<Subscription>[] = [];
    for (const subscriber of taken.values()) {
      const one = coming.get(subscriber.uid);
      // Lost or deleted meanwhile, and perhaps taken again: then its turn is still to come.
      if (one?.subscriber !== subscriber) continue;
      coming.delete(subscriber.uid);
      if (one.newest !== undefined && one.newest.value.pass !== subscriber.versioned.value.pass) {
        setBack.push(one.newest);
        continue;
      }
      if (one.newest !== undefined) subscriber.configure(one.newest);
      subscribers.set(subscriber.uid, subscriber);
      match.add(subscriber.indexed);
    }
    const cancelled = new Set<string>();
    for (const [id, { value }] of its) if (!runs.has(id)) cancelled.add(runName(value.subscriptionUid, id));
    for (const name of cancelled) recorder.add({ dropLane: name });
    const isThere = ({ subscriber, name = '' }: { readonly subscriber: Subscriber; readonly name?: string }): boolean =>
      subscribers.get(subscriber.uid) === subscriber && !cancelled.has(name);
    const late = needingLanes(standing.filter(isThere));
    const shards = new Set(places.keys());
    for (const subscriber of taken.values()) if (isThere({ subscriber })) void needs.enterNewcomers(subscriber, shards);
    const begun = needs.begin({ lanes: [...lanes.filter(isThere), ...late], counts: counts.filter(isThere), lostRuns });
    return setBack.length === 0 ? begun : begun.then(() => takeAgain(setBack, its, uids));
  }

  /** Those that were set back while they came: what was found for them is of another pass. */
  function takeAgain(
    subscriptions: readonly Versioned<Subscription>[],
    its: ReadonlyMap<string, Versioned<Run>>,
    known: ReadonlySet<string>,
  ): Promise<void> {
    const uids = new Set(subscriptions.map(({ value }) => value.uid));
    const slots = new Set([...uids].map(slotOf));
    const runs = [...its.values()].filter(({ value }) => uids.has(value.subscriptionUid));
    return takeThose(slots, { subscriptions, runs }, known, () => undefined);
  }

  /** Of those that stand with their slot, the ones for which something came since. */
  function needingLanes(standing: readonly Standing[]): RecoveredLane[] {
    const lanes: RecoveredLane[] = [];
    for (const [shard, its] of Map.groupBy(standing, (one) => one.shard)) {
      const tail = tails.get(shard);
      if (tail === undefined) continue;
      const behind = its.filter(({ cursor }) => cursor.position < tail.end.position);
      const wanted = wantedSince(tail, behind);
      for (const { subscriber, cursor } of behind) {
        if (tail.covers(cursor.position) && !wanted.has(subscriber)) continue;
        const name = liveName(subscriber.versioned.value);
        lanes.push({ subscriber, name, shard, kind: 'live', cursor, hasRow: false, open: undefined });
      }
    }
    return lanes;
  }

  /** Those that an event of the ring behind their cursor is for. One look at each event, however many stand. */
  function wantedSince(tail: Tail, behind: readonly Standing[]): Set<Subscriber> {
    const since = new Map(behind.map(({ subscriber, cursor }) => [subscriber, cursor.position]));
    const wanted = new Set<Subscriber>();
    const covered = [...since.values()].filter((position) => tail.covers(position));
    if (covered.length === 0) return wanted;
    const first = covered.reduce<Position>((least, position) => (position < least ? position : least), tail.end.position);
    for (const record of tail.after(first)) {
      for (const { subscriber } of match(record))
        if ((since.get(subscriber) ?? record.position) < record.position) wanted.add(subscriber);
    }
    return wanted;
  }

  /** Takes them out of the index and the process, in one turn of the event loop; resolves to what they were. */
  function takeOut(slots: ReadonlySet<number>): Subscriber[] {
    const its = [...subscribers.values()].filter(({ slot }) => slots.has(slot));
    for (const subscriber of its) {
      match.remove(subscriber.indexed);
      subscribers.delete(subscriber.uid);
    }
    for (const [uid, { subscriber }] of coming) if (slots.has(subscriber.slot)) coming.delete(uid);
    for (const [id, run] of runs) if (slots.has(slotOf(run.value.subscriptionUid))) runs.delete(id);
    return its;
  }

  async function leave(slots: ReadonlySet<number>): Promise<void> {
    const ends = new Map<string, Place>([...tails].map(([shard, { end }]) => [shard, end]));
    const isHolding = checkpoint.isHolding();
    const its = takeOut(slots);
    for (const subscriber of its) leaving.add(subscriber);
    await ended(
      its.flatMap((subscriber) => [...subscriber.lanes.values()]),
      ends,
    );
    // Of what was lost meanwhile that which was not on its way is forgotten: a place beyond it would pass it for good.
    const ours = its.filter((subscriber) => leaving.has(subscriber));
    for (const subscriber of ours) for (const lane of subscriber.lanes.values()) lane.checkpoint();
    // Else the rows that are there stand for some that have not begun: whoever is next reads on from these.
    if (!isHolding)
      for (const slot of new Set(ours.map((subscriber) => subscriber.slot)))
        for (const [shard, end] of ends) recorder.add({ slot: { slot, shard, cursor: cursorAt(end, needs.log) } });
    // Where the store is away it would never end. What is not written down then is sent again by whoever has the slot next.
    await atMost(clock, limits.drainMs, recorder.settled());
    for (const subscriber of its) leaving.delete(subscriber);
    endAll(its);
  }

  function lose(slots: ReadonlySet<number>): void {
    const left = [...leaving].filter(({ slot }) => slots.has(slot));
    for (const subscriber of left) leaving.delete(subscriber);
    endAll([...left, ...takeOut(slots)]);
  }

  /** What an endpoint has not answered by then is sent again by whoever has the slot next. */
  async function ended(lanes: readonly Lane[], ends: ReadonlyMap<string, Place>): Promise<void> {
    const all = Promise.all(lanes.map((lane) => lane.retire()));
    // Only now: a lane that may still take would read on, and be caught up again.
    for (const lane of lanes) lane.fallBehind(ends.get(lane.shard) as Place);
    await atMost(clock, limits.drainMs, all);
  }

  return {
    take,
    leave,
    lose,
    isComing: (uid) => coming.has(uid),
    note(subscription) {
      const one = coming.get(subscription.value.uid);
      if (one !== undefined) one.newest = subscription;
      return one !== undefined;
    },
    forget: (uid) => coming.delete(uid),
  };
}

function isGoingOn({ value }: Versioned<Run>, taken: ReadonlyMap<string, Subscriber>): boolean {
  return value.state === 'running' && taken.has(value.subscriptionUid);
}

function endAll(subscribers: readonly Subscriber[]): void {
  for (const subscriber of subscribers) {
    for (const lane of subscriber.lanes.values()) lane.end();
    subscriber.lanes.clear();
    subscriber.stop();
  }
}
