/**
 * Recovery: what the ledger remembers becomes lanes again. For a subscription on a shard the cursor is, in this order,
 *   1. its lane row,
 *   2. its slot's row, if the ledger knows the subscription's pass (see passes.ts),
 *   3. the time from which on it is owed events.
 * An offset is never trusted to mean the same event twice: where the cursor's event is not there any more though
 * retention did not take it, the lane goes on from that event's time, in a new pass, and a range is written down.
 */
import type { LaneKind } from './delivery.ts';
import type { Recorder } from '../flow/record.ts';
import type { Run, Subscription, Versioned } from '../ports/directory.ts';
import type { Cursor, DeadLetter, LaneRow, Ledger, OpenLane, SlotRow } from '../ports/ledger.ts';
import type { Log, Position } from '../ports/log.ts';
import { addPass, knownPasses, passOf, writePass } from './passes.ts';
import { laneKey, liveName, runName, slotOf, type Subscriber, uidOf } from './subscriber.ts';
import type { Place } from './tail.ts';
import { changedShards, cursorOfTime, HIGH_WATER, highWaterOf, isSame } from './trust.ts';

export interface Recovery {
  /** Per shard: where the tail begins, and the end at the time of the recovery. */
  readonly places: ReadonlyMap<string, Beginning>;
  readonly lanes: readonly RecoveredLane[];
  /** Subscriptions for which their slot's row speaks, and how far. They need a lane only for what came since. */
  readonly standing: readonly Standing[];
  /** Replays over a log that is not there any more: their spans mean other events now, so they can't go on. */
  readonly lostRuns: readonly Versioned<Run>[];
  /** What the subscriptions have in the ledger, all lanes together. */
  readonly counts: readonly {
    readonly subscriber: Subscriber;
    readonly parked: number;
    readonly parkedBytes: number;
    readonly held: number;
    readonly deadLetters: number;
  }[];
}

export interface Standing {
  readonly subscriber: Subscriber;
  readonly shard: string;
  readonly cursor: Cursor;
}

interface Beginning {
  readonly from: Place;
  readonly end: Position;
  /** Whether `from` has the exact time of its event. */
  readonly isExact: boolean;
}

export interface RecoveredLane {
  readonly subscriber: Subscriber;
  readonly name: string;
  readonly shard: string;
  readonly kind: LaneKind;
  readonly cursor: Cursor;
  readonly hasRow: boolean;
  readonly open: OpenLane | undefined;
}

interface Needs {
  readonly log: Log;
  readonly ledger: Ledger;
  readonly recorder: Recorder;
  /** Slots that are taken over while the tails run: of all others nothing is looked at. Without it, all, and the tails begin here. */
  readonly slots?: ReadonlySet<number>;
  readonly shards: readonly string[];
  /** Whether there is a subscription with this uid, be it among those that are recovered or not. */
  readonly exists: (uid: string) => boolean;
  readonly subscribers: ReadonlyMap<string, Subscriber>;
  /** Those that are running. */
  readonly runs: ReadonlyMap<string, Versioned<Run>>;
  /** A run by its id, also one that has ended. */
  readonly run: (environment: string, id: string) => Run | undefined;
  /** Subscriptions (uid) that were moved to another log by this start; filled here. */
  readonly moved: Set<string>;
  /** The dead letter for what stood between two cursors of different logs. */
  readonly lostRange: (moved: { subscriber: Subscriber; name: string; shard: string; was: Cursor; now: Cursor }) => DeadLetter;
  /** The subscription is stored with its next pass. */
  readonly onLogChanged: (subscription: Versioned<Subscription>) => Promise<Versioned<Subscription>>;
}

