/**
 * Order by key in one lane: per key one head, which is being sent or parked or dead, and its successors in log order.
 * Only keys with a head are known here; idle keys cost nothing.
 */
import type { Deque } from '../deque.ts';
import { createDeque } from '../deque.ts';
import type { Delivery } from './delivery.ts';

export interface Keys {
  readonly size: number;
  /** True where somebody is ahead. */
  isBusy(key: string): boolean;
  /** Makes this the head of a key that has none. `head` is undefined for one that is only in the ledger. */
  lead(key: string, head: Delivery | undefined): void;
  /** The head, if it is in memory. */
  head(key: string): Delivery | undefined;
  /** True where the head is in the ledger: parked, or a dead letter that holds its key. */
  headHasRow(key: string): boolean;
  /** Queues behind the head. */
  follow(key: string, delivery: Delivery): void;
  /** The head has left memory for the ledger, or came back. */
  setHead(key: string, head: Delivery | undefined): void;
  /** The head is done: its successor becomes the head and is returned, or the key is forgotten. */
  release(key: string): Delivery | undefined;
}

interface Queue {
  head: Delivery | undefined;
  /** Made when somebody has to wait: most keys never have two events open. */
  waiting: Deque<Delivery> | undefined;
}

export function createKeys(): Keys {
  const queues = new Map<string, Queue>();
  return {
    get size() {
      return queues.size;
    },
    isBusy: (key) => queues.has(key),
    lead: (key, head) => void queues.set(key, { head, waiting: undefined }),
    head: (key) => queues.get(key)?.head,
    headHasRow(key) {
      const queue = queues.get(key);
      return queue !== undefined && (queue.head === undefined || queue.head.row !== 'none');
    },
    follow(key, delivery) {
      const queue = queues.get(key);
      if (queue !== undefined) (queue.waiting ??= createDeque()).push(delivery);
    },
    setHead(key, head) {
      const queue = queues.get(key);
      if (queue !== undefined) queue.head = head;
    },
    release(key) {
      const queue = queues.get(key);
      const next = queue?.waiting?.shift();
      if (queue === undefined || next === undefined) {
        queues.delete(key);
        return undefined;
      }
      queue.head = next;
      return next;
    },
  };
}
