/**
 * What all sessions together have not taken yet. Each has a bound of its own (talk.ts), and thousands that do not read would hold gigabytes
 * within it: past the bound of all, those that take nothing are let go, the ones that hold most first, until it is kept; those that take
 * something, but too little to be done in the time that a session may be slow, only where that is not enough. Meanwhile who holds something
 * gets no more. Each tells what it holds as it
 * learns it; what the network takes of it nobody tells. So the sum is too large rather than too small, and near the bound it is counted anew,
 * once in a second: no message costs more than an addition.
 */
import type { Socket } from 'node:net';
import type { Limits } from '../limits.ts';
import type { Clock, Timer } from '../ports/clock.ts';

export interface Unsent {
  /** From now on it counts, until it leaves. */
  enter(holder: Holder): Held;
  /** It was just given so many. */
  add(held: Held, bytes: number): void;
  /** So many it has not taken now. */
  note(held: Held, bytes: number): void;
  leave(held: Held): void;
  /** False while all hold too much, and it has not taken what it was given: it is told when that has changed. */
  hasRoom(held: Held): boolean;
  /** Of all, counted anew. */
  bytes(): number;
}

export interface Holder {
  unsentBytes(): number;
  /** Of all that it was given, what the network has taken. */
  takenBytes(): number;
  /** It does not read, and holds what others need: it is to leave. */
  readonly onSlow: () => void;
  /** It may be given more again. */
  readonly onRoom: () => void;
}

/** No getters: see talk.ts. */
export interface Held {
  readonly holder: Holder;
  bytes: number;
  /** As it was at the last look. */
  owedBytes: number;
  takenBytes: number;
  /** In so many looks, one after the other, it read too little, or nothing. */
  slowLooks: number;
  stillLooks: number;
  hasLeft: boolean;
}

const LOOK_MS = 1_000;
/**
 * Looks and no time: in a process that stood still nobody could be seen reading. So many, as the system tells nothing of what a slow reader takes
 * before a third of its send buffer is free, seconds after it was full.
 */
const IDLE_LOOKS = 8;
/** From here on it is looked who reads, so that it is known at the bound. */
const WATCHED_PART = 0.5;

export function createUnsent({ clock, limits }: { readonly clock: Clock; readonly limits: Limits }): Unsent {
  const maxBytes = limits.sessionsUnsentBytes;
  const all = new Set<Held>();
  const stopped = new Set<Held>();
  let total = 0;
  let lookedMs = 0;
  let timer: Timer | undefined;

  function note(held: Held, bytes: number): void {
    if (held.hasLeft) return;
    total += bytes - held.bytes;
    held.bytes = bytes;
    if (total > maxBytes * WATCHED_PART) timer ??= clock.after(LOOK_MS, look);
  }

  function look(): void {
    const nowMs = clock.monotonic();
    for (const held of all) judge(held, nowMs - lookedMs);
    lookedMs = nowMs;
    letGo(Array.from(all).filter(({ stillLooks }) => stillLooks >= IDLE_LOOKS));
    letGo(Array.from(all).filter(({ slowLooks }) => slowLooks >= IDLE_LOOKS));
    goOn();
    timer = total > maxBytes * WATCHED_PART ? clock.after(LOOK_MS, look) : undefined;
  }

  /** No more than what there is room for: whoever is told takes at once. */
  function goOn(): void {
    for (const held of Array.from(stopped)) {
      if (total > maxBytes && held.bytes > 0) continue;
      stopped.delete(held);
      held.holder.onRoom();
    }
  }

  /** Who reads takes what it owed, or as much as it would have to for taking all in the time that a session may be slow. */
  function judge(held: Held, sinceMs: number): void {
    const bytes = held.holder.unsentBytes();
    const takenBytes = held.holder.takenBytes();
    const dueBytes = held.owedBytes * Math.min(1, sinceMs / limits.slowMs);
    const tookBytes = takenBytes - held.takenBytes;
    held.slowLooks = tookBytes >= dueBytes ? 0 : held.slowLooks + 1;
    held.stillLooks = tookBytes > 0 || held.owedBytes === 0 ? 0 : held.stillLooks + 1;
    held.owedBytes = bytes;
    held.takenBytes = takenBytes;
    note(held, bytes);
  }

  function letGo(idle: readonly Held[]): void {
    for (const held of idle.toSorted((one, other) => other.bytes - one.bytes)) {
      if (total <= maxBytes) return;
      leave(held);
      held.holder.onSlow();
    }
  }

  function leave(held: Held): void {
    note(held, 0);
    held.hasLeft = true;
    all.delete(held);
    stopped.delete(held);
    if (all.size > 0) return;
    timer?.cancel();
    timer = undefined;
  }

  return {
    enter(holder) {
      const held = { holder, bytes: 0, owedBytes: 0, takenBytes: 0, slowLooks: 0, stillLooks: 0, hasLeft: false };
      all.add(held);
      return held;
    },
    add: (held, bytes) => note(held, held.bytes + bytes),
    note,
    leave,
    hasRoom(held) {
      if (total <= maxBytes || held.hasLeft || held.holder.unsentBytes() === 0) return true;
      stopped.add(held);
      return false;
    },
    bytes() {
      for (const held of all) note(held, held.holder.unsentBytes());
      return total;
    },
  };
}

/** What Node has for its own time-outs of sockets. */
interface Handle {
  readonly bytesWritten: number;
  readonly writeQueueSize: number;
}

/**
 * A write counts as taken (`writableLength`) when all of it is: whoever reads a megabyte slowly would for seconds look like one that reads
 * nothing. How much of it is left the handle alone knows, which is none of Node's documented parts: without it, what is known counts.
 */
export function takenBytes(socket: Socket | null): number {
  if (socket === null) return 0;
  const { _handle: handle } = socket as unknown as { readonly _handle?: Partial<Handle> | null };
  const { bytesWritten, writeQueueSize } = handle ?? {};
  if (bytesWritten === undefined || writeQueueSize === undefined) return socket.bytesWritten - socket.writableLength;
  return bytesWritten - writeQueueSize;
}