export async function recover(needs: Needs): Promise<Recovery> {
  const { log, ledger, subscribers, runs, moved } = needs;
  const known = await whatIsKnown(needs);
  dropOrphans(needs, known);
  const lanes = new Map<string, RecoveredLane>();
  const add = (lane: Omit<RecoveredLane, 'open'>): void => {
    const key = laneKey(lane.name, lane.shard);
    if (!lanes.has(key)) lanes.set(key, { ...lane, open: known.open.get(key) });
  };

  for (const subscriber of subscribers.values()) {
    // A recovery that is repeated because a store failed must not move again what it has moved.
    if (!moved.has(subscriber.uid) && isMoved(known, subscriber)) await moveToNewLog(needs, known, subscriber, add);
    else if (!knows(known, subscriber)) await beginAgain(needs, known, subscriber, add);
  }
  const places = new Map<string, Beginning>();
  const standing: Standing[] = [];
  for (const shard of known.shards) places.set(shard, await recoverShard(needs, known, { shard, add, standing }));
  const lostRuns = [...runs.values()].filter(
    ({ value }) => value.log !== log.identity || Object.keys(value.spans).some((shard) => known.changed.has(shard)),
  );
  for (const run of runs.values()) if (!lostRuns.includes(run)) recoverRun(needs, known, run, add);
  for (const { lane: name, shard } of known.open.values()) {
    // What is parked on a shard that the log does not have waits in the ledger until it does.
    if (!places.has(shard)) continue;
    const subscriber = subscribers.get(uidOf(name));
    const cursor = { log: log.identity, position: '', timeMs: 0, idHash: '' };
    if (subscriber !== undefined) add({ subscriber, name, shard, kind: 'drain', cursor, hasRow: false });
  }
  forgetFormer(needs, known);
  return {
    places,
    standing,
    lanes: [...lanes.values()],
    counts: countsOf(needs, known, await ledger.deadLetterCounts()),
    lostRuns,
  };
}

interface Known {
  /** One look for all: a shard that appears meanwhile is entered like any that is discovered later. */
  readonly shards: readonly string[];
  readonly rows: ReadonlyMap<string, LaneRow>;
  /** Passes the ledger knows by subscription (uid), newest first. */
  readonly passes: ReadonlyMap<string, readonly number[]>;
  readonly slots: ReadonlyMap<string, SlotRow>;
  readonly open: ReadonlyMap<string, OpenLane>;
  readonly dead: ReadonlyMap<string, number>;
  /** Shards whose high water is not there any more. */
  readonly changed: ReadonlySet<string>;
}

type Add = (lane: Omit<RecoveredLane, 'open'>) => void;

async function whatIsKnown(needs: Needs): Promise<Known> {
  const { log, ledger, shards } = needs;
  const isMeant = (uid: string): boolean => needs.slots?.has(slotOf(uid)) ?? true;
  const [rows, slots, open, dead] = await Promise.all([
    ledger.lanes().then((all) => all.filter(({ lane }) => isMeant(uidOf(lane)))),
    ledger.slots().then((all) => (needs.slots === undefined ? all : slotRowsOf(needs.slots, all))),
    ledger.openLanes().then((all) => all.filter(({ lane }) => isMeant(uidOf(lane)))),
    ledger.deadLetterCounts().then((all) => all.filter(({ subscription }) => isMeant(subscription))),
  ]);
  const passes = knownPasses(rows);
  const dropped = new Set([
    ...setBack(needs, passes, new Set([...rows, ...open].map(({ lane }) => lane))),
    ...cancelled(needs, rows),
  ]);
  for (const lane of dropped) needs.recorder.add({ dropLane: lane });
  return {
    shards,
    rows: new Map(rows.map((row) => [laneKey(row.lane, row.shard), row])),
    passes,
    slots: new Map(slots.map((row) => [laneKey(String(row.slot), row.shard), row])),
    open: new Map(open.filter(({ lane }) => !dropped.has(lane)).map((one) => [laneKey(one.lane, one.shard), one])),
    dead: new Map(dead.map(({ subscription, count }) => [subscription, count])),
    changed: await changedShards({ log, shards, rows, slots }),
  };
}

/** Of these slots, with what was noted of each as the high water. */
function slotRowsOf(slots: ReadonlySet<number>, rows: readonly SlotRow[]): SlotRow[] {
  const waters = new Set([...slots].map(highWaterOf));
  return rows.flatMap((row) => {
    if (waters.has(row.slot)) return [{ ...row, slot: HIGH_WATER }];
    return slots.has(row.slot) ? [row] : [];
  });
}

/**
 * A rewind gives up what was parked before it. Where the ledger still knows a pass of before, a crash came between, or it
 * is a backup: the rewind is brought to its end.
 */
