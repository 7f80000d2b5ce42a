/**
 * The tape: what a lane has taken from the log, in log order, until the cursor may go past it. The cursor is the place
 * just before the oldest delivery that is neither settled nor written down.
 */
import { createDeque } from '../deque.ts';
import type { Delivery } from './delivery.ts';
import type { Place } from './tail.ts';

export interface Tape {
  readonly size: number;
  push(delivery: Delivery): void;
  /** Drops what is passed from the front. Call after `passed` was set. */
  advance(): void;
  /** Where the cursor stands; `read` when nothing is open. */
  cursor(read: Place): Place;
  [Symbol.iterator](): Iterator<Delivery>;
}

export function createTape(): Tape {
  const open = createDeque<Delivery>();
  return {
    get size() {
      return open.size;
    },
    push: (delivery) => open.push(delivery),
    advance() {
      while (open.peek()?.passed === true) open.shift();
    },
    cursor: (read) => open.peek()?.before ?? read,
    [Symbol.iterator]: () => open[Symbol.iterator](),
  };
}
