/**
 * A group: the consumers of one stream subscription, over all their connections. The lanes hand it deliveries as they would send them to an
 * endpoint; it gives each to a consumer that has credit, and says what came of it: acked, nacked, not acked in time, or its consumer is gone.
 * Order per key is the lanes' matter: of one key only the head is here. That a key goes to the same consumer as long as nobody comes or goes
 * (rendezvous hashing; Thaler and Ravishankar, 1998) is for the consumer's caches.
 */
import type { Clock, Timer } from '../ports/clock.ts';
import type { LanePosition } from '../ports/ledger.ts';
import type { LogRecord } from '../ports/log.ts';

export interface Group {
  /** Whether a consumer has credit. */
  readonly hasRoom: boolean;
  readonly consumers: number;
  /** Gives it to a consumer; only where there is room. Resolves with what came of it. */
  deliver(handed: Handed): Promise<Verdict>;
  join(consumer: Consumer): Member;
  /** What is out of these lanes comes to nothing; the consumers stay. */
  takeBack(lanes: ReadonlySet<string>): void;
  /** The subscription is worked here no more: what is out comes to nothing, and the consumers are told. */
  leave(): void;
}

/** One attempt, as a consumer gets it. */
export interface Handed extends LanePosition {
  readonly record: LogRecord;
  readonly key: string | undefined;
  readonly attempt: number;
  readonly webhookId: string;
}

export interface Verdict {
  /** `gone`: the consumer left it behind. `returned`: it was given back unharmed, and the attempt does not count. */
  readonly kind: 'acked' | 'nacked' | 'dead' | 'timeout' | 'gone' | 'returned';
  /** Of a nack: until the next attempt; without it, as the schedule says. */
  readonly delayMs?: number;
  readonly reason?: string;
  readonly durationMs: number;
}

export interface Consumer {
  take(handed: Handed): void;
  /** The subscription is worked elsewhere by now, or nowhere. */
  left(): void;
}

export interface Member {
  addCredit(count: number): void;
  readonly credit: number;
  /** While it is held, nothing is given to it: its connection has too much to send. */
  hold(isHeld: boolean): void;
  /** Those of these that are out, with this member or with another: they are settled. */
  settle(places: readonly LanePosition[], verdict: Omit<Verdict, 'durationMs'>): LanePosition[];
  /** All that this member was given up to this one, in that order. */
  upTo(place: LanePosition): LanePosition[];
  /** The time to ack begins anew. Those of these that are out. */
  extend(places: readonly LanePosition[], ms: number): LanePosition[];
  /** Nothing more is given to it; resolves when what it has is settled. */
  drain(): Promise<void>;
  /** What it has is taken from it. */
  leave(kind: 'gone' | 'returned'): void;
}

interface Needs {
  readonly clock: Clock;
  readonly ackWaitMs: () => number;
  /** There is room where there was none. */
  readonly wake: () => void;
}

interface Own {
  readonly consumer: Consumer;
  readonly number: number;
  readonly out: Map<string, Out>;
  credit: number;
  isHeld: boolean;
  draining: (() => void) | undefined;
}

interface Out {
  readonly handed: Handed;
  readonly owner: Own;
  readonly sinceMs: number;
  readonly resolve: (verdict: Verdict) => void;
  timer: Timer;
}

export const placeKey = ({ lane, shard, position }: LanePosition): string => `${lane}\n${shard}\n${position}`;

