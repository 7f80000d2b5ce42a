/**
 * Record, the last step: what happened to all lanes of the process goes to the ledger in one transaction. Adaptive:
 * drain, commit, repeat, without a timer. Commits follow one another strictly and a failed one is repeated until it
 * holds, so whoever adds a change may count on it being durable no later than anything added after it.
 */
import { Problem } from '@millrace/core/problem';
import type { Limits } from '../limits.ts';
import type { Clock } from '../ports/clock.ts';
import type { AttemptRow, Commit, DeadLetter, LanePosition, LaneRow, Ledger, ParkedRow, SlotRow } from '../ports/ledger.ts';

/** One thing that happened; its members become durable together. */
export interface Change {
  readonly attempt?: AttemptRow;
  readonly park?: ParkedRow;
  readonly unpark?: LanePosition;
  readonly bury?: DeadLetter;
  readonly unbury?: string;
  readonly lane?: LaneRow;
  readonly idle?: { readonly lane: string; readonly shard: string };
  readonly slot?: SlotRow;
  readonly dropLane?: string;
  /** Also takes back what was added for the subscription and is not committed yet. */
  readonly dropSubscription?: string;
}

export interface Recorder {
  /** `durable` is called once the change is committed; never synchronously. */
  add(change: Change, durable?: () => void): void;
  /** More than limits.unrecorded changes, or limits.unrecordedBytes of events with them, are not durable yet: start nothing. */
  readonly isFull: boolean;
  /** Resolves when everything added before is durable. */
  settled(): Promise<void>;
  /**
   * Takes back what was added for these slots and their subscriptions (uid) and is not on its way: they are another's to write
   * about. A slot's own row with its lanes' rows: alone it would stand for what was not written.
   */
  forget(slots: ReadonlySet<number>, isTheirs: (uid: string) => boolean): void;
  /** Nothing is committed any more. */
  abandon(): void;
}

interface Batch {
  rows: number;
  /** Of events that go along. */
  bytes: number;
  attempts: AttemptRow[];
  parked: Map<string, { readonly park: ParkedRow } | { readonly unpark: LanePosition }>;
  buried: Map<string, { readonly bury: DeadLetter } | { readonly unbury: string }>;
  lanes: Map<string, { readonly lane: LaneRow } | { readonly idle: { readonly lane: string; readonly shard: string } }>;
  slots: Map<string, SlotRow>;
  dropLanes: Set<string>;
  dropSubscriptions: Set<string>;
  durable: (() => void)[];
}

interface Needs {
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly limits: Limits;
  /** Called when a commit fails and once more (without a code) when it holds again. */
  readonly onTrouble: (code: string | undefined) => void;
  /** There is room again after it was full. */
  readonly onRoom: () => void;
  /** How far each shard was read: goes with every commit (see HIGH_WATER in lanes/trust.ts). */
  readonly highWater: () => readonly SlotRow[];
}

const RETRY_MS_MIN = 50;
const RETRY_MS_MAX = 5_000;

export function createRecorder({ ledger, clock, limits, onTrouble, onRoom, highWater }: Needs): Recorder {
  let queue: Batch[] = [emptyBatch()];
  let committing: Batch | undefined;
  let abandoned = false;

  function isFull(): boolean {
    let rows = committing?.rows ?? 0;
    let bytes = committing?.bytes ?? 0;
    for (const batch of queue) {
      rows += batch.rows;
      bytes += batch.bytes;
    }
    return rows >= limits.unrecorded || bytes >= limits.unrecordedBytes;
  }

  /** A batch that is full is closed; one change is never split. */
  function open(): Batch {
    const last = queue.at(-1);
    if (last !== undefined && last.rows < limits.commitRows && last.bytes < limits.commitBytes) return last;
    const batch = emptyBatch();
    queue.push(batch);
    return batch;
  }

  async function run(): Promise<void> {
    // What was added in this turn of the event loop goes together.
    await Promise.resolve();
    for (let batch = queue[0]; batch !== undefined && batch.rows > 0 && !abandoned; batch = queue[0]) {
      committing = batch;
      queue.shift();
      if (queue.length === 0) queue.push(emptyBatch());
      for (const row of highWater()) batch.slots.set(`${row.slot}\n${row.shard}`, row);
      await commitUntilItHolds(toCommit(batch));
      if (abandoned) return;
      const wasFull = isFull();
      committing = undefined;
      for (const durable of batch.durable) durable();
      if (wasFull) onRoom();
    }
  }

  async function commitUntilItHolds(commit: Commit): Promise<void> {
    for (let delayMs = RETRY_MS_MIN; !abandoned; delayMs = Math.min(RETRY_MS_MAX, delayMs * 2)) {
      try {
        await ledger.commit(commit);
        if (delayMs > RETRY_MS_MIN) onTrouble(undefined);
        return;
      } catch (error) {
        if (abandoned) return;
        onTrouble(error instanceof Problem ? error.code : String(error));
        await new Promise<void>((resolve) => clock.after(delayMs, resolve));
      }
    }
  }

  let running = false;
  function start(): void {
    if (running || abandoned) return;
    running = true;
    void run().finally(() => {
      running = false;
      if (!abandoned && (queue[0]?.rows ?? 0) > 0) start();
    });
  }

  return {
    add(change, durable) {
      if (abandoned) return;
      if (change.dropSubscription !== undefined) for (const batch of queue) forget(batch, change.dropSubscription);
      const batch = open();
      enter(batch, change);
      if (durable !== undefined) batch.durable.push(durable);
      start();
    },
    get isFull() {
      return isFull();
    },
    settled() {
      if (committing === undefined && (queue[0]?.rows ?? 0) === 0) return Promise.resolve();
      return new Promise((resolve) => {
        const last = queue.findLast((batch) => batch.rows > 0) ?? committing;
        last?.durable.push(resolve);
      });
    },
    forget(slots, isTheirs) {
      for (const batch of queue) {
        forgetThose(batch, isTheirs);
        for (const [name, { slot }] of batch.slots) if (slots.has(slot)) batch.slots.delete(name);
      }
    },
    abandon() {
      abandoned = true;
      queue = [emptyBatch()];
    },
  };
}

