/**
 * JSON in the form `JSON.stringify(JSON.parse(text))` gives, for receivers that verify a signature over
 * `JSON.stringify(request.body)` instead of the bytes they got.
 */

import { hasEscapedName } from './json-parse.ts';

/** A string, a number, or the colon behind a member's name. Strings first, so that nothing inside them is taken for one. */
const TOKENS = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|:/g;
const DECODER = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const ENCODER = new TextEncoder();

/**
 * The bytes in that form. Undefined where it would change a value, so that they must go out as they are: a number that a
 * double can't hold exactly as written, a member that is there twice; where a name is written with a backslash, which
 * parsers misread (json-parse.ts), here or there; or where they are no JSON at all.
 */
export function stringified(bytes: Uint8Array): Uint8Array | undefined {
  let text: string;
  let value: unknown;
  try {
    text = DECODER.decode(bytes);
    value = JSON.parse(text);
  } catch {
    return undefined; // not JSON: the caller sends what it has
  }
  if (hasEscapedName(text)) return undefined;
  const form = JSON.stringify(value);
  if (form === text) return bytes;
  return keepsValues(text, value) ? ENCODER.encode(form) : undefined;
}

function keepsValues(text: string, value: unknown): boolean {
  let members = 0;
  for (const [token] of text.matchAll(TOKENS)) {
    if (token === ':') members++;
    else if (!token.startsWith('"') && !isExact(token)) return false;
  }
  return members === membersOf(value);
}

/** Walks with a list of its own: JSON may be nested deeper than a stack. */
function membersOf(value: unknown): number {
  let count = 0;
  const waiting: unknown[] = [value];
  while (waiting.length > 0) {
    const next = waiting.pop();
    if (typeof next !== 'object' || next === null) continue;
    const inside: unknown[] = Object.values(next);
    if (!Array.isArray(next)) count += inside.length;
    for (const one of inside) waiting.push(one);
  }
  return count;
}

/** Whether the shortest text of the double that this number is read as means the same decimal. */
function isExact(token: string): boolean {
  const number = Number(token);
  return Number.isFinite(number) && decimalOf(token) === decimalOf(String(number));
}

const ZERO = 0x30;

/** Digits without zeros at either end, and the power of ten behind them. The sign of zero is no value. */
function decimalOf(token: string): string {
  const [, sign = '', whole = '', fraction = '', power = '0'] = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(token) ?? [];
  const digits = (whole + fraction).replace(/^0+/, '');
  // No /0+$/: on zeros with a digit behind them it begins anew at each of them, a square of their number.
  let end = digits.length;
  while (digits.charCodeAt(end - 1) === ZERO) end--;
  const shown = digits.slice(0, end);
  if (shown === '') return '0';
  return `${sign}${shown}e${Number(power) - fraction.length + digits.length - shown.length}`;
}
