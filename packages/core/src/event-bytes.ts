/**
 * One event as one byte string, for logs and ledgers that store blobs.
 *
 *   1 byte   format, 1
 *   1 byte   1 where a payload follows (an empty payload is not the same as none)
 *   4 bytes  length of the attributes, big endian
 *   n bytes  the attributes, a flat JSON object in UTF-8
 *   rest     the payload
 */
import type { AttributeValue, Event } from './event.ts';

const FORMAT = 1;
const HEAD_BYTES = 6;
const encoder = new TextEncoder();
const decoder = new TextDecoder();
/** Room for the attributes of nearly every event. */
const scratch = new Uint8Array(8_192);
const CORE = new Set(['id', 'source', 'type', 'subject', 'time', 'datacontenttype', 'dataschema']);

/** All attributes of an event as one flat object, in the names of the CloudEvents JSON format. */
export function attributesOf(event: Event): Record<string, AttributeValue> {
  const { extensions, data: _, ...core } = event;
  return { ...core, ...extensions };
}

export function encodeEvent(event: Event): Uint8Array<ArrayBuffer> {
  const attributes = utf8(JSON.stringify(attributesOf(event)));
  const { data } = event;
  const { length } = attributes;
  const bytes = new Uint8Array(HEAD_BYTES + length + (data?.length ?? 0));
  bytes[0] = FORMAT;
  bytes[1] = data === undefined ? 0 : 1;
  bytes[2] = length >>> 24;
  bytes[3] = length >>> 16;
  bytes[4] = length >>> 8;
  bytes[5] = length;
  bytes.set(attributes, HEAD_BYTES);
  if (data !== undefined) bytes.set(data, HEAD_BYTES + length);
  return bytes;
}

/** A view that is good until the next call: the attributes are copied at once, into the array they share with the payload. */
function utf8(text: string): Uint8Array {
  // A code unit takes at most three bytes of UTF-8.
  if (text.length * 3 > scratch.length) return encoder.encode(text);
  return scratch.subarray(0, encoder.encodeInto(text, scratch).written);
}

/** The payload of the result is a view into `bytes`. Throws a RangeError on what encodeEvent did not make. */
export function decodeEvent(bytes: Uint8Array): Event {
  if (bytes.length < HEAD_BYTES || bytes[0] !== FORMAT) throw new RangeError('not an encoded event');
  const attributesEnd = HEAD_BYTES + new DataView(bytes.buffer, bytes.byteOffset).getUint32(2);
  if (attributesEnd > bytes.length) throw new RangeError('the encoded event is cut short');
  const attributes: Record<string, AttributeValue> = JSON.parse(decoder.decode(bytes.subarray(HEAD_BYTES, attributesEnd)));
  const extensions: Record<string, AttributeValue> = {};
  const event: Record<string, unknown> = {};
  for (const name in attributes) {
    if (CORE.has(name)) event[name] = attributes[name];
    // A native client may write it: assigned, it would become what all names are looked up in.
    else if (name !== '__proto__') extensions[name] = attributes[name] as AttributeValue;
  }
  event['extensions'] = extensions;
  if (bytes[1] === 1) event['data'] = bytes.subarray(attributesEnd);
  return event as unknown as Event;
}
