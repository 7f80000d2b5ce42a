/** Who follows a plain stream: counted like a session, ended with its right, told now and then that it is there, cut where it reads nothing. */
import type { ServerResponse } from 'node:http';
import { Problem } from '@millrace/core/problem';
import type { Caller } from '../http/access.ts';
import type { Limits } from '../limits.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type { Feed } from './feeds.ts';
import type { Sessions } from './sessions.ts';
import type { Stream } from './sse-stream.ts';
import { type Held, takenBytes } from './unsent.ts';

/** From before its feed is open until after its connection is gone. */
export interface Visit {
  feed?: Feed;
  stream?: Stream;
  /** Of what all have not taken yet. */
  readonly held: Held;
  /** Why it was ended, by us. */
  refused?: Problem;
  isOver: boolean;
  /** Each once at a time; all end with the visit. */
  arm(name: 'life' | 'heartbeat' | 'slow', delayMs: number, work: () => void): void;
  disarm(name: 'slow'): void;
  leave(): void;
}

export interface VisitNeeds {
  readonly sessions: Sessions;
  readonly clock: Clock;
  readonly limits: Limits;
  /** When the caller's right ends, wall time. */
  readonly expiresMsOf: (caller: Caller) => number | undefined;
}

export function createVisits({ sessions, clock, limits, expiresMsOf }: VisitNeeds) {
  const { unsent } = sessions;

  /** Counted from now on: what is slow to open would else be as many as one likes. */
  function enter(raw: ServerResponse, caller: Caller): Visit {
    const timers = new Map<string, Timer>();
    const disarm = (name: string): void => {
      timers.get(name)?.cancel();
      timers.delete(name);
    };
    const end = (problem: Problem): void => {
      visit.refused ??= problem;
      visit.leave();
      visit.stream?.end();
    };
    const exit = sessions.enter({ caller, end });
    const visit: Visit = {
      held: unsent.enter({
        unsentBytes: () => raw.writableLength,
        takenBytes: () => takenBytes(raw.socket),
        onSlow: () => raw.destroy(),
        onRoom: () => visit.feed?.pump(),
      }),
      isOver: false,
      arm(name, delayMs, work) {
        if (visit.isOver || timers.has(name)) return;
        const fire = (): void => {
          timers.delete(name);
          work();
        };
        timers.set(name, clock.after(delayMs, fire));
      },
      disarm,
      leave() {
        visit.isOver = true;
        for (const name of timers.keys()) disarm(name);
        visit.feed?.close();
        unsent.leave(visit.held);
        exit();
      },
    };
    // The client may go while the feed is being opened, or have gone while it was found out who asks.
    raw.once('close', visit.leave);
    if (raw.destroyed) visit.leave();
    const expiresMs = expiresMsOf(caller);
    if (expiresMs !== undefined) live(visit, expiresMs - clock.now() + limits.tokenGraceMs, end);
    return visit;
  }

  /** The clock waits for a day at most, and a key may live for years. */
  function live(visit: Visit, leftMs: number, end: (problem: Problem) => void): void {
    const untilMs = clock.monotonic() + leftMs;
    const look = (): void => {
      const nowMs = clock.monotonic();
      if (nowMs >= untilMs) end(new Problem('unauthorized', 'the token or key has expired'));
      else visit.arm('life', untilMs - nowMs, look);
    };
    look();
  }

  /** A comment, for proxies that cut what is silent. Where much is unsent already it would say nothing new. */
  function beat(visit: Visit, stream: Stream): void {
    visit.arm('heartbeat', limits.heartbeatMs, () => {
      if (stream.raw.writableLength <= limits.unsentBytes) stream.raw.write(':\n\n');
      beat(visit, stream);
    });
  }

  /** While it is too much, nothing more is sent; where it lasts too long, the connection is cut. */
  function hasRoom(visit: Visit, { raw }: Stream): boolean {
    const bytes = raw.writableLength;
    unsent.note(visit.held, bytes);
    if (bytes <= limits.unsentBytes) return unsent.hasRoom(visit.held);
    visit.arm('slow', limits.slowMs, () => {
      // Of what is less than the system's own mark no 'drain' tells.
      if (raw.writableLength <= limits.unsentBytes) visit.feed?.pump();
      else raw.destroy();
    });
    return false;
  }

  return { enter, beat, hasRoom };
}
