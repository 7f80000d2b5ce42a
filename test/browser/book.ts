/** The orders that came, by who published them. Each publisher numbers its own from 1, and its customers take turns. */

export interface Order {
  readonly source: string;
  readonly partitionkey: string;
  readonly data: { readonly n: number };
}

export interface Book {
  note(order: Order): void;
  /** How many of this publisher's came without one missing before them. */
  upTo(source: string): number;
  /** Those that came twice: allowed or not, as the subscription promises. */
  readonly repeats: readonly string[];
  /** A customer's order that came before an earlier one of his. */
  readonly breaches: readonly string[];
}

export const CUSTOMERS = 5;

export function createBook(): Book {
  const numbers = new Map<string, Set<number>>();
  const last = new Map<string, number>();
  const whole = new Map<string, number>();
  const repeats: string[] = [];
  const breaches: string[] = [];
  return {
    repeats,
    breaches,
    note({ source, partitionkey, data: { n } }) {
      const its = numbers.get(source) ?? new Set();
      numbers.set(source, its);
      const key = `${source} ${partitionkey}`;
      if (its.has(n)) repeats.push(`${key} ${n}`);
      // Of one customer each is CUSTOMERS after the one before: what is further came too early.
      else if (n > (last.get(key) ?? 0) + CUSTOMERS) breaches.push(`${key}: ${n} came after ${last.get(key) ?? 'nothing'}`);
      its.add(n);
      last.set(key, Math.max(n, last.get(key) ?? 0));
      let count = whole.get(source) ?? 0;
      while (its.has(count + 1)) count++;
      whole.set(source, count);
    },
    upTo: (source) => whole.get(source) ?? 0,
  };
}
