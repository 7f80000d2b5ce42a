/**
 * Where things stand in a JSON text, in bytes: so that a payload inside an envelope can be cut out as it was sent, with
 * its numbers beyond 2^53, order of keys and spacing. Parsing alone is left to json-parse.ts.
 */
import { parseText } from './json-parse.ts';
import { Problem } from './problem.ts';

/** Of arrays and objects within each other. */
export const JSON_DEPTH_MAX = 128;
/** Objects and arrays of one text: of empty ones a megabyte holds so many that a parser takes a second to make them all. */
export const JSON_NODES_MAX = 500_000;

export interface Span {
  /** Of the first byte. */
  readonly start: number;
  /** Behind the last byte. */
  readonly end: number;
}

export interface Member extends Span {
  readonly name: string;
}

/** A byte order mark is left in, where JSON.parse refuses it. */
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Throws `invalid_json` for what is no UTF-8, no JSON, or nested deeper than 128. */
export function parseJson(bytes: Uint8Array, depthMax: number = JSON_DEPTH_MAX): unknown {
  // First, because some engines parse by recursion.
  const { deepest, nodes } = sizeOf(bytes);
  if (deepest > depthMax) throw new Problem('invalid_json', `the JSON is nested deeper than ${depthMax}`);
  if (nodes > JSON_NODES_MAX) throw new Problem('invalid_json', `the JSON has more than ${JSON_NODES_MAX} objects and arrays`);
  try {
    return parseText(decoder.decode(bytes));
  } catch (cause) {
    const message =
      cause instanceof SyntaxError ? `the body is not valid JSON: ${cause.message.slice(0, 200)}` : 'the body is not valid UTF-8';
    throw new Problem('invalid_json', message, { cause });
  }
}

/** True where the bytes are JSON, whatever its depth. */
export function isJson(bytes: Uint8Array): boolean {
  try {
    JSON.parse(decoder.decode(bytes));
    return true;
  } catch {
    return false;
  }
}

/** The members of the object that begins at `start` or after white space, repeated names included. The text must be valid JSON. */
export function membersAt(bytes: Uint8Array, start: number): Member[] {
  const members: Member[] = [];
  readMembers(bytes, afterSpace(bytes, start), members);
  return members;
}

/** The members of each object of the array that begins at `start` or after white space; of an item that is no object none. */
export function objectsAt(bytes: Uint8Array, start: number): Member[][] {
  const items: Member[][] = [];
  let at = afterSpace(bytes, start) + 1;
  for (at = afterSpace(bytes, at); bytes[at] !== CLOSE_BRACKET; at = afterComma(bytes, at)) {
    const members: Member[] = [];
    at = bytes[at] === OPEN_BRACE ? readMembers(bytes, at, members) : valueEnd(bytes, at);
    items.push(members);
  }
  return items;
}

/** Returns the place behind the object. */
function readMembers(bytes: Uint8Array, start: number, members: Member[]): number {
  let at = afterSpace(bytes, start + 1);
  for (; bytes[at] !== CLOSE_BRACE; at = afterComma(bytes, at)) {
    const nameEnd = stringEnd(bytes, at);
    const name = nameOf(bytes.subarray(at, nameEnd));
    const valueStart = afterSpace(bytes, afterSpace(bytes, nameEnd) + 1);
    at = valueEnd(bytes, valueStart);
    members.push({ name, start: valueStart, end: at });
  }
  return at + 1;
}

/** The items of the array that begins at `start` or after white space. The text must be valid JSON. */
export function itemsAt(bytes: Uint8Array, start: number): Span[] {
  const items: Span[] = [];
  let at = afterSpace(bytes, start) + 1;
  for (at = afterSpace(bytes, at); bytes[at] !== CLOSE_BRACKET; at = afterComma(bytes, at)) {
    const end = valueEnd(bytes, at);
    items.push({ start: at, end });
    at = end;
  }
  return items;
}

