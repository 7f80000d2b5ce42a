/** A frame's members, read one by one and checked: what is missing or none of its kind is `bad_frame`. */
import { parseJson } from '@millrace/core/json-scan';
import { Problem } from '@millrace/core/problem';

export const FRAME_BOUNDS = {
  /** Frames of one message. */
  frames: 64,
  depth: 32,
  /** Of a text that is no event: an id, a reason. */
  textChars: 512,
  /** Ids of one ack. */
  ids: 1_024,
  /** Of one sub. */
  topics: 16,
  cursors: 1_024,
  /** Outstanding of one sub. */
  credit: 10_000,
  extendMs: 12 * 3_600_000,
  tokenChars: 8_192,
} as const;

export const SUB_MAX = 2 ** 31 - 1;

export function parsed(message: Uint8Array): unknown {
  try {
    return parseJson(message, FRAME_BOUNDS.depth);
  } catch (error) {
    throw bad(error instanceof Problem ? error.message.replace('the body', 'the message') : 'the message is no JSON');
  }
}

export type Reader = ReturnType<typeof reader>;

export function reader(frame: Readonly<Record<string, unknown>>) {
  const value = (name: string): unknown => (Object.hasOwn(frame, name) && frame[name] !== null ? frame[name] : undefined);
  const has = (name: string): boolean => value(name) !== undefined;
  const maybe = <T>(name: string, read: (name: string) => T): T | undefined => (has(name) ? read(name) : undefined);

  function text(name: string, charsMax: number = FRAME_BOUNDS.textChars): string {
    const found = value(name);
    if (typeof found !== 'string' || found === '' || found.length > charsMax)
      throw bad(`${name} is a text of 1 to ${charsMax} characters`);
    return found;
  }
  function number(name: string, min: number, max: number): number {
    const found = value(name);
    if (!Number.isSafeInteger(found) || (found as number) < min || (found as number) > max)
      throw bad(`${name} is a whole number from ${min} to ${max}`);
    return found as number;
  }
  function texts(name: string, most: number): readonly string[] {
    const found = value(name);
    const isText = (one: unknown): boolean => typeof one === 'string' && one !== '' && one.length <= FRAME_BOUNDS.textChars;
    if (!Array.isArray(found) || found.length > most || !found.every(isText))
      throw bad(`${name} is a list of at most ${most} texts`);
    return found as readonly string[];
  }
  function flag(name: string): boolean {
    const found = value(name);
    if (typeof found !== 'boolean') throw bad(`${name} is true or false`);
    return found;
  }
  return {
    value,
    has,
    text,
    number,
    texts,
    sub: () => number('sub', 1, SUB_MAX),
    maybeText: (name: string, charsMax?: number) => maybe(name, (one) => text(one, charsMax)),
    maybeNumber: (name: string, min: number, max: number) => maybe(name, (one) => number(one, min, max)),
    maybeFlag: (name: string) => maybe(name, flag),
  };
}

export function given<Name extends string, T>(name: Name, value: T | undefined): { readonly [name in Name]?: T } {
  return value === undefined ? {} : ({ [name]: value } as { readonly [name in Name]: T });
}

export const bad = (why: string): Problem => new Problem('bad_frame', why);
