/** A message as a consumer delivers it: the place in the stream is in the reply subject, where the header block lies only its length tells. */
import type { Msg } from '@nats-io/transport-node';
import type { Stored } from './binding.ts';

export interface Delivered extends Stored {
  /** 1, 2, 3, … for each consumer: a number that is left out is a message that was lost on the way. */
  readonly delivery: number;
  /** How many more the consumer has to deliver. */
  readonly pending: number;
}

/** Undefined for what is no delivery: a status of the server. */
export function deliveredOf(message: Msg): Delivered | undefined {
  const { reply, subject, data } = message;
  if (reply === undefined || !reply.startsWith('$JS.ACK.')) return undefined;
  // $JS.ACK.<stream>.<consumer>.<tries>.<sequence>.<delivery>.<time>.<pending>, or two more tokens before the stream and one at the end
  const dots = dotsOf(reply);
  const at = dots.length === 8 ? 4 : 6;
  return {
    sequence: numberIn(reply, dots[at]!, dots[at + 1]!),
    delivery: numberIn(reply, dots[at + 1]!, dots[at + 2]!),
    // Nanoseconds since 1970 have more digits than a number: the milliseconds are cut out of the text.
    timeMs: numberIn(reply, dots[at + 2]!, dots[at + 3]! - NANO_DIGITS),
    pending: numberIn(reply, dots[at + 3]!, dots[at + 4] ?? reply.length),
    subject,
    headers: blockBefore(data, message),
    body: new Uint8Array(data.buffer, data.byteOffset, data.length),
  };
}

/** Of a millisecond. */
const NANO_DIGITS = 6;

/** Where the dots are. No text is made of what stands between them: this is done for every message that is read. */
function dotsOf(reply: string): number[] {
  const dots: number[] = [];
  for (let at = reply.indexOf('.'); at !== -1; at = reply.indexOf('.', at + 1)) dots.push(at);
  return dots;
}

/** Decimal digits behind `dot`. */
function numberIn(text: string, dot: number, end: number): number {
  let value = 0;
  for (let at = dot + 1; at < end; at++) value = value * 10 + text.charCodeAt(at) - 0x30;
  return value;
}

export function headerBlockOf(message: Msg): Uint8Array | undefined {
  return blockBefore(message.data, message);
}

/**
 * The bytes before the body. The client shows headers only as read by itself, which throws at what it does not like; it
 * tells the length of the whole, though, and body and headers lie side by side.
 */
function blockBefore(data: Uint8Array, message: Msg): Uint8Array | undefined {
  const { subject, reply } = message;
  const length = (message as Msg & { size(): number }).size() - byteLength(subject) - byteLength(reply ?? '') - data.length;
  if (length <= 0 || length > data.byteOffset) return undefined;
  const block = new Uint8Array(data.buffer, data.byteOffset - length, length);
  return isHeaderBlock(block) ? block : undefined;
}

const HEAD = 'NATS/1.0';

function isHeaderBlock(block: Uint8Array): boolean {
  for (let i = 0; i < HEAD.length; i++) if (block[i] !== HEAD.charCodeAt(i)) return false;
  return true;
}

function byteLength(text: string): number {
  return Buffer.byteLength(text);
}
