/**
 * How the parts of a session speak to its client, and wait: until it is over, and no longer. Nothing that each session has has getters:
 * V8 keeps an object literal with a getter that is made again and again as a hash table each, 400 bytes and slow to ask.
 */
import type { Limits } from '../limits.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import { type About, asProblem, errorFrame } from './answers.ts';
import type { Connection } from './session-needs.ts';
import type { Unsent } from './unsent.ts';

export interface Talk {
  say(frame: object): void;
  /** What is about one sub, publish or delivery does not end the connection. */
  sayError(error: unknown, about?: About): void;
  /** Where an answer takes time the conversation goes on meanwhile. */
  later(work: Promise<void>, about: About): void;
  /** What it throws is said to be about this. */
  about(what: About, work: () => void): void;
  /** While it is too much, nothing more is sent; while it lasts too long, the client is let go. */
  hasRoom(): boolean;
  /** What was sent beside `say`, where nobody asks for room behind it. */
  gave(bytes: number): void;
  /** The network has taken what was unsent. */
  drained(): void;
  after(delayMs: number, work: () => void): Timer;
  drop(timer: Timer | undefined): void;
  /** No timer fires any more. */
  end(): void;
  isOver(): boolean;
}

interface Needs {
  readonly connection: Connection;
  readonly clock: Clock;
  readonly limits: Limits;
  /** Of all sessions. */
  readonly unsent: Unsent;
  readonly onError: (error: unknown) => void;
  /** What was sent is not read. */
  readonly onSlow: () => void;
  /** There is room again, of all that sessions may hold together. */
  readonly onRoom: () => void;
}

export function createTalk({ connection, clock, limits, unsent, onError, onSlow, onRoom }: Needs): Talk {
  const timers = new Set<Timer>();
  let slowSince: Timer | undefined;
  let isOver = false;
  const held = unsent.enter({
    unsentBytes: connection.unsentBytes,
    takenBytes: connection.takenBytes,
    onSlow,
    onRoom() {
      // What it holds by itself is too much as well: the network tells when that is over.
      if (slowSince !== undefined) return;
      connection.hold?.(false);
      onRoom();
    },
  });

  function after(delayMs: number, work: () => void): Timer {
    const timer = clock.after(delayMs, () => {
      timers.delete(timer);
      if (!isOver) work();
    });
    timers.add(timer);
    return timer;
  }

  function drop(timer: Timer | undefined): void {
    if (timer === undefined) return;
    timer.cancel();
    timers.delete(timer);
  }

  function hasRoom(): boolean {
    const bytes = connection.unsentBytes();
    unsent.note(held, bytes);
    if (bytes <= limits.unsentBytes) return unsent.hasRoom(held);
    slowSince ??= after(limits.slowMs, onSlow);
    return false;
  }

  /** A client that reads no answers is not asked for more questions. */
  function say(frame: object): void {
    connection.send(JSON.stringify(frame));
    if (!isOver && !hasRoom()) connection.hold?.(true);
  }

  function sayError(error: unknown, about: About = {}): void {
    say(errorFrame(asProblem(error, onError), about));
  }

  return {
    say,
    sayError,
    hasRoom,
    gave: (bytes) => unsent.add(held, bytes),
    after,
    drop,
    later(work, about) {
      work.catch((error: unknown) => void (isOver || sayError(error, about)));
    },
    about(what, work) {
      try {
        work();
      } catch (error) {
        sayError(error, what);
      }
    },
    drained() {
      unsent.note(held, connection.unsentBytes());
      drop(slowSince);
      slowSince = undefined;
      connection.hold?.(false);
    },
    end() {
      isOver = true;
      unsent.leave(held);
      for (const timer of timers) timer.cancel();
      timers.clear();
    },
    isOver: () => isOver,
  };
}