function setBack({ subscribers }: Needs, passes: Known['passes'], names: Iterable<string>): string[] {
  return [...names].filter((lane) => {
    const of = passOf({ lane });
    const beginsPass = of === undefined ? undefined : subscribers.get(of.uid)?.versioned.value.beginsPass;
    if (of === undefined || beginsPass === undefined || of.pass >= beginsPass) return false;
    return passes.get(of.uid)?.some((pass) => pass < beginsPass);
  });
}

/** Likewise runs that were cancelled and still have their rows. What was redriven of one since has none. */
function cancelled({ subscribers, run }: Needs, rows: readonly LaneRow[]): string[] {
  return rows.flatMap(({ lane }) => {
    const subscriber = subscribers.get(uidOf(lane));
    const of = subscriber && run(subscriber.environment, lane.slice(subscriber.uid.length + 1));
    return of?.state === 'cancelled' ? [lane] : [];
  });
}

/** Subscriptions that were deleted while we were not there to forget them. */
function dropOrphans({ recorder, exists }: Needs, { rows, open, dead }: Known): void {
  const uids = [...rows.values(), ...open.values()].map(({ lane }) => uidOf(lane));
  for (const uid of new Set([...uids, ...dead.keys()])) if (!exists(uid)) recorder.add({ dropSubscription: uid });
}

/** Rows of passes that are over: the present one is durable by now. */
function forgetFormer({ recorder, subscribers }: Needs, { rows }: Known): void {
  for (const { lane, shard } of rows.values()) {
    const of = passOf({ lane });
    const present = of === undefined ? undefined : subscribers.get(of.uid)?.versioned.value.pass;
    if (present !== undefined && present !== of?.pass) recorder.add({ idle: { lane, shard } });
  }
}

const knows = ({ passes }: Known, { uid, versioned }: Subscriber): boolean =>
  passes.get(uid)?.includes(versioned.value.pass) ?? false;

/**
 * What the ledger knows of where a subscription stands; undefined when only the time it is owed from helps. A former pass
 * counts where it went on without a rewind: an older ledger does not know that the log changed since.
 */
function storedCursor(
  { rows, passes, slots }: Known,
  { uid, slot, versioned }: Subscriber,
  shard: string,
): { cursor: Cursor; by: 'row' | 'slot' } | undefined {
  const { pass, beginsPass } = versioned.value;
  const newest = passes.get(uid)?.find((one) => one >= beginsPass && one <= pass);
  if (newest === undefined) return undefined;
  const row = rows.get(laneKey(liveName({ uid, pass: newest }), shard));
  if (row !== undefined) return { cursor: row.cursor, by: 'row' };
  const place = slots.get(laneKey(String(slot), shard));
  return place === undefined ? undefined : { cursor: place.cursor, by: 'slot' };
}

/** Where it is owed events from. A time of another log's clock says nothing here: of this one it is owed everything. */
function owedCursor(log: Log, { changed }: Known, { versioned }: Subscriber, shard: string): Promise<Cursor> {
  return cursorOfTime(log, shard, changed.has(shard) ? 0 : versioned.value.beginsMs);
}

/** The ledger is older than the pass, which therefore begins once more. */
async function beginAgain({ log, recorder }: Needs, known: Known, subscriber: Subscriber, add: Add): Promise<void> {
  const cursors = new Map<string, Cursor>();
  for (const shard of known.shards)
    cursors.set(shard, storedCursor(known, subscriber, shard)?.cursor ?? (await owedCursor(log, known, subscriber, shard)));
  addPass(recorder, subscriber.versioned.value, cursors);
  const name = subscriber.liveName;
  for (const [shard, cursor] of cursors) add({ subscriber, name, shard, kind: 'live', cursor, hasRow: true });
}