function emptyBatch(): Batch {
  return {
    rows: 0,
    bytes: 0,
    attempts: [],
    parked: new Map(),
    buried: new Map(),
    lanes: new Map(),
    slots: new Map(),
    dropLanes: new Set(),
    dropSubscriptions: new Set(),
    durable: [],
  };
}

const placeOf = ({ lane, shard, position }: LanePosition): string => `${lane}\n${shard}\n${position}`;

/** Of several changes to one row in one transaction the last one counts: a commit applies removals before insertions. */
function enter(batch: Batch, change: Change): void {
  batch.rows++;
  batch.bytes += (change.park?.kept?.bytes.length ?? 0) + (change.bury?.kept?.bytes.length ?? 0);
  if (change.attempt !== undefined) batch.attempts.push(change.attempt);
  if (change.unpark !== undefined) batch.parked.set(placeOf(change.unpark), { unpark: change.unpark });
  if (change.park !== undefined) batch.parked.set(placeOf(change.park), { park: change.park });
  if (change.unbury !== undefined) batch.buried.set(change.unbury, { unbury: change.unbury });
  if (change.bury !== undefined) batch.buried.set(change.bury.id, { bury: change.bury });
  if (change.lane !== undefined) batch.lanes.set(`${change.lane.lane}\n${change.lane.shard}`, { lane: change.lane });
  if (change.idle !== undefined) batch.lanes.set(`${change.idle.lane}\n${change.idle.shard}`, { idle: change.idle });
  if (change.slot !== undefined) batch.slots.set(`${change.slot.slot}\n${change.slot.shard}`, change.slot);
  if (change.dropLane !== undefined) dropLane(batch, change.dropLane);
  if (change.dropSubscription !== undefined) batch.dropSubscriptions.add(change.dropSubscription);
}

function dropLane(batch: Batch, lane: string): void {
  forgetWhere(batch, (name) => name === lane, false);
  batch.dropLanes.add(lane);
}

function forget(batch: Batch, uid: string): void {
  forgetWhere(batch, (lane) => lane.startsWith(`${uid}.`), true);
}

function forgetThose(batch: Batch, isTheirs: (uid: string) => boolean): void {
  forgetWhere(batch, (lane) => isTheirs(uidOf(lane)), true);
  for (const lane of batch.dropLanes) if (isTheirs(uidOf(lane))) batch.dropLanes.delete(lane);
  for (const uid of batch.dropSubscriptions) if (isTheirs(uid)) batch.dropSubscriptions.delete(uid);
}

const uidOf = (lane: string): string => lane.slice(0, lane.indexOf('.'));

function forgetWhere(batch: Batch, isMeant: (lane: string) => boolean, withHistory: boolean): void {
  for (const [name, row] of batch.parked) if (isMeant('park' in row ? row.park.lane : row.unpark.lane)) batch.parked.delete(name);
  for (const [name, row] of batch.lanes) if (isMeant('lane' in row ? row.lane.lane : row.idle.lane)) batch.lanes.delete(name);
  if (!withHistory) return;
  for (const [id, row] of batch.buried) if ('bury' in row && isMeant(row.bury.lane)) batch.buried.delete(id);
  batch.attempts = batch.attempts.filter(({ lane }) => !isMeant(lane));
}

function toCommit(batch: Batch): Commit {
  const parked = [...batch.parked.values()];
  const buried = [...batch.buried.values()];
  const lanes = [...batch.lanes.values()];
  return {
    attempts: batch.attempts,
    park: parked.flatMap((row) => ('park' in row ? [row.park] : [])),
    unpark: parked.flatMap((row) => ('unpark' in row ? [row.unpark] : [])),
    bury: buried.flatMap((row) => ('bury' in row ? [row.bury] : [])),
    unbury: buried.flatMap((row) => ('unbury' in row ? [row.unbury] : [])),
    lanes: lanes.flatMap((row) => ('lane' in row ? [row.lane] : [])),
    idle: lanes.flatMap((row) => ('idle' in row ? [row.idle] : [])),
    slots: [...batch.slots.values()],
    dropLanes: [...batch.dropLanes],
    dropSubscriptions: [...batch.dropSubscriptions],
  };
}
