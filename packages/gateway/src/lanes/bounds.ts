/**
 * How much of a subscription may be parked, held or dead, over all its lanes: the live one, replays and drills. A
 * delivery starts only when there is room for the worst that may become of it, so nothing is ever dropped at a bound.
 */
import type { Limits } from '../limits.ts';
import type { Subscription, SubscriptionBounds } from '../ports/directory.ts';

export interface Bounds {
  /** What the ledger has or is about to have; the lanes keep them. */
  readonly counts: Counts;
  /** The bound of which people were told last. */
  told: keyof SubscriptionBounds | undefined;
  /** Room for a delivery: as a parked one, unless it is one already (`isParked`), and as a dead letter. */
  hasRoom(size: number, isParked: boolean): boolean;
  hasRoomToPark(size: number): boolean;
  /** Whether one more dead letter fits beside those that what is in flight may become. */
  hasRoomForDeadLetter(): boolean;
  /** Keeps the room while a delivery is in flight. */
  reserve(size: number, isParked: boolean): void;
  release(size: number, isParked: boolean): void;
  /** A delivery in flight was written down as parked: its room is used now. */
  wroteRow(size: number): void;
  /** The bound at which the subscription stands still, if any. */
  stoppedBy(): keyof SubscriptionBounds | undefined;
}

export interface Counts {
  parked: number;
  parkedBytes: number;
  held: number;
  deadLetters: number;
}

export function createBounds({ subscription, limits }: { subscription: () => Subscription; limits: Limits }): Bounds {
  const counts: Counts = { parked: 0, parkedBytes: 0, held: 0, deadLetters: 0 };
  const eventBytesMax = limits.payloadBytes + limits.attributeBytes;
  let inFlight = 0;
  let reserved = 0;
  let reservedBytes = 0;

  const hasRoomForDeadLetter = (): boolean => counts.deadLetters + inFlight < subscription().bounds.deadLetters;

  function hasRoomToPark(size: number): boolean {
    const { bounds } = subscription();
    return counts.parked + reserved < bounds.parked && counts.parkedBytes + reservedBytes + size <= bounds.parkedBytes;
  }

  function count(size: number, isParked: boolean, by: 1 | -1): void {
    inFlight += by;
    if (isParked) return;
    reserved += by;
    reservedBytes += by * size;
  }

  return {
    counts,
    told: undefined,
    hasRoomToPark,
    hasRoomForDeadLetter,
    hasRoom: (size, isParked) => hasRoomForDeadLetter() && (isParked || hasRoomToPark(size)),
    reserve: (size, isParked) => count(size, isParked, 1),
    release: (size, isParked) => count(size, isParked, -1),
    wroteRow(size) {
      reserved--;
      reservedBytes -= size;
    },
    stoppedBy() {
      const { bounds } = subscription();
      if (counts.deadLetters >= bounds.deadLetters) return 'deadLetters';
      if (counts.parked >= bounds.parked) return 'parked';
      if (counts.held >= bounds.held) return 'held';
      return counts.parkedBytes + eventBytesMax > bounds.parkedBytes ? 'parkedBytes' : undefined;
    },
  };
}
