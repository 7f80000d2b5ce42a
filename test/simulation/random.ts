import crypto from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';

/** Chance from a seed: the same seed gives the same numbers on every machine. */
export interface Random {
  /** A number in [0, 1). */
  next(): number;
  /** A whole number from `low` to `high`, both included. */
  int(low: number, high: number): number;
  /** A number from `low` to `high`. */
  between(low: number, high: number): number;
  chance(probability: number): boolean;
  pick<T>(list: readonly T[]): T;
  /** Waiting time until the next of events that come `mean` apart on average, at most five times that. */
  gap(mean: number): number;
  /** Chance of its own, so that one part of the world that asks more often does not change what another gets. */
  fork(label: string): Random;
}

export function createRandom(seed: string | number): Random {
  const next = generator(hashText(String(seed)));
  return {
    next,
    int: (low, high) => low + Math.floor(next() * (high - low + 1)),
    between: (low, high) => low + next() * (high - low),
    chance: (probability) => next() < probability,
    pick: (list) => list[Math.floor(next() * list.length)]!,
    gap: (mean) => Math.min(5 * mean, -mean * Math.log(1 - next())),
    fork: (label) => createRandom(`${seed}/${label}`),
  };
}

/** FNV-1a, 32 bits; also what traces are hashed with. */
export function hashText(text: string, start = 0x811c9dc5): number {
  let sum = start;
  for (let i = 0; i < text.length; i++) sum = Math.imul(sum ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return sum;
}

/** mulberry32. The first numbers of near seeds are alike, so they are thrown away. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
  for (let i = 0; i < 4; i++) next();
  return next;
}

/**
 * Secrets and uids come from node:crypto, and rightly so. Within a simulation they come from the seed: a uid decides on
 * slots and ids, and a failing seed must reproduce. Holds for the whole thread, which runs one seed at a time.
 */
export function seedCrypto(random: Random): void {
  crypto.randomBytes = (size: number) => Buffer.from(Array.from({ length: size }, () => random.int(0, 255)));
  crypto.randomUUID = (() =>
    Array.from({ length: 32 }, () => random.int(0, 15).toString(16)).join('')) as unknown as typeof crypto.randomUUID;
  syncBuiltinESMExports();
}
