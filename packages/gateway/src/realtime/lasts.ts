/**
 * Where the newest event of each key stands, for as long as it is remembered: bounded for each feed that asks, for all of an app, and for all
 * of them together. Not the events: who has no credit would have us hold megabytes.
 */
import { hash } from 'node:crypto';
import { keyOf } from '@millrace/core/event';
import type { Limits } from '../limits.ts';
import type { LogRecord, Mark, Position } from '../ports/log.ts';

interface Last extends Mark {
  readonly shard: string;
  /** A place before it with nothing of the feed's in between: where to go on with it. */
  readonly before: Position;
}

/** Those that are to be handed over still, the oldest first. */
export interface Lasts {
  readonly next: Last | undefined;
  /** The next one of this shard. */
  nextOf(shard: string): Last | undefined;
  /** The next one was handed over, or is gone. */
  done(): void;
  /** Nobody wants them any more. */
  drop(): void;
}

/** Of one span of time. */
export interface Found {
  add(record: LogRecord, before: Position): void;
  /** The newest first. `missedMs`: when the newest was that could not be remembered. It has nothing any more. */
  take(): { readonly lasts: readonly (readonly [string, Last])[]; readonly missedMs: number | undefined };
}

/** Of all spans so far, which are looked through backwards: what is known already is newer. */
export interface Kept {
  /** When the newest was that could not be remembered: nothing before it is complete. */
  readonly missedMs: number | undefined;
  add(found: Found): void;
  lasts(): Lasts;
  drop(): void;
}

/** They are thinned out by sorting them: not for each one that is too many. */
const SLACK = 2;
/** Of all that are remembered, for one app: who asks much leaves room for the others. */
const APP_SHARE = 1 / 4;

export function createLastsMemory({ lastKeys, lastKeysHeld }: Pick<Limits, 'lastKeys' | 'lastKeysHeld'>): {
  /** Of this app. */
  found(app: string): Found;
  kept(app: string): Kept;
} {
  const appKeysHeld = Math.max(1, Math.floor(lastKeysHeld * APP_SHARE));
  /** Of all who ask. */
  let held = 0;
  const heldOf = new Map<string, number>();

  /** So many more, or fewer, are remembered. */
  function hold(app: string, keys: number): void {
    held += keys;
    const own = (heldOf.get(app) ?? 0) + keys;
    if (own === 0) heldOf.delete(app);
    else heldOf.set(app, own);
  }

  const roomFor = (app: string): number => Math.min(lastKeysHeld - held, appKeysHeld - (heldOf.get(app) ?? 0));

  function found(app: string): Found {
    const all = new Map<string, Last>();
    let missedMs: number | undefined;

    function thinOut(size: number): void {
      for (const [key, { timeMs }] of sorted(all).slice(size)) {
        all.delete(key);
        hold(app, -1);
        missedMs = Math.max(missedMs ?? 0, timeMs);
      }
    }

    return {
      add({ shard, position, timeMs, event }, before) {
        // Keys may be as long as attributes may be, and this holds many.
        const key = hash('sha256', `${event.type}\n${keyOf(event) ?? ''}`, 'base64');
        // What has no key goes round over the shards.
        if ((all.get(key)?.timeMs ?? 0) > timeMs) return;
        if (!all.delete(key)) hold(app, 1);
        all.set(key, { shard, position, timeMs, before });
        if (roomFor(app) < 0) thinOut(Math.floor(all.size / 2));
        else if (all.size >= lastKeys * SLACK) thinOut(lastKeys);
      },
      take() {
        const lasts = sorted(all);
        hold(app, -all.size);
        all.clear();
        return { lasts, missedMs };
      },
    };
  }

  function kept(app: string): Kept {
    const all = new Map<string, Last>();
    let missedMs: number | undefined;
    const drop = (): void => {
      hold(app, -all.size);
      all.clear();
    };

    return {
      get missedMs() {
        return missedMs;
      },
      add(one) {
        const { lasts, missedMs: missed } = one.take();
        const fresh = lasts.filter(([key]) => !all.has(key));
        const room = Math.max(0, Math.min(lastKeys - all.size, roomFor(app)));
        for (const [key, last] of fresh.slice(0, room)) all.set(key, last);
        hold(app, Math.min(room, fresh.length));
        const first = fresh[room]?.[1].timeMs;
        if (missed !== undefined || first !== undefined) missedMs = Math.max(missed ?? 0, first ?? 0);
      },
      lasts() {
        const left = sorted(all).map(([, last]) => last);
        all.clear();
        return {
          get next() {
            return left.at(-1);
          },
          nextOf: (shard) => left.findLast((last) => last.shard === shard),
          done() {
            if (left.pop() !== undefined) hold(app, -1);
          },
          drop() {
            hold(app, -left.length);
            left.length = 0;
          },
        };
      },
      drop,
    };
  }

  return { found, kept };
}

const sorted = (all: ReadonlyMap<string, Last>): (readonly [string, Last])[] =>
  [...all].toSorted(([, one], [, other]) => newestFirst(one, other));

/** By time, as a key may be in several shards. */
function newestFirst(one: Last, other: Last): number {
  if (one.timeMs !== other.timeMs) return other.timeMs - one.timeMs;
  if (one.shard !== other.shard) return one.shard < other.shard ? 1 : -1;
  return one.position < other.position ? 1 : -1;
}
