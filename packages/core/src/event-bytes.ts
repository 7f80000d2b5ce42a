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
const CORE = new Set(['id', 'source', 'type', 'subject', 'time', 'datacontenttype', 'dataschema']);

/** All attributes of an event as one flat object, in the names of the CloudEvents JSON format. */
export function attributesOf(event: Event): Record<string, AttributeValue> {
  const { extensions, data: _, ...core } = event;
  return { ...core, ...extensions };
}

export function encodeEvent(event: Event): Uint8Array<ArrayBuffer> {
  const attributes = encoder.encode(JSON.stringify(attributesOf(event)));
  const data = event.data;
  const bytes = new Uint8Array(HEAD_BYTES + attributes.length + (data?.length ?? 0));
  bytes[0] = FORMAT;
  bytes[1] = data === undefined ? 0 : 1;
  new DataView(bytes.buffer).setUint32(2, attributes.length);
  bytes.set(attributes, HEAD_BYTES);
  if (data !== undefined) bytes.set(data, HEAD_BYTES + attributes.length);
  return bytes;
}

/** The payload of the result is a view into `bytes`. Throws a RangeError on what encodeEvent did not make. */
export function decodeEvent(bytes: Uint8Array): Event {
  if (bytes.length < HEAD_BYTES || bytes[0] !== FORMAT) throw new RangeError('not an encoded event');
  const attributesEnd = HEAD_BYTES + new DataView(bytes.buffer, bytes.byteOffset).getUint32(2);
  if (attributesEnd > bytes.length) throw new RangeError('the encoded event is cut short');
  const attributes: Record<string, AttributeValue> = JSON.parse(decoder.decode(bytes.subarray(HEAD_BYTES, attributesEnd)));
  const core: Record<string, AttributeValue> = {};
  const extensions: Record<string, AttributeValue> = {};
  for (const [name, value] of Object.entries(attributes)) (CORE.has(name) ? core : extensions)[name] = value;
  const event = { ...core, extensions } as unknown as Event;
  return bytes[1] === 1 ? { ...event, data: bytes.subarray(attributesEnd) } : event;
}
