/** What a call of `POST /v1/pull` says (spec/protocol.md, section 4): the frames of a session, with the group in place of a sub that does not live. */
import { isObject } from '@millrace/core/json-values';
import { bad, FRAME_BOUNDS, given, parsed, reader } from './frame-reader.ts';
import { noOf, subOf, type SubFrame } from './frames.ts';

export interface PullCall {
  readonly settles: readonly PullSettle[];
  readonly sub?: PullSub;
  /** Names of ops that are none here. */
  readonly unknown: readonly string[];
}

export type PullSettle =
  | ({ readonly op: 'ack' } & Which)
  | ({ readonly op: 'nack'; readonly delayMs?: number; readonly reason?: string; readonly dead?: boolean } & Which)
  | ({ readonly op: 'extend'; readonly ms: number } & Which);

interface Which {
  readonly group: string;
  readonly ids: readonly string[];
  /** Stands in the answer. */
  readonly ref?: string;
}

export interface PullSub extends SubFrame {
  /** How long to wait for the first message. */
  readonly waitMs: number;
}

/** Whoever says nothing waits as long as proxies let a request. */
const WAIT_MS = 30_000;
/** Subs need no numbers where there is one; its messages have this one. */
const SUB = 1;

/** Throws `bad_frame`: then nothing of it is done. */
export function readPull(message: Uint8Array, waitMsMax: number): PullCall {
  const value = parsed(message);
  const frames = Array.isArray(value) ? value : [value];
  if (frames.length > FRAME_BOUNDS.frames) throw bad(`a message has at most ${FRAME_BOUNDS.frames} frames`);
  const settles: PullSettle[] = [];
  const subs: PullSub[] = [];
  const unknown: string[] = [];
  for (const frame of frames) {
    if (!isObject(frame)) throw bad('a frame is a JSON object');
    const read = reader(frame);
    const op = read.text('op');
    if (op === 'ack' || op === 'nack' || op === 'extend') settles.push(settleOf(op, read));
    else if (op === 'sub') subs.push({ ...subOf(read, read.has('sub') ? read.sub() : SUB), waitMs: waitOf(read, waitMsMax) });
    else if (!op.startsWith('x-')) unknown.push(op);
  }
  if (subs.length > 1) throw bad('a pull has at most one sub');
  return { settles, unknown, ...given('sub', subs[0]) };
}

function settleOf(op: PullSettle['op'], read: ReturnType<typeof reader>): PullSettle {
  // Nothing is kept of what an earlier call was sent.
  if (read.has('through')) throw bad(`${op} of a pull names ids: it can not say 'through'`);
  const which = {
    group: read.text('group'),
    ids: read.texts('ids', FRAME_BOUNDS.ids),
    ...given('ref', read.maybeText('ref')),
  };
  if (op === 'extend') return { op, ...which, ms: read.number('ms', 1, FRAME_BOUNDS.extendMs) };
  return op === 'ack' ? { op, ...which } : { op, ...which, ...noOf(read) };
}

const waitOf = (read: ReturnType<typeof reader>, mostMs: number): number =>
  read.maybeNumber('waitMs', 0, mostMs) ?? Math.min(WAIT_MS, mostMs);
