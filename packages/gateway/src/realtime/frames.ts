/** What clients of `millrace.v1` send (spec/protocol.md), read and checked: nothing behind this file looks at JSON. */
import { decodeJsonEvent } from '@millrace/core/cloud-events-json';
import type { EventDraft } from '@millrace/core/draft';
import { type Member, membersAt, objectsAt } from '@millrace/core/json-scan';
import { isObject } from '@millrace/core/json-values';
import { Problem } from '@millrace/core/problem';
import { bad, FRAME_BOUNDS, given, parsed, type Reader, reader, SUB_MAX } from './frame-reader.ts';

export type ClientFrame =
  | { readonly op: 'hello'; readonly v: number; readonly token?: string; readonly client?: string }
  | SubFrame
  | { readonly op: 'unsub'; readonly sub: number; readonly drain?: boolean }
  | ({ readonly op: 'ack' } & Settling)
  | ({ readonly op: 'nack'; readonly delayMs?: number; readonly reason?: string; readonly dead?: boolean } & Settling)
  | { readonly op: 'extend'; readonly sub: number; readonly ids: readonly string[]; readonly ms: number; readonly ref?: string }
  | { readonly op: 'credit'; readonly sub: number; readonly add: number }
  | {
      readonly op: 'pub';
      readonly ref: string;
      /** A Problem where it is no event. */
      readonly event: EventDraft | Problem;
      readonly idempotencyKey?: string;
    }
  | { readonly op: 'auth'; readonly token: string }
  | { readonly op: 'ping' | 'pong'; readonly t?: number }
  | { readonly op: 'bye' }
  /** One that this server does not know. */
  | { readonly op: 'unknown'; readonly name: string };

export interface SubFrame {
  readonly op: 'sub';
  readonly sub: number;
  readonly topics?: readonly string[];
  readonly group?: string;
  readonly filter?: unknown;
  readonly from?: 'latest' | 'last' | 'earliest' | { readonly cursors?: readonly string[]; readonly timeMs?: number };
  readonly credit: number;
  readonly create?: boolean;
}

/** Which deliveries: by id, or all that were sent up to one. */
interface Settling {
  readonly sub: number;
  readonly ids?: readonly string[];
  readonly through?: string;
  readonly credit?: number;
  /** Stands in the answer. */
  readonly ref?: string;
}

/** Reads one message: a frame or a list of them. Throws `bad_frame` for what ends the connection. */
export function readFrames(message: Uint8Array): ClientFrame[] {
  const value = parsed(message);
  if (!Array.isArray(value)) return [frameOf(value, () => membersAt(message, 0), message)];
  if (value.length > FRAME_BOUNDS.frames) throw bad(`a message has at most ${FRAME_BOUNDS.frames} frames`);
  let members: Member[][] | undefined;
  return value.map((one, at) => frameOf(one, () => (members ??= objectsAt(message, 0))[at] ?? [], message));
}

/** `members`: where the parts of the frame stand in the message, for the one whose event is taken byte for byte. */
function frameOf(value: unknown, members: () => readonly Member[], message: Uint8Array): ClientFrame {
  if (!isObject(value)) throw bad('a frame is a JSON object');
  const read = reader(value);
  const op = read.text('op');
  switch (op) {
    case 'hello':
      return {
        op,
        v: read.number('v', 0, SUB_MAX),
        ...given('token', read.maybeText('token', FRAME_BOUNDS.tokenChars)),
        ...given('client', read.maybeText('client')),
      };
    case 'sub':
      return subOf(read);
    case 'unsub':
      return { op, sub: read.sub(), ...given('drain', read.maybeFlag('drain')) };
    case 'ack':
      return { op, ...settlingOf(read) };
    case 'nack':
      return {
        op,
        ...settlingOf(read),
        ...noOf(read),
      };
    case 'extend':
      return {
        op,
        sub: read.sub(),
        ids: read.texts('ids', FRAME_BOUNDS.ids),
        ms: read.number('ms', 1, FRAME_BOUNDS.extendMs),
        ...given('ref', read.maybeText('ref')),
      };
    case 'credit':
      return { op, sub: read.sub(), add: read.number('add', 1, SUB_MAX) };
    case 'pub':
      return {
        op,
        ref: read.text('ref'),
        event: eventOf(
          members().findLast(({ name }) => name === 'event'),
          message,
        ),
        ...given('idempotencyKey', read.maybeText('idempotencyKey')),
      };
    case 'auth':
      return { op, token: read.text('token', FRAME_BOUNDS.tokenChars) };
    case 'ping':
    case 'pong':
      return { op, ...given('t', read.maybeNumber('t', 0, Number.MAX_SAFE_INTEGER)) };
    case 'bye':
      return { op };
    default:
      return { op: 'unknown', name: op };
  }
}

/** `sub`: its number. */
export function subOf(read: Reader, sub = read.sub()): SubFrame {
  return {
    op: 'sub',
    sub,
    ...given('topics', read.has('topics') ? read.texts('topics', FRAME_BOUNDS.topics) : undefined),
    ...given('group', read.maybeText('group')),
    ...given('filter', read.value('filter')),
    ...given('from', fromOf(read)),
    credit: read.number('credit', 0, FRAME_BOUNDS.credit),
    ...given('create', read.maybeFlag('create')),
  };
}

/** What a nack says beside which. */
export function noOf(read: Reader): { readonly delayMs?: number; readonly reason?: string; readonly dead?: boolean } {
  return {
    ...given('delayMs', read.maybeNumber('delayMs', 0, FRAME_BOUNDS.extendMs)),
    ...given('reason', read.maybeText('reason')),
    ...given('dead', read.maybeFlag('dead')),
  };
}

function fromOf(read: Reader): SubFrame['from'] {
  const from = read.value('from');
  if (from === undefined || from === 'latest' || from === 'last' || from === 'earliest') return from;
  if (!isObject(from)) throw bad('from is latest, last, earliest, or an object with cursors or timeMs');
  const inner = reader(from);
  if (inner.has('cursors')) return { cursors: inner.texts('cursors', FRAME_BOUNDS.cursors) };
  return { timeMs: inner.number('timeMs', 0, Number.MAX_SAFE_INTEGER) };
}

function settlingOf(read: Reader): Settling {
  const ids = read.has('ids') ? read.texts('ids', FRAME_BOUNDS.ids) : undefined;
  const through = read.maybeText('through');
  if ((ids === undefined) === (through === undefined)) throw bad('an ack has ids, or through');
  return {
    sub: read.sub(),
    ...given('ids', ids),
    ...given('through', through),
    ...given('credit', read.maybeNumber('credit', 0, SUB_MAX)),
    ...given('ref', read.maybeText('ref')),
  };
}

/** The event's own bytes: numbers beyond 2^53 and the order of keys stay what they are. */
function eventOf(member: Member | undefined, message: Uint8Array): EventDraft | Problem {
  if (member === undefined) throw bad('pub has an event');
  try {
    return decodeJsonEvent(message.subarray(member.start, member.end), 'plain');
  } catch (error) {
    if (error instanceof Problem) return error;
    throw error;
  }
}
