/**
 * The simulated world: virtual time, what is due when, and who lives. One step runs the next thing due and then lets
 * everything it set off settle, so a seed is one exact sequence.
 */
import type { Clock, Timer } from '@millrace/gateway/ports/clock';
import { createRandom } from './random.ts';
import type { Random } from './random.ts';
import { createTrace } from './trace.ts';
import type { Trace } from './trace.ts';

/** One life of a gateway process, from a start to a crash. What was set up in a life never happens after it. */
export interface Life {
  readonly number: number;
  /** By how much the wall clock of its machine is ahead of the world's. */
  readonly skewMs: number;
  alive: boolean;
  /** Its process stands still, as after SIGSTOP: what would happen in it waits. */
  isFrozen: boolean;
}

export interface World {
  readonly random: Random;
  readonly trace: Trace;
  /** Wall time as every machine of this world sees it; `jump` moves it. */
  now(): number;
  monotonic(): number;
  jump(ms: number): void;
  /** By how much wall time lies behind the farthest it ever was ahead: due times, which never run backwards, may be ahead of it by that. */
  setBackMs(): number;
  /** What wall time was jumped by in all. */
  jumpedMs(): number;
  steps(): number;
  /**
   * Does `run` in `delayMs`, unless cancelled or its life has ended by then. What happens outside of a process (a broker takes in what
   * it was sent) happens also while it is frozen.
   */
  at(delayMs: number, what: string, run: () => unknown, life?: Life, where?: 'inside' | 'outside'): Timer;
  /** Runs the next thing due. False when nothing is left. */
  step(): Promise<boolean>;
  begin(skewMs?: number): Life;
  end(life: Life): void;
  freeze(life: Life): void;
  /** It goes on, first with what has come for it meanwhile, as a process does that was stopped while it waited; then with its timers. */
  thaw(life: Life): void;
}

/** 2027-01-15 in UTC: any date will do, as long as every run has the same. */
const START_MS = 1_800_000_000_000;
const DAY_MS = 86_400_000;
const TIMER = 'timer';

interface Due {
  atMs: number;
  order: number;
  readonly what: string;
  readonly run: () => unknown;
  readonly life: Life | undefined;
  readonly where: 'inside' | 'outside';
  cancelled: boolean;
}

export function createWorld(seed: number, print?: (line: string) => void): World {
  const random = createRandom(seed);
  const due = createQueue();
  const trace = createTrace(() => `${steps} ${timeMs.toFixed(2)}`, print);
  let timeMs = 0;
  let skewMs = 0;
  let farthestMs = skewMs;
  let steps = 0;
  let order = 0;
  let lives = 0;
  /** What was due in a process that is frozen, by its life. */
  const waiting = new Map<Life, Due[]>();

  function nextDue(): Due | undefined {
    for (let next = due.shift(); ; next = due.shift()) {
      if (next?.life?.isFrozen !== true || next.where === 'outside') return next;
      waiting.getOrInsertComputed(next.life, () => []).push(next);
    }
  }

  return {
    random,
    trace,
    now: () => START_MS + Math.floor(timeMs + skewMs),
    monotonic: () => timeMs,
    setBackMs: () => farthestMs - skewMs,
    jumpedMs: () => skewMs,
    jump(ms) {
      skewMs += ms;
      farthestMs = Math.max(farthestMs, skewMs);
      trace.note(`wall clock jumps by ${ms} ms`);
    },
    steps: () => steps,
    at(delayMs, what, run, life, where = 'inside') {
      const item: Due = { atMs: timeMs + Math.max(0, delayMs), order: order++, what, run, life, where, cancelled: false };
      due.push(item);
      return {
        cancel: () => {
          item.cancelled = true;
        },
      };
    },
    async step() {
      const next = nextDue();
      if (next === undefined) return false;
      timeMs = Math.max(timeMs, next.atMs);
      steps += 1;
      trace.note(next.what);
      await next.run();
      await settled();
      return true;
    },
    begin: (skewMs = 0) => ({ number: ++lives, skewMs, alive: true, isFrozen: false }),
    end(life) {
      life.alive = false;
      waiting.delete(life);
    },
    freeze(life) {
      life.isFrozen = true;
    },
    thaw(life) {
      life.isFrozen = false;
      const its = waiting.get(life) ?? [];
      waiting.delete(life);
      for (const isTimer of [false, true])
        for (const item of its)
          if ((item.what === TIMER) === isTimer) due.push(Object.assign(item, { atMs: timeMs, order: order++ }));
    },
  };
}

/** The clock port of one life. */
export function clockOf(world: World, life: Life): Clock {
  const random = world.random.fork(`life ${life.number}`);
  return {
    now: () => world.now() + life.skewMs,
    monotonic: () => world.monotonic(),
    // A millisecond at least: a real timer never fires at once, and a loop of zero delays would stop virtual time.
    after: (delayMs, callback) => world.at(Math.min(Math.max(delayMs, 1), DAY_MS), TIMER, callback, life),
    random: () => random.next(),
  };
}

/** Resolves when all microtasks are done. Nothing in the world waits for anything but microtasks and its queue. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

interface Queue {
  push(item: Due): void;
  /** The earliest that is neither cancelled nor of an ended life. */
  shift(): Due | undefined;
}

/** A binary heap by time, then by order of asking. */
function createQueue(): Queue {
  const heap: Due[] = [];
  const before = (a: Due, b: Due): boolean => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);

  function up(start: number): void {
    let at = start;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(heap[at]!, heap[parent]!)) return;
      [heap[at], heap[parent]] = [heap[parent]!, heap[at]!];
      at = parent;
    }
  }

  function down(): void {
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      if (left >= heap.length) return;
      const right = left + 1;
      const child = right < heap.length && before(heap[right]!, heap[left]!) ? right : left;
      if (!before(heap[child]!, heap[at]!)) return;
      [heap[at], heap[child]] = [heap[child]!, heap[at]!];
      at = child;
    }
  }

  function pop(): Due | undefined {
    const top = heap[0];
    const last = heap.pop();
    if (heap.length > 0 && last !== undefined) {
      heap[0] = last;
      down();
    }
    return top;
  }

  return {
    push(item) {
      heap.push(item);
      up(heap.length - 1);
    },
    shift() {
      let item = pop();
      while (item !== undefined && (item.cancelled || item.life?.alive === false)) item = pop();
      return item;
    },
  };
}
