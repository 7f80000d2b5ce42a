/** Calls of `POST /v1/pull` that are open: counted and bounded like sessions, ended like them, and what becomes of what they hand over. */
import type { ServerResponse } from 'node:http';
import { Problem } from '@millrace/core/problem';
import type { Caller } from '../http/access.ts';
import { placeOf } from '../http/followed.ts';
import type { Room } from '../http/room.ts';
import type { Limits } from '../limits.ts';
import type { Clock } from '../ports/clock.ts';
import type { Part } from './pull-here.ts';
import type { Sessions } from './sessions.ts';

export interface Visit extends Visitor {
  /** Aborted when nothing is to be waited for any more: the client is gone, its right is over, or the gateway stops. */
  readonly ended: AbortSignal;
  readonly isGone: boolean;
  /** Why it was ended, by us. */
  readonly refused: Problem | undefined;
  /** Bytes of the answer, of all calls together; false where there is no room for them. */
  hold(bytes: number): boolean;
  /** These are about to be the answer. Should it not reach the client, they are given back. */
  handOver(parts: readonly Part[]): void;
}

export interface Visitor {
  readonly caller: Caller;
  /** As an Authorization header. */
  readonly credentials: string;
  /** Another node asks, for a client that is counted there. */
  readonly isRelayed: boolean;
}

export interface Visits {
  /** Throws `too_many_requests`, `overloaded`, or `quota_exceeded`. */
  enter(raw: ServerResponse, visitor: Visitor): Visit;
}

export interface VisitsNeeds {
  readonly sessions: Sessions;
  /** For answers that their clients have not read yet. */
  readonly answers: Room;
  readonly clock: Clock;
  readonly limits: Limits;
  /** When the caller's right ends, wall time. */
  readonly expiresMsOf: (caller: Caller) => number | undefined;
}

export function createVisits({ sessions, answers, clock, limits, expiresMsOf }: VisitsNeeds): Visits {
  const counts = new Map<string, number>();

  /** Answers how to leave. */
  function count({ caller: { environment, app }, isRelayed }: Visitor): () => void {
    if (isRelayed) return () => undefined;
    const place = placeOf({ environment, id: app });
    const open = counts.get(place) ?? 0;
    if (open >= limits.appPulls)
      throw new Problem('too_many_requests', `an app has at most ${limits.appPulls} pulls open at a node`, {
        retryAfterMs: 1_000,
      });
    counts.set(place, open + 1);
    return () => {
      const left = (counts.get(place) ?? 1) - 1;
      if (left === 0) counts.delete(place);
      else counts.set(place, left);
    };
  }

  function enter(raw: ServerResponse, visitor: Visitor): Visit {
    const over = new AbortController();
    let refused: Problem | undefined;
    let isGone = false;
    let hasLeft = false;
    let parts: readonly Part[] = [];
    const end = (problem: Problem): void => {
      refused ??= problem;
      over.abort();
    };
    const uncount = count(visitor);
    let exit: () => void;
    try {
      exit = sessions.enter({ caller: visitor.caller, isRelayed: visitor.isRelayed, end });
    } catch (error) {
      uncount();
      throw error;
    }
    const hold = answers.hold();
    const expiry = endAt(visitor.caller, () => over.abort());

    function leave(isTaken: boolean): void {
      if (hasLeft) return;
      hasLeft = true;
      isGone = !isTaken;
      expiry();
      hold.end();
      exit();
      uncount();
      over.abort();
      if (isGone) lose(parts);
      parts = [];
    }
    /** Nothing has come to the client before the head has. */
    const lose = (lost: readonly Part[]): void => lost.forEach((part) => part.lost(raw.headersSent ? 'gone' : 'returned'));

    // An answer that is cut off never finishes, one of a test never closes.
    raw.once('finish', () => leave(true)).once('close', () => leave(false));
    // It may have gone while it was found out who asks.
    if (raw.destroyed) leave(false);
    return {
      ...visitor,
      ended: over.signal,
      hold: hold.add,
      get isGone() {
        return isGone;
      },
      get refused() {
        return refused;
      },
      handOver(given) {
        parts = given;
        if (isGone) lose(given);
      },
    };
  }

  /** What is waited for then is answered with nothing, and the next call is told that the token has ended. */
  function endAt(caller: Caller, work: () => void): () => void {
    const expiresMs = expiresMsOf(caller);
    const leftMs = expiresMs === undefined ? Infinity : expiresMs - clock.now() + limits.tokenGraceMs;
    return leftMs > 2 * limits.pullWaitMs ? () => undefined : clock.after(Math.max(0, leftMs), work).cancel;
  }

  return { enter };
}
