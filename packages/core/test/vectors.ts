/** The language-neutral cases of spec/vectors, and a random source that repeats itself by seed. */
import { readFileSync } from 'node:fs';
import assert from 'node:assert/strict';
import { Problem, type ProblemCode } from '../src/problem.ts';

export function vectors<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`../../../spec/vectors/${name}.json`, import.meta.url), 'utf8')) as T;
}

export interface Named {
  readonly name: string;
}

/** Asserts that `run` throws a Problem with this code and, where given, this pointer. Returns it. */
export function refusal(run: () => unknown, code: ProblemCode, pointer?: string): Problem {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof Problem, `not a Problem: ${String(error)}`);
    assert.equal(error.code, code, error.message);
    if (pointer !== undefined) assert.equal(error.pointer, pointer, error.message);
    return error;
  }
  throw new assert.AssertionError({ message: `not refused; ${code} was expected` });
}

/** mulberry32: small, fast, the same on every machine. Numbers in [0, 1). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function pick<T>(random: () => number, from: readonly T[]): T {
  return from[Math.floor(random() * from.length)] as T;
}

const TEXTS = ['', 'a', 'b', 'ab', 'a.b', 'é', '😀', '\\', '"', '\u2028', '\0', '__proto__', 'constructor', '10.0.0.1', '\ud800'];
const NUMBERS = [0, -0, 1, -1, 1.5, 1e21, 1e-7, 2 ** 53, -(2 ** 53), 255, 1e308];

/** A random JSON value, at most `depth` levels deep. */
export function randomJson(random: () => number, depth: number): unknown {
  const kind = Math.floor(random() * (depth > 0 ? 6 : 4));
  if (kind === 0) return pick(random, TEXTS);
  if (kind === 1) return pick(random, NUMBERS);
  if (kind === 2) return random() < 0.5;
  if (kind === 3) return null;
  const length = Math.floor(random() * 4);
  if (kind === 4) return Array.from({ length }, () => randomJson(random, depth - 1));
  // fromEntries makes an own `__proto__`, as JSON.parse does.
  return Object.fromEntries(Array.from({ length }, () => [pick(random, TEXTS), randomJson(random, depth - 1)]));
}
