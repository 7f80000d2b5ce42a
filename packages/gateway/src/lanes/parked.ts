/**
 * The parked deliveries of a lane: rows in the ledger, brought back into memory as they fall due, or earlier where a probe
 * needs one. Waiting costs no memory, only the time of the next one due.
 */
import { createDeque, type Deque } from '../deque.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type { Ledger, ParkedRow } from '../ports/ledger.ts';
import type { LogRecord, Position } from '../ports/log.ts';
import { type Delivery, type LostRange, parkedDelivery } from './delivery.ts';
import type { Restore } from './restore.ts';
import type { Steady } from './steady.ts';

export interface Parked {
  /** Back in memory, to be sent now. */
  readonly due: Deque<Delivery>;
  /** How many of the rows are in memory, or under way there. */
  readonly inMemory: number;
  readonly isLoading: boolean;
  /** A delivery in memory has a row from now on: the ledger's answers must not bring it twice. */
  keep(position: Position): void;
  /** Its row is gone or stands for a later attempt: it is the ledger's alone again. */
  leave(position: Position): void;
  /** There is a row due then (steady time). */
  note(dueMs: number): void;
  /** Sees to it that what falls due comes back then. Call when anything that could hold it up has changed. */
  arm(): void;
  /** Brings back what is due by then, at most limits.dueRows. */
  load(dueMs: number): Promise<void>;
  /**
   * The row of a delivery that waits in the ledger alone, to be written again with another due time; nobody else touches
   * it until `leave`. Undefined where there is none, or where it is in memory already.
   */
  claim(position: Position): Promise<ParkedRow | undefined>;
  /** Probes may have brought rows back before they are due: these wait on in the ledger. `onGone` is told of each. */
  unloadEarly(onGone: (delivery: Delivery) => void): void;
  stop(): void;
}

interface Needs {
  readonly lane: string;
  readonly shard: string;
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly steady: Steady;
  readonly dueRows: number;
  readonly restore: Restore;
  /** Nothing may come back now: paused, retiring, or the endpoint is down. */
  readonly mustWait: () => boolean;
  /** It is in memory again, before its event is. */
  readonly onBack: (delivery: Delivery) => void;
  /** Its event is gone. */
  readonly onLost: (delivery: Delivery, cause: LostRange['cause']) => void;
  /** Something came back, or could not. */
  readonly onLoaded: () => void;
}

const RETRY_MS = 500;
const DAY_MS = 86_400_000;

export function createParked(needs: Needs): Parked {
  const { lane, shard, ledger, clock, steady } = needs;
  const due = createDeque<Delivery>();
  const inMemory = new Set<Position>();
  const leftWhileLoading = new Set<Position>();
  let nextDueMs = Infinity;
  let dueWhileLoadingMs = Infinity;
  let timer: Timer | undefined;
  let timerMs = Infinity;
  let loading = false;
  let stopped = false;

  function arm(): void {
    if (stopped || loading || due.size > 0 || nextDueMs === Infinity || needs.mustWait()) return;
    const delayMs = nextDueMs - steady.now();
    if (delayMs <= 0) return void load(steady.now());
    if (timerMs === nextDueMs) return;
    timer?.cancel();
    timerMs = nextDueMs;
    timer = clock.after(Math.min(delayMs, DAY_MS), () => {
      timerMs = Infinity;
      arm();
    });
  }

  async function load(dueMs: number): Promise<void> {
    if (loading || stopped) return;
    loading = true;
    leftWhileLoading.clear();
    dueWhileLoadingMs = Infinity;
    try {
      const { rows, nextDueMs: laterMs = Infinity } = await ledger.due(lane, shard, dueMs, needs.dueRows + inMemory.size);
      if (stopped) return;
      nextDueMs = Math.min(laterMs, dueWhileLoadingMs);
      const back = rows.filter(({ position }) => !inMemory.has(position) && !leftWhileLoading.has(position));
      for (const { position } of back) inMemory.add(position);
      await Promise.all(back.map((row) => bringBack(row)));
    } catch {
      // The ledger can't be read now, and whoever commits to it reports that: look again soon, and not before, however long something is due.
      nextDueMs = steady.now() + RETRY_MS;
    }
    loading = false;
    needs.onLoaded();
  }

  async function bringBack(row: ParkedRow): Promise<void> {
    const delivery = parkedDelivery(row, clock.monotonic());
    let restored: LogRecord | LostRange['cause'];
    try {
      restored = await needs.restore(delivery);
    } catch {
      inMemory.delete(row.position);
      nextDueMs = Math.min(nextDueMs, steady.now() + RETRY_MS);
      return;
    }
    if (stopped) return;
    needs.onBack(delivery);
    if (typeof restored === 'string') return needs.onLost(delivery, restored);
    delivery.record = restored;
    due.push(delivery);
  }

  return {
    due,
    get inMemory() {
      return inMemory.size;
    },
    get isLoading() {
      return loading;
    },
    keep: (position) => void inMemory.add(position),
    leave(position) {
      inMemory.delete(position);
      // A look into the ledger under way may still show it as it was.
      if (loading) leftWhileLoading.add(position);
    },
    note(dueMs) {
      dueWhileLoadingMs = Math.min(dueWhileLoadingMs, dueMs);
      nextDueMs = Math.min(nextDueMs, dueMs);
    },
    arm,
    load,
    async claim(position) {
      if (inMemory.has(position)) return undefined;
      inMemory.add(position);
      let row: ParkedRow | undefined;
      try {
        row = await ledger.parked(lane, shard, position);
      } finally {
        if (row?.state !== 'parked') inMemory.delete(position);
      }
      return row?.state === 'parked' ? row : undefined;
    },
    unloadEarly(onGone) {
      const nowMs = steady.now();
      const loaded = [...due];
      due.clear();
      for (const delivery of loaded) {
        if (delivery.dueMs <= nowMs) due.push(delivery);
        else {
          inMemory.delete(delivery.position);
          nextDueMs = Math.min(nextDueMs, delivery.dueMs);
          onGone(delivery);
        }
      }
    },
    stop() {
      stopped = true;
      timer?.cancel();
    },
  };
}