/** Whether the bytes are a list of more than `most` items, before anything is made of them. Of any bytes; a list that is none may count. */
export function hasMoreItems(bytes: Uint8Array, most: number): boolean {
  const start = afterSpace(bytes, 0);
  if (bytes[start] !== OPEN_BRACKET) return false;
  let depth = 1;
  let items = bytes[afterSpace(bytes, start + 1)] === CLOSE_BRACKET ? 0 : 1;
  for (let at = start + 1; at < bytes.length && depth > 0 && items <= most; at += 1) {
    const byte = bytes[at] as number;
    const sign = SIGNS[byte];
    if (sign === QUOTED) at = stringEnd(bytes, at) - 1;
    else if (sign === OPENS) depth += 1;
    else if (sign === CLOSES) depth -= 1;
    else if (byte === COMMA && depth === 1) items += 1;
  }
  return items > most;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

const QUOTED = 1;
const OPENS = 2;
const CLOSES = 3;
/** One look per byte, where all but these are passed over. */
const SIGNS = new Uint8Array(256);
SIGNS[QUOTE] = QUOTED;
SIGNS[OPEN_BRACE] = SIGNS[OPEN_BRACKET] = OPENS;
SIGNS[CLOSE_BRACE] = SIGNS[CLOSE_BRACKET] = CLOSES;

function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

const PLAIN_NAME_MAX = 24;

/** Nearly every name is a few plain characters, which cost less one by one than a parser. */
function nameOf(quoted: Uint8Array): string {
  let name = '';
  if (quoted.length <= PLAIN_NAME_MAX) {
    for (let at = 1; at < quoted.length - 1; at += 1) {
      const byte = quoted[at] as number;
      if (byte === BACKSLASH || byte >= 0x80) return JSON.parse(decoder.decode(quoted));
      name += String.fromCharCode(byte);
    }
    return name;
  }
  return JSON.parse(decoder.decode(quoted));
}

function afterSpace(bytes: Uint8Array, start: number): number {
  let at = start;
  while (isSpace(bytes[at])) at += 1;
  return at;
}

function afterComma(bytes: Uint8Array, start: number): number {
  const at = afterSpace(bytes, start);
  return bytes[at] === COMMA ? afterSpace(bytes, at + 1) : at;
}

/** Behind the value whose first byte is at `start`. */
function valueEnd(bytes: Uint8Array, start: number): number {
  const first = bytes[start];
  if (first === QUOTE) return stringEnd(bytes, start);
  let at = start;
  if (first !== OPEN_BRACE && first !== OPEN_BRACKET) {
    while (
      at < bytes.length &&
      !isSpace(bytes[at]) &&
      bytes[at] !== COMMA &&
      bytes[at] !== CLOSE_BRACE &&
      bytes[at] !== CLOSE_BRACKET
    )
      at += 1;
    return at;
  }
  let depth = 0;
  do {
    const sign = SIGNS[bytes[at] as number];
    if (sign === QUOTED) at = stringEnd(bytes, at) - 1;
    else if (sign === OPENS) depth += 1;
    else if (sign === CLOSES) depth -= 1;
    at += 1;
  } while (depth > 0 && at < bytes.length);
  return at;
}

/** Names and short values end within so many bytes: looking natively costs as much as a loop over these. */
const SHORT = 24;
/** Not Buffer's own, which costs more than it finds. */
const { indexOf } = Uint8Array.prototype;

/** Behind the quote that closes the string which begins at `start`; behind the text where none does. */
function stringEnd(bytes: Uint8Array, start: number): number {
  let at = start + 1;
  // Where quotes stand close together, as in JSON within JSON, the loop is the faster of the two.
  for (let span = SHORT; ; span *= 2) {
    const near = Math.min(bytes.length, at + span);
    while (at < near && bytes[at] !== QUOTE) at += bytes[at] === BACKSLASH ? 2 : 1;
    if (at < near || at >= bytes.length) return at + 1;
    const quote = indexOf.call(bytes, QUOTE, at);
    if (quote < 0) return bytes.length + 1;
    if (!isEscaped(bytes, quote, at)) return quote + 1;
    at = quote + 1;
  }
}

/** Whether an odd number of backslashes stands before it, from `from` on, which is not escaped itself. */
function isEscaped(bytes: Uint8Array, quote: number, from: number): boolean {
  let at = quote;
  while (at > from && bytes[at - 1] === BACKSLASH) at -= 1;
  return (quote - at) % 2 === 1;
}

/** Of any bytes: quotes and brackets are all it looks at. */
function sizeOf(bytes: Uint8Array): { readonly deepest: number; readonly nodes: number } {
  let depth = 0;
  let deepest = 0;
  let nodes = 0;
  for (let at = 0; at < bytes.length; at += 1) {
    const sign = SIGNS[bytes[at] as number];
    if (sign === QUOTED) at = stringEnd(bytes, at) - 1;
    else if (sign === OPENS) {
      nodes += 1;
      deepest = Math.max(deepest, (depth += 1));
    } else if (sign === CLOSES) depth -= 1;
  }
  return { deepest, nodes };
}
