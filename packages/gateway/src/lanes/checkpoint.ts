/**
 * What a restart needs, written down every limits.checkpointMs while there is something to write. In this order, so that a
 * crash between two commits finds nothing overtaken: first the rows of lanes that have something open, then the slots'
 * positions, which stand for all the others, then the rows nobody needs any more.
 */
import type { Lane } from '../flow/lane.ts';
import type { Recorder } from '../flow/record.ts';
import type { Limits } from '../limits.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type { SlotRow } from '../ports/ledger.ts';
import { cursorAt } from './cursor.ts';
import type { Subscriber } from './subscriber.ts';
import type { Place, Tail } from './tail.ts';
import { HIGH_WATER } from './trust.ts';

export interface Checkpoint {
  /** Something changed: there will be a checkpoint soon. */
  touch(): void;
  /**
   * While `work` is under way the slots' rows stand still: they would speak for a lane whose own row, or whose look into
   * the ledger, is not there yet.
   */
  holdSlots<T>(work: () => Promise<T>): Promise<T>;
  isHolding(): boolean;
  /** Where a tail begins at an event that is gone, no exact time is known: that place is no high water. */
  doubtful(shard: string, place: Place): void;
  /** Where the tails stand, where that changed since the last call: goes with every commit. */
  highWater(): SlotRow[];
  /** The last one: everything that is known now. */
  writeAll(): void;
  stop(): void;
}

interface Needs {
  readonly clock: Clock;
  readonly limits: Limits;
  readonly recorder: Recorder;
  /** The log's identity. */
  readonly log: string;
  readonly subscribers: ReadonlyMap<string, Subscriber>;
  readonly tails: ReadonlyMap<string, Tail>;
  /** A lane has done all it was there for. */
  readonly onDone: (subscriber: Subscriber, lane: Lane, key: string) => void;
}

export function createCheckpoint({ clock, limits, recorder, log, subscribers, tails, onDone }: Needs): Checkpoint {
  const slotsWritten = new Map<string, string>();
  const highWaters = new Map<string, string>();
  let holding = 0;
  let timer: Timer | undefined;
  let stopped = false;

  function touch(): void {
    if (stopped) return;
    timer ??= clock.after(limits.checkpointMs, write);
  }

  function write(): void {
    timer = undefined;
    if (stopped) return;
    let open = holding > 0;
    for (const lane of everyLane()) lane.checkpoint();
    if (holding === 0) {
      for (const tail of tails.values()) writeSlots(tail);
      for (const subscriber of subscribers.values()) if (!letGo(subscriber)) open = true;
    }
    if (open) touch();
  }

  function* everyLane(): Iterable<Lane> {
    for (const { lanes } of subscribers.values()) yield* lanes.values();
  }

  function writeSlots({ shard, end }: Tail): void {
    const used = new Set<number>();
    for (const { slot } of subscribers.values()) used.add(slot);
    for (const slot of used) {
      const name = `${slot}\n${shard}`;
      if (slotsWritten.get(name) === end.position) continue;
      slotsWritten.set(name, end.position);
      recorder.add({ slot: { slot, shard, cursor: cursorAt(end, log) } });
    }
  }

  /** True when nothing of it is left to watch. */
  function letGo(subscriber: Subscriber): boolean {
    for (const [key, lane] of subscriber.lanes) {
      if (lane.isCovered && lane.hasRow) {
        recorder.add({ idle: { lane: lane.name, shard: lane.shard } });
        lane.forgetRow();
      }
      if (lane.isIdle && !lane.hasRow) subscriber.lanes.delete(key);
      else if (lane.isDone) onDone(subscriber, lane, key);
    }
    return subscriber.lanes.size === 0;
  }

  return {
    touch,
    async holdSlots(work) {
      holding++;
      try {
        return await work();
      } finally {
        holding--;
        touch();
      }
    },
    isHolding: () => holding > 0,
    doubtful: (shard, { position }) => void highWaters.set(shard, position),
    highWater() {
      const rows: SlotRow[] = [];
      for (const { shard, end } of tails.values()) {
        if (highWaters.get(shard) === end.position) continue;
        highWaters.set(shard, end.position);
        rows.push({ slot: HIGH_WATER, shard, cursor: cursorAt(end, log) });
      }
      return rows;
    },
    writeAll() {
      for (const lane of everyLane()) lane.checkpoint();
      if (holding === 0) for (const tail of tails.values()) writeSlots(tail);
    },
    stop() {
      stopped = true;
      timer?.cancel();
    },
  };
}
