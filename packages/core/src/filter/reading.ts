/** What reading a filter checks everywhere: kinds, sizes, counts. Everything it refuses is `invalid_filter` with a JSON pointer. */
import { isObject } from '../json-values.ts';
import { Problem } from '../problem.ts';

export const LEAF_VALUES_MAX = 1000;
export const STRING_CHARS_MAX = 1024;

export interface Reading {
  /** `advice`: what to write instead. */
  refused(message: string, pointer: string, advice?: string): Problem;
  /** A string of at most 1,024 characters. */
  text(value: unknown, pointer: string): string;
  /** A finite number. */
  number(value: unknown, pointer: string): number;
  /** The name and value of an object with exactly one member. */
  onlyMember(value: unknown, pointer: string): [string, unknown];
  /** Counts values against the 1,000 that one filter may hold. */
  count(values: number, pointer: string): void;
}

export function startReading(): Reading {
  let counted = 0;
  const refused = (message: string, pointer: string, advice?: string): Problem =>
    new Problem('invalid_filter', message, advice === undefined ? { pointer } : { pointer, advice });
  return {
    refused,
    text(value, pointer) {
      if (typeof value !== 'string') throw refused('this must be a string', pointer);
      if (value.length > STRING_CHARS_MAX)
        throw refused(`a string has at most ${STRING_CHARS_MAX} characters, this one ${value.length}`, pointer);
      return value;
    },
    number(value, pointer) {
      if (typeof value !== 'number' || !Number.isFinite(value))
        throw refused('this must be a number that a 64-bit float can hold', pointer);
      return value;
    },
    onlyMember(value, pointer) {
      const members = isObject(value) ? Object.entries(value) : [];
      if (members.length !== 1 || members[0] === undefined)
        throw refused(
          'an operator is an object with exactly one member',
          pointer,
          'Write [{ "prefix": "a" }, { "suffix": "z" }] for one or the other.',
        );
      return members[0];
    },
    count(values, pointer) {
      counted += values;
      if (counted > LEAF_VALUES_MAX) throw refused(`a filter has at most ${LEAF_VALUES_MAX} values`, pointer);
    },
  };
}
