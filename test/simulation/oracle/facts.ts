/** The events there are, as the log took them in: the truth that everything else is held against. */
import { idHashOf } from '@millrace/gateway/lanes/cursor';
import type { Appended, Entry, Position } from '@millrace/gateway/ports/log';

/** What a publisher means to publish. Its number is in its payload, so that every request names its event. */
export interface Intent {
  readonly n: number;
  readonly environment: string;
  readonly app: string;
  readonly topic: string;
  readonly key?: string;
  readonly audience?: string;
  readonly kind: string;
  readonly amount: number;
  /** Environment, app and idempotency key, where it is published with one. */
  readonly scope?: string;
}

/** One event in the log. */
export interface Fact extends Intent {
  readonly id: string;
  readonly source: string;
  readonly shard: string;
  readonly position: Position;
  readonly timeMs: number;
  readonly size: number;
  readonly data: Uint8Array;
  /** Monotonic time of the append. */
  readonly bornMs: number;
  /** Which log it was appended to, counted from 0; grows when the log is recreated or loses its tail. */
  readonly generation: number;
  /** The log lost it: nobody owes it any more. */
  lost: boolean;
  acknowledged: boolean;
}

export interface Facts {
  intend(intent: Intent): void;
  appended(entries: readonly Entry[], results: readonly Appended[], nowMs: number): void;
  /** The log changed: what `survives` says no to is gone. */
  logChanged(survives: (fact: Fact) => boolean): void;
  readonly generation: number;
  readonly all: readonly Fact[];
  /** Living events of a shard in order. */
  inShard(shard: string): readonly Fact[];
  ofKey(shard: string, key: string): readonly Fact[];
  /** What stands, or once stood, at a place: the newest that has all of the hint. */
  at(shard: string, position: Position, hint?: Hint): Fact | undefined;
  byNumber(n: number): readonly Fact[];
  /** Another living event has the same identity: its window was over. Nobody can tell their deliveries apart. */
  hasTwin(fact: Fact): boolean;
  /** Greatest position ever given in this generation. */
  end(shard: string): Position;
  shards(): readonly string[];
}

/** Two logs may have had events of one time at one place: the digest of a row, or kept bytes, tell whose it is. */
export interface Hint {
  readonly timeMs?: number;
  readonly id?: string;
  readonly idHash?: string;
}

const decoder = new TextDecoder();

export function createFacts(): Facts {
  const intents = new Map<number, Intent>();
  const all: Fact[] = [];
  const places = new Map<string, Fact[]>();
  const numbers = new Map<number, Fact[]>();
  const shards = new Map<string, Fact[]>();
  const keys = new Map<string, Fact[]>();
  let generation = 0;

  function add(entry: Entry, result: Extract<Appended, { status: 'appended' }>, nowMs: number): void {
    const data = entry.event.data ?? new Uint8Array(0);
    const { n } = JSON.parse(decoder.decode(data)) as { n: number };
    const intent = intents.get(n);
    if (intent === undefined) throw new Error(`event ${n} was never published`);
    const fact: Fact = {
      ...intent,
      id: entry.event.id,
      source: entry.event.source,
      shard: result.shard,
      position: result.position,
      timeMs: result.timeMs,
      size: entry.bytes.length,
      data,
      bornMs: nowMs,
      generation,
      lost: false,
      acknowledged: false,
    };
    all.push(fact);
    enter(fact);
    listIn(places, `${fact.shard} ${fact.position}`).push(fact);
    listIn(numbers, n).push(fact);
  }

  function enter(fact: Fact): void {
    listIn(shards, fact.shard).push(fact);
    if (fact.key !== undefined) listIn(keys, `${fact.shard} ${fact.key}`).push(fact);
  }

  return {
    intend: (intent) => void intents.set(intent.n, intent),
    appended(entries, results, nowMs) {
      for (const [at, entry] of entries.entries()) {
        const result = results[at];
        if (result?.status === 'appended') add(entry, result, nowMs);
      }
    },
    logChanged(survives) {
      generation += 1;
      shards.clear();
      keys.clear();
      for (const fact of all) {
        if (!fact.lost && !survives(fact)) fact.lost = true;
        if (!fact.lost) enter(fact);
      }
    },
    get generation() {
      return generation;
    },
    all,
    inShard: (shard) => shards.get(shard) ?? [],
    ofKey: (shard, key) => keys.get(`${shard} ${key}`) ?? [],
    at(shard, position, hint = {}) {
      const there = places.get(`${shard} ${position}`) ?? [];
      return there.findLast(
        ({ app, source, id, timeMs }) =>
          (hint.id === undefined || hint.id === id) &&
          (hint.timeMs === undefined || hint.timeMs === timeMs) &&
          (hint.idHash === undefined || hint.idHash === idHashOf({ app, event: { source, id } })),
      );
    },
    byNumber: (n) => numbers.get(n) ?? [],
    hasTwin(fact) {
      const same = numbers.get(fact.n) ?? [];
      return same.length > 1 && same.some((other) => other !== fact && !other.lost && other.id === fact.id);
    },
    end: (shard) => shards.get(shard)?.at(-1)?.position ?? '',
    shards: () => [...shards.keys()],
  };
}

function listIn<T>(map: Map<string, T[]> | Map<number, T[]>, name: string | number): T[] {
  const lists = map as Map<string | number, T[]>;
  return lists.getOrInsertComputed(name, () => []);
}
