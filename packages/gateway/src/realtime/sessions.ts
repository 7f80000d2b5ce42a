/** All sessions of the process: what opens them, bounds them, and asks them to leave. */
import { newId } from '@millrace/core/ids';
import { randomBytes } from 'node:crypto';
import { Problem } from '@millrace/core/problem';
import type { Caller } from '../http/access.ts';
import type { Limits } from '../limits.ts';
import type { Clock } from '../ports/clock.ts';
import { CLOSE } from './close-codes.ts';
import { createSession, type Session } from './session.ts';
import type { Connection, SessionNeeds } from './session-needs.ts';

/** Who follows a plain stream, or pulls, without a session: the same bounds and rights are kept for it. */
export interface Guest {
  readonly caller: Caller;
  /** Another node asks for it: it is counted there. */
  readonly isRelayed?: boolean;
  /** Why it may not, or can not, be here any more. */
  end(problem: Problem): void;
}

export interface Sessions {
  /** Throws `overloaded` where there are as many as may be. */
  open(connection: Connection, admit: SessionNeeds['admit']): Session;
  /** Lets it in, and answers how it leaves. Throws `overloaded` as above, or `quota_exceeded`. */
  enter(guest: Guest): () => void;
  /** Whether another one may be opened. */
  readonly hasRoom: boolean;
  /** With the guests. */
  readonly size: number;
  /** Asks of each whether it may still be here. */
  check(refusalOf: (caller: Caller) => Problem | undefined): void;
  /** Asks all to come back elsewhere, and lets them go. */
  stop(): void;
}

interface Needs extends Pick<
  SessionNeeds,
  'feeds' | 'count' | 'enterGroup' | 'groupOf' | 'publish' | 'messages' | 'clock' | 'limits' | 'node' | 'log' | 'onError'
> {
  readonly clock: Clock;
  readonly limits: Limits;
}

export function createSessions(needs: Needs): Sessions {
  const { clock, limits } = needs;
  const all = new Set<Session>();
  const guests = new Set<Guest>();
  let stopped = false;

  /** Of whom nobody knows yet who they are: each may have a message under way. */
  let unknown = 0;
  const size = (): number => all.size + guests.size;
  const hasRoom = (): boolean => !stopped && size() < limits.sessions && unknown < limits.greetings;

  return {
    open(connection, admit) {
      if (!hasRoom()) throw full();
      const id = newId('ses', clock.now(), (count) => randomBytes(count));
      let isKnown = false;
      const greeted = (): void => {
        if (!isKnown) unknown--;
        isKnown = true;
      };
      const onEnd = (): void => {
        greeted();
        all.delete(session);
      };
      unknown++;
      const session = createSession({
        // One by one: spread, each session would have a hash table of them (talk.ts).
        feeds: needs.feeds,
        count: needs.count,
        enterGroup: needs.enterGroup,
        groupOf: needs.groupOf,
        publish: needs.publish,
        messages: needs.messages,
        node: needs.node,
        log: needs.log,
        onError: needs.onError,
        clock,
        limits,
        connection,
        admit,
        id,
        onGreeted: greeted,
        onEnd,
      });
      all.add(session);
      return session;
    },
    enter(guest) {
      if (!hasRoom()) throw full();
      const uncount = needs.count(guest.caller, 'connections', guest.isRelayed === true);
      guests.add(guest);
      return () => {
        guests.delete(guest);
        uncount();
      };
    },
    get hasRoom() {
      return hasRoom();
    },
    get size() {
      return size();
    },
    check(refusalOf) {
      for (const session of all) {
        const caller = session.caller();
        const problem = caller === undefined ? undefined : refusalOf(caller);
        if (problem !== undefined) session.refuse(problem);
      }
      for (const guest of guests) {
        const problem = refusalOf(guest.caller);
        if (problem !== undefined) guest.end(problem);
      }
    },
    stop() {
      stopped = true;
      for (const session of all) {
        session.drain(limits.sessionReturnMs);
        session.end(CLOSE.drain, 'the gateway stops');
      }
      for (const guest of guests) guest.end(full());
    },
  };
}

export const full = (): Problem =>
  new Problem('overloaded', 'there are as many sessions as this gateway holds', { retryAfterMs: 5_000 });
