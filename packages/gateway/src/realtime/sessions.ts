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
import { createUnsent, type Unsent } from './unsent.ts';

/** Who follows a plain stream, or pulls, without a session: the same bounds and rights are kept for it. */
export interface Guest {
  readonly caller: Caller;
  /** Another node asks for it: it is counted there. */
  readonly isRelayed?: boolean;
  /** Why it may not, or can not, be here any more. */
  end(problem: Problem): void;
}

export interface Sessions {
  /** Of somebody who was checked already (`isKnown`), or of whom nobody knows yet who it is. Throws `overloaded` where there is no room. */
  open(connection: Connection, admit: SessionNeeds['admit'], isKnown: boolean): Session;
  /** Lets it in, and answers how it leaves. Throws `overloaded` as above, or `quota_exceeded`. */
  enter(guest: Guest): () => void;
  /** Whether another one may be opened: in the place of one that did not say who it is, where there is no other. */
  readonly hasRoom: boolean;
  /** With the guests. */
  readonly size: number;
  /** What they have not taken yet. */
  readonly unsent: Unsent;
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
  const unsent = createUnsent({ clock, limits });
  let stopped = false;

  /** Of whom nobody knows yet who they are, the oldest first: each may have a message under way. */
  const unknown = new Map<Session, Connection>();
  const size = (): number => all.size + guests.size;
  const hasRoom = (): boolean => !stopped && (size() < limits.sessions || unknown.size > 0);

  /** Anybody may come and say nothing: such a one goes for others, so that it can not hold the door. */
  function makeRoom(isKnown: boolean): void {
    if (!hasRoom()) throw full();
    if (size() < limits.sessions && (isKnown || unknown.size < limits.greetings)) return;
    for (const [oldest, connection] of unknown) {
      oldest.refuse(tooSlow());
      return connection.cut?.();
    }
  }

  return {
    open(connection, admit, isKnown) {
      makeRoom(isKnown);
      const id = newId('ses', clock.now(), (count) => randomBytes(count));
      const greeted = (): void => void unknown.delete(session);
      const onEnd = (): void => {
        greeted();
        all.delete(session);
      };
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
        unsent,
        connection,
        admit,
        id,
        onGreeted: greeted,
        onEnd,
      });
      all.add(session);
      if (!isKnown) unknown.set(session, connection);
      return session;
    },
    enter(guest) {
      makeRoom(true);
      const uncount = needs.count(guest.caller, 'connections', guest.isRelayed === true);
      guests.add(guest);
      return () => {
        guests.delete(guest);
        uncount();
      };
    },
    unsent,
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

const tooSlow = (): Problem =>
  new Problem('overloaded', 'others came, and this one had not said who it is', {
    retryAfterMs: 1_000,
    advice: 'Say hello as soon as the connection is open.',
  });

export const full = (): Problem =>
  new Problem('overloaded', 'there are as many sessions as this gateway holds', { retryAfterMs: 5_000 });