export function createGroup({ clock, ackWaitMs, wake }: Needs): Group {
  const members: Own[] = [];
  const out = new Map<string, Out>();
  let count = 0;
  let turn = 0;

  const isOpen = ({ credit, isHeld, draining }: Own): boolean => credit > 0 && !isHeld && draining === undefined;

  function chosen(key: string | undefined): Own | undefined {
    if (key !== undefined) return favourite(members.filter(isOpen), key);
    for (let tried = 0; tried < members.length; tried++) {
      const one = members[turn++ % members.length];
      if (one !== undefined && isOpen(one)) return one;
    }
    return undefined;
  }

  function settled(key: string, one: Out, verdict: Omit<Verdict, 'durationMs'>): void {
    out.delete(key);
    one.owner.out.delete(key);
    one.timer.cancel();
    one.resolve({ ...verdict, durationMs: Math.round(clock.monotonic() - one.sinceMs) });
    if (one.owner.out.size === 0) one.owner.draining?.();
  }

  const watch = (key: string, ms: number): Timer =>
    clock.after(ms, () => {
      const one = out.get(key);
      if (one !== undefined) settled(key, one, { kind: 'timeout' });
    });

  function remove(own: Own, kind: 'gone' | 'returned'): void {
    const at = members.indexOf(own);
    if (at >= 0) members.splice(at, 1);
    for (const [key, one] of own.out) settled(key, one, { kind });
  }

  return {
    get hasRoom() {
      return members.some(isOpen);
    },
    get consumers() {
      return members.length;
    },
    deliver(handed) {
      const owner = chosen(handed.key);
      if (owner === undefined) return Promise.resolve({ kind: 'returned', durationMs: 0 });
      const key = placeKey(handed);
      owner.credit--;
      return new Promise((resolve) => {
        const one = { handed, owner, sinceMs: clock.monotonic(), resolve, timer: watch(key, ackWaitMs()) };
        out.set(key, one);
        owner.out.set(key, one);
        owner.consumer.take(handed);
      });
    },
    join(consumer) {
      const own: Own = { consumer, number: ++count, out: new Map(), credit: 0, isHeld: false, draining: undefined };
      members.push(own);
      return {
        get credit() {
          return own.credit;
        },
        addCredit(more) {
          own.credit += more;
          if (more > 0) wake();
        },
        hold(isHeld) {
          const wasHeld = own.isHeld;
          own.isHeld = isHeld;
          if (wasHeld && !isHeld) wake();
        },
        settle(places, verdict) {
          return places.filter((place) => {
            const key = placeKey(place);
            const one = out.get(key);
            if (one !== undefined) settled(key, one, verdict);
            return one !== undefined;
          });
        },
        upTo(place) {
          const keys = [...own.out.keys()];
          return keys.slice(0, keys.indexOf(placeKey(place)) + 1).map((key) => (own.out.get(key) as Out).handed);
        },
        extend(places, ms) {
          return places.filter((place) => {
            const key = placeKey(place);
            const one = out.get(key);
            if (one === undefined) return false;
            one.timer.cancel();
            one.timer = watch(key, ms);
            return true;
          });
        },
        drain() {
          return new Promise((resolve) => {
            own.draining = resolve;
            if (own.out.size === 0) resolve();
          });
        },
        leave: (kind) => remove(own, kind),
      };
    },
    takeBack(lanes) {
      for (const [key, one] of out) if (lanes.has(one.handed.lane)) settled(key, one, { kind: 'returned' });
    },
    leave() {
      // Each is taken out by it.
      for (let own = members[0]; own !== undefined; own = members[0]) {
        remove(own, 'returned');
        own.consumer.left();
      }
    },
  };
}

/** The one with the highest weight for this key. */
function favourite(open: readonly Own[], key: string): Own | undefined {
  let best: Own | undefined;
  let most = -1;
  for (const own of open) {
    const weight = weightOf(`${own.number}\n${key}`);
    if (weight > most) [best, most] = [own, weight];
  }
  return best;
}

/** FNV-1a, mixed: of names that differ in little. */
function weightOf(text: string): number {
  let sum = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) sum = Math.imul(sum ^ text.charCodeAt(at), 0x01000193);
  sum = Math.imul(sum ^ (sum >>> 15), 0x2c1b3c6d);
  return (sum ^ (sum >>> 13)) >>> 0;
}