async function recoverShard(
  needs: Needs,
  known: Known,
  { shard, add, standing }: { readonly shard: string; readonly add: Add; readonly standing: Standing[] },
): Promise<Beginning> {
  const { log, subscribers } = needs;
  const { last, end } = await log.bounds(shard);
  const record = last?.position === end ? await log.fetch(shard, end) : undefined;
  const seen = known.slots.get(laneKey(String(HIGH_WATER), shard))?.cursor;
  const exact = record ?? (known.changed.has(shard) ? undefined : seen);
  let from: Place = exact ?? { position: end, timeMs: last?.timeMs ?? 0 };
  for (const subscriber of subscribers.values()) {
    if (!knows(known, subscriber)) continue;
    const { value } = subscriber.versioned;
    const name = liveName(value);
    const stored = storedCursor(known, subscriber, shard);
    // A dead letter may hold its key: then the lane must be there to know it.
    const mayHold = value.ordering === 'key' && known.dead.has(value.uid);
    if (stored?.by === 'slot' && !mayHold && !known.open.has(laneKey(name, shard))) {
      // Stands with all the others of its slot: the tail reads on from there, and the lane is made when it is needed.
      standing.push({ subscriber, shard, cursor: stored.cursor });
      if (needs.slots === undefined && stored.cursor.position < from.position) from = stored.cursor;
      continue;
    }
    const cursor = stored?.cursor ?? (await owedCursor(log, known, subscriber, shard));
    add({ subscriber, name, shard, kind: 'live', cursor, hasRow: stored?.by === 'row' });
  }
  return { from, end, isExact: exact !== undefined };
}

function recoverRun({ log, subscribers }: Needs, known: Known, run: Versioned<Run>, add: Add): void {
  const subscriber = subscribers.get(run.value.subscriptionUid);
  if (subscriber === undefined) return;
  const name = runName(subscriber.uid, run.id);
  for (const [shard, { after, until }] of Object.entries(run.value.spans)) {
    if (!known.shards.includes(shard)) continue;
    const row = known.rows.get(laneKey(name, shard));
    const cursor = row?.cursor ?? { log: log.identity, position: after, timeMs: 0, idHash: '' };
    add({ subscriber, name, shard, kind: { until }, cursor, hasRow: row !== undefined });
  }
}

/** Dead letters are counted again: moving to a new log has written some. */
function countsOf(
  { subscribers }: Needs,
  known: Known,
  letters: readonly { readonly subscription: string; readonly count: number }[],
): Recovery['counts'] {
  const dead = new Map(letters.map(({ subscription, count }) => [subscription, count]));
  const counts = new Map(
    [...subscribers.values()].map((subscriber) => [
      subscriber.uid,
      { subscriber, parked: 0, parkedBytes: 0, held: 0, deadLetters: dead.get(subscriber.uid) ?? 0 },
    ]),
  );
  for (const { lane, parked, parkedBytes, held } of known.open.values()) {
    const sum = counts.get(uidOf(lane));
    if (sum === undefined) continue;
    sum.parked += parked;
    sum.parkedBytes += parkedBytes;
    sum.held += held;
  }
  return [...counts.values()];
}

/** Whether the log is another one where it stood. */
function isMoved(known: Known, subscriber: Subscriber): boolean {
  return known.shards.some((shard) => known.changed.has(shard) && storedCursor(known, subscriber, shard) !== undefined);
}

/**
 * A subscription whose cursor can't be trusted begins a new pass, so that nothing that was settled at the old positions
 * counts at the new ones. Its new rows and the range that can't be known are durable before the pass is.
 */
async function moveToNewLog(needs: Needs, known: Known, subscriber: Subscriber, add: Add): Promise<void> {
  const { log, recorder, moved } = needs;
  const { versioned } = subscriber;
  const next = { ...versioned.value, pass: versioned.value.pass + 1 };
  const name = liveName(next);
  const cursors = new Map<string, Cursor>();
  for (const shard of known.shards) {
    const was = storedCursor(known, subscriber, shard)?.cursor;
    const isKept = was !== undefined && (await isSame(log, shard, was, known.changed));
    const now = isKept ? was : await (was ? cursorOfTime(log, shard, was.timeMs) : owedCursor(log, known, subscriber, shard));
    if (was !== undefined && !isKept) recorder.add({ bury: needs.lostRange({ subscriber, name, shard, was, now }) });
    cursors.set(shard, now);
    add({ subscriber, name, shard, kind: 'live', cursor: now, hasRow: true });
  }
  await writePass(recorder, next, cursors);
  subscriber.configure(await needs.onLogChanged(versioned));
  moved.add(subscriber.uid);
}
