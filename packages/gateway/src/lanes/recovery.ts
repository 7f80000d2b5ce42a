/**
 * Recovery: what the ledger remembers becomes lanes again. For a subscription on a shard the cursor is, in this order,
 *   1. its lane row (or that of a former pass, when a backup of the ledger is older than the directory),
 *   2. its slot's row, if that is not older than the subscription,
 *   3. the time from which on it is owed events.
 * An offset is never trusted to mean the same event twice: where the cursor's event is not there any more though
 * retention did not take it, the lane goes on from that event's time, in a new pass, and a range is written down.
 */
import type { LaneKind } from '../flow/lane.ts';
import type { Recorder } from '../flow/record.ts';
import type { Run, Subscription, Versioned } from '../ports/directory.ts';
import type { Cursor, DeadLetter, LaneRow, Ledger, OpenLane, SlotRow } from '../ports/ledger.ts';
import type { Log, Position } from '../ports/log.ts';
import { idHashOf } from './cursor.ts';
import { laneKey, liveName, runName, type Subscriber, uidOf } from './subscriber.ts';
import type { Place } from './tail.ts';

/**
 * The slot number under which every commit notes how far the shards were read. Nothing in the ledger is of a later
 * place, so when this one can be trusted all others can; when it can't, the log lost its tail or is another one, and
 * positions may mean other events than those that were worked there.
 */
export const HIGH_WATER = 128;

export interface Recovery {
  /** Per shard: where the tail begins, and the end at the time of the recovery. */
  readonly places: ReadonlyMap<string, { readonly from: Place; readonly end: Position }>;
  readonly lanes: readonly RecoveredLane[];
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
  readonly subscribers: ReadonlyMap<string, Subscriber>;
  readonly runs: ReadonlyMap<string, Versioned<Run>>;
  /** The dead letter for what stood between two cursors of different logs. */
  readonly lostRange: (moved: { subscriber: Subscriber; name: string; shard: string; was: Cursor; now: Cursor }) => DeadLetter;
  /** The subscription is stored with its next pass. */
  readonly onLogChanged: (subscription: Versioned<Subscription>) => Promise<Versioned<Subscription>>;
}

export async function recover(needs: Needs): Promise<Recovery> {
  const { log, ledger, subscribers, runs } = needs;
  const [rows, slots, open, dead] = await Promise.all([
    ledger.lanes(),
    ledger.slots(),
    ledger.openLanes(),
    ledger.deadLetterCounts(),
  ]);
  const known: Known = {
    rows: new Map(rows.map((row) => [laneKey(row.lane, row.shard), row])),
    former: formerRows(rows),
    slots: new Map(slots.map((row) => [laneKey(String(row.slot), row.shard), row])),
    open: new Map(open.map((one) => [laneKey(one.lane, one.shard), one])),
    dead: new Map(dead.map(({ subscription, count }) => [subscription, count])),
    changed: await changedShards(log, rows, slots),
  };
  dropOrphans(needs, [...rows, ...open].map(({ lane }) => uidOf(lane)).concat([...known.dead.keys()]));
  const lanes = new Map<string, RecoveredLane>();
  const add = (lane: Omit<RecoveredLane, 'open'>): void => {
    const key = laneKey(lane.name, lane.shard);
    if (!lanes.has(key)) lanes.set(key, { ...lane, open: known.open.get(key) });
  };

  for (const subscriber of subscribers.values()) await moveToNewLog(needs, known, subscriber, add);
  const places = new Map<string, { from: Place; end: Position }>();
  for (const shard of log.shards()) places.set(shard, await recoverShard(needs, known, shard, add));
  const lostRuns = [...runs.values()].filter(
    ({ value }) => value.log !== log.identity || Object.keys(value.spans).some((shard) => known.changed.has(shard)),
  );
  for (const run of runs.values()) if (!lostRuns.includes(run)) recoverRun(needs, known, run, add);
  for (const { lane: name, shard } of open) {
    const subscriber = subscribers.get(uidOf(name));
    const cursor = { log: log.identity, position: '', timeMs: 0, idHash: '' };
    if (subscriber !== undefined) add({ subscriber, name, shard, kind: 'drain', cursor, hasRow: false });
  }
  return { places, lanes: [...lanes.values()], counts: countsOf(needs, known, await ledger.deadLetterCounts()), lostRuns };
}

interface Known {
  readonly rows: ReadonlyMap<string, LaneRow>;
  /** Of live lanes by uid and shard, the one that stands furthest back. */
  readonly former: ReadonlyMap<string, LaneRow>;
  readonly slots: ReadonlyMap<string, SlotRow>;
  readonly open: ReadonlyMap<string, OpenLane>;
  readonly dead: ReadonlyMap<string, number>;
  /** Shards whose high water is not there any more. */
  readonly changed: ReadonlySet<string>;
}

type Add = (lane: Omit<RecoveredLane, 'open'>) => void;

function formerRows(rows: readonly LaneRow[]): Map<string, LaneRow> {
  const former = new Map<string, LaneRow>();
  for (const row of rows) {
    if (!/\.p\d+$/.test(row.lane)) continue;
    const key = laneKey(uidOf(row.lane), row.shard);
    const other = former.get(key);
    if (other === undefined || row.cursor.position < other.cursor.position) former.set(key, row);
  }
  return former;
}

/** Subscriptions that were deleted while we were not there to forget them. */
function dropOrphans({ recorder, subscribers }: Needs, uids: readonly string[]): void {
  for (const uid of new Set(uids)) if (!subscribers.has(uid)) recorder.add({ dropSubscription: uid });
}

