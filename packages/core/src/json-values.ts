/**
 * Parsed JSON as filters see it: arrays are transparent at every level, only own members count, and what holds a value
 * is a leaf: string, number, boolean or null.
 */
export type Scalar = string | number | boolean | null;
export type JsonObject = Readonly<Record<string, unknown>>;

export function isScalar(value: unknown): value is Scalar {
  return value === null || typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** An own member, so that `constructor` and `__proto__` mean nothing but what was sent. */
export function memberOf(object: JsonObject, name: string): unknown {
  return Object.hasOwn(object, name) ? object[name] : undefined;
}

/**
 * All values that `value` stands for once arrays are opened, at any depth. Walks with a list of its own: JSON.parse reads
 * arrays nested a hundred thousand deep, and recursion over them would end the process's stack.
 */
export function* opened(value: unknown): Generator<unknown> {
  if (!Array.isArray(value)) return yield value;
  const waiting: unknown[] = [value];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (!Array.isArray(next)) yield next;
    else for (let at = next.length - 1; at >= 0; at -= 1) waiting.push(next[at]);
  }
}

/** The leaves at `path` below `root`, arrays opened at every step; none where the path leads nowhere or to objects only. */
export function readPath(root: unknown, path: readonly string[]): Scalar[] {
  let values = [root];
  for (const name of path) {
    values = values.flatMap((value) => [...opened(value)].filter(isObject).map((object) => memberOf(object, name)));
  }
  return values.flatMap((value) => [...opened(value)].filter(isScalar));
}