/** What the ledger knows of a live lane; undefined when only the time it is owed from helps. */
function storedCursor(
  known: Known,
  { uid, slot, versioned }: Subscriber,
  shard: string,
): { cursor: Cursor; by: 'row' | 'former' | 'slot' } | undefined {
  const row = known.rows.get(laneKey(liveName(versioned.value), shard));
  if (row !== undefined) return { cursor: row.cursor, by: 'row' };
  const former = known.former.get(laneKey(uid, shard));
  if (former !== undefined) return { cursor: former.cursor, by: 'former' };
  const place = known.slots.get(laneKey(String(slot), shard));
  return place !== undefined && place.cursor.timeMs > versioned.value.bornMs ? { cursor: place.cursor, by: 'slot' } : undefined;
}

async function recoverShard(needs: Needs, known: Known, shard: string, add: Add): Promise<{ from: Place; end: Position }> {
  const { log, subscribers } = needs;
  const { last, end } = await log.bounds(shard);
  let from: Place = { position: end, timeMs: last?.timeMs ?? 0 };
  if (last?.position === end) from = (await log.fetch(shard, end)) ?? from;
  for (const subscriber of subscribers.values()) {
    const { value } = subscriber.versioned;
    const name = liveName(value);
    const stored = storedCursor(known, subscriber, shard);
    // A dead letter may hold its key: then the lane must be there to know it.
    const mayHold = value.ordering === 'key' && known.dead.has(value.uid);
    if (stored?.by === 'slot' && !mayHold && !known.open.has(laneKey(name, shard))) {
      // Stands with all the others of its slot: the tail reads on from there, and the lane is made when it is needed.
      if (stored.cursor.position < from.position) from = stored.cursor;
      continue;
    }
    // Its time is of the old log's clock: of another log it is owed everything.
    const cursor = stored?.cursor ?? (await cursorOfTime(log, shard, known.changed.has(shard) ? 0 : value.beginsMs));
    add({ subscriber, name, shard, kind: 'live', cursor, hasRow: stored?.by === 'row' });
  }
  return { from, end };
}

function recoverRun({ log, subscribers }: Needs, known: Known, run: Versioned<Run>, add: Add): void {
  const subscriber = subscribers.get(run.value.subscriptionUid);
  if (subscriber === undefined) return;
  const name = runName(subscriber.uid, run.id);
  for (const [shard, { after, until }] of Object.entries(run.value.spans)) {
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

export async function cursorOfTime(log: Log, shard: string, timeMs: number): Promise<Cursor> {
  return { log: log.identity, position: await log.positionAt(shard, timeMs), timeMs, idHash: '' };
}

async function changedShards(log: Log, rows: readonly LaneRow[], slots: readonly SlotRow[]): Promise<Set<string>> {
  const changed = new Set<string>();
  const asked = new Set<string>();
  // Lane rows too: a new subscription begins at the end of the log, which the tail may not have read yet.
  for (const { shard, cursor } of [...slots.filter(({ slot }) => slot === HIGH_WATER), ...rows]) {
    const question = `${shard}\n${cursor.log}\n${cursor.position}\n${cursor.idHash}`;
    if (changed.has(shard) || asked.has(question)) continue;
    asked.add(question);
    if (!(await isTrusted(log, shard, cursor))) changed.add(shard);
  }
  return changed;
}

/** In a shard that changed, a cursor that does not know its event may mean any. */
async function isSame(log: Log, shard: string, cursor: Cursor, changed: ReadonlySet<string>): Promise<boolean> {
  const isBlind = changed.has(shard) && cursor.idHash === '' && cursor.position !== '';
  return !isBlind && isTrusted(log, shard, cursor);
}

/** True where the log still holds what the cursor saw, or only retention took it. */
async function isTrusted(log: Log, shard: string, cursor: Cursor): Promise<boolean> {
  if (cursor.log !== log.identity) return false;
  const { end } = await log.bounds(shard);
  if (cursor.position > end) return false;
  if (cursor.idHash === '') return true;
  const record = await log.fetch(shard, cursor.position);
  if (record !== undefined) return record.timeMs === cursor.timeMs && idHashOf(record) === cursor.idHash;
  // Gone by retention, it is among those of its time; if a later event stood there, they end before it.
  return (await log.positionAt(shard, cursor.timeMs + 1)) >= cursor.position;
}

/**
 * A subscription whose cursor can't be trusted begins a new pass, so that nothing that was settled at the old positions
 * counts at the new ones. Its new rows and the range that can't be known are durable before the pass is.
 */
async function moveToNewLog(needs: Needs, known: Known, subscriber: Subscriber, add: Add): Promise<void> {
  const { log, recorder } = needs;
  const stored = log.shards().map((shard) => ({ shard, cursor: storedCursor(known, subscriber, shard)?.cursor }));
  if (stored.every(({ shard, cursor }) => cursor === undefined || !known.changed.has(shard))) return;
  const trusted = await Promise.all(
    stored.map(async ({ shard, cursor }) => cursor === undefined || isSame(log, shard, cursor, known.changed)),
  );
  const { versioned } = subscriber;
  const name = liveName({ ...versioned.value, pass: versioned.value.pass + 1 });
  for (const [at, { shard, cursor }] of stored.entries()) {
    const isKept = trusted[at] === true && cursor !== undefined;
    const now = isKept ? cursor : await cursorOfTime(log, shard, cursor?.timeMs ?? versioned.value.beginsMs);
    if (isKept || cursor === undefined) recorder.add({ lane: { lane: name, shard, cursor: now } });
    else
      recorder.add({
        lane: { lane: name, shard, cursor: now },
        bury: needs.lostRange({ subscriber, name, shard, was: cursor, now }),
      });
    add({ subscriber, name, shard, kind: 'live', cursor: now, hasRow: true });
  }
  await recorder.settled();
  subscriber.configure(await needs.onLogChanged(versioned));
}
