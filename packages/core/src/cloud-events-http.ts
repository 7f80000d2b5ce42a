/**
 * Events over HTTP: the CloudEvents HTTP binding 1.0.2 in its three modes, and plain JSON.
 *
 *   content-type                       mode
 *   application/cloudevents+json       structured: one event as JSON
 *   application/cloudevents-batch+json batch: a list of them
 *   any, with ce-* headers             binary: attributes in headers, the body is the payload
 *   application/json                   plain: {"type": …, "data": …}, or a list of them
 */
import { isJsonType, startDraft } from './attributes.ts';
import { decodeJsonBatch, decodeJsonEvent } from './cloud-events-json.ts';
import type { EventDraft } from './draft.ts';
import type { Event } from './event.ts';
import { pointerTo } from './json-pointer.ts';
import { Problem } from './problem.ts';

export { encodeBatch, encodeStructured } from './cloud-events-json.ts';

export const STRUCTURED_TYPE = 'application/cloudevents+json';
export const BATCH_TYPE = 'application/cloudevents-batch+json';
export const BATCH_EVENTS_MAX = 1000;

export interface HttpMessage {
  /** Names in any case, with their values: a Headers object, a Map, Object.entries of plain headers. */
  readonly headers: Iterable<readonly [string, string]>;
  readonly body: Uint8Array;
}

export interface Decoded {
  /** Whether the publisher sent a list: the answer then is one, too. */
  readonly batch: boolean;
  /** In order; a Problem in the place of an event of a list that is refused. A single event is never a Problem: it is thrown. */
  readonly events: readonly (EventDraft | Problem)[];
}

/**
 * Payloads are views into the body. Throws `invalid_json`, `invalid_event` with a pointer (to a JSON member, or to a header
 * as `/headers/ce-type`), `unsupported_media_type`, and `payload_too_large` for a list longer than `eventsMax`.
 */
export function decodeHttp({ headers, body }: HttpMessage, eventsMax: number = BATCH_EVENTS_MAX): Decoded {
  const pairs = [...headers].map(([name, value]) => [name.toLowerCase(), value] as const);
  const contentType = pairs.find(([name]) => name === 'content-type')?.[1].trim();
  const mediaType = contentType?.split(';')[0]?.trim().toLowerCase() ?? '';
  if (mediaType.startsWith('application/cloudevents')) {
    checkCharset(contentType);
    if (mediaType === STRUCTURED_TYPE) return { batch: false, events: [decodeJsonEvent(body, 'structured')] };
    if (mediaType === BATCH_TYPE) return { batch: true, events: decodeJsonBatch(body, 'structured', eventsMax) };
    throw unsupported(`CloudEvents as ${mediaType.slice(0, 80)}`);
  }
  const attributes = pairs.filter(([name]) => name.startsWith('ce-'));
  if (attributes.length > 0) return { batch: false, events: [decodeBinary(attributes, contentType, body)] };
  if (mediaType !== 'application/json' && mediaType !== 'text/json')
    throw unsupported(mediaType === '' ? 'a body without a content type' : mediaType.slice(0, 80));
  checkCharset(contentType);
  return decodePlain(body, eventsMax);
}

function decodePlain(body: Uint8Array, eventsMax: number): Decoded {
  const first = body.find((byte) => byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09);
  if (first === 0x5b) return { batch: true, events: decodeJsonBatch(body, 'plain', eventsMax) };
  return { batch: false, events: [decodeJsonEvent(body, 'plain')] };
}

function checkCharset(contentType: string | undefined): void {
  const charset = /;\s*charset="?([^";\s]*)/i.exec(contentType ?? '')?.[1];
  if (charset !== undefined && !/^utf-?8$/i.test(charset)) throw unsupported(`JSON in ${charset.slice(0, 40)}`);
}

function unsupported(what: string): Problem {
  return new Problem('unsupported_media_type', `${what} is not taken here`, {
    advice:
      'Send application/json, application/cloudevents+json, application/cloudevents-batch+json, or any type with ce- headers.',
  });
}

function decodeBinary(
  attributes: readonly (readonly [string, string])[],
  contentType: string | undefined,
  body: Uint8Array,
): EventDraft {
  const pointerOf = (name: string) => pointerTo('/headers', name === 'datacontenttype' ? 'content-type' : `ce-${name}`);
  const draft = startDraft(pointerOf);
  const seen = new Set<string>();
  if (contentType !== undefined && contentType !== '') draft.set('datacontenttype', contentType);
  for (const [header, value] of attributes) {
    const name = header.slice(3);
    const refused = (message: string) => new Problem('invalid_event', message, { pointer: pointerTo('/headers', header) });
    if (seen.has(name)) throw refused(`the header ${header.slice(0, 40)} is there twice`);
    if (name === 'datacontenttype') throw refused('the content type of the payload is the header content-type');
    seen.add(name);
    const text = decodeHeader(value);
    if (text === undefined) throw refused(`the header ${header.slice(0, 40)} must be percent-encoded UTF-8`);
    if (name !== 'specversion') draft.set(name, text);
    else if (text !== '1.0') throw refused('ce-specversion must be 1.0');
  }
  if (!seen.has('specversion'))
    throw new Problem('invalid_event', 'the header ce-specversion is missing', { pointer: pointerOf('specversion') });
  return draft.end(hasPayload(contentType, body) ? body : undefined);
}

/** An empty body is no payload where none is declared, and where one is declared as JSON, which is never empty. */
function hasPayload(contentType: string | undefined, body: Uint8Array): boolean {
  if (body.length > 0) return true;
  return contentType !== undefined && contentType !== '' && !isJsonType(contentType);
}

/**
 * Section 3.1.3.2: a quoted string is unquoted (older senders), then percent-decoded once. Undefined where raw characters
 * beyond ASCII, a `%` without two hex digits or bytes that are no UTF-8 leave open what was meant.
 */
function decodeHeader(value: string): string | undefined {
  const trimmed = value.trim();
  const text = /^".*"$/.test(trimmed) ? trimmed.slice(1, -1).replace(/\\(.)/g, '$1') : trimmed;
  if (!/^[ -~]*$/.test(text)) return undefined;
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/** Everything but printable ASCII, and of that space, double quote and percent (section 3.1.3.2). */
const UNSAFE = /[^!#$&-~]+/;
const ALL_UNSAFE = new RegExp(UNSAFE, 'g');

function encodeHeader(value: string): string {
  // Nearly no value has one, and looking costs a tenth of replacing.
  return UNSAFE.test(value) ? value.toWellFormed().replace(ALL_UNSAFE, (run) => encodeURIComponent(run)) : value;
}

/** The event in binary mode: lower-case header names. Without a payload the body is empty and there is no content type. */
export function encodeBinary(event: Event): { readonly headers: Record<string, string>; readonly body: Uint8Array } {
  const { id, source, type, subject, time, datacontenttype, dataschema, extensions, data } = event;
  // Names written out: names put together for every event cost more than their values.
  const headers: Record<string, string> = {
    'ce-specversion': '1.0',
    'ce-id': encodeHeader(id),
    'ce-source': encodeHeader(source),
    'ce-type': encodeHeader(type),
  };
  if (subject !== undefined) headers['ce-subject'] = encodeHeader(subject);
  if (time !== undefined) headers['ce-time'] = encodeHeader(time);
  if (dataschema !== undefined) headers['ce-dataschema'] = encodeHeader(dataschema);
  for (const name in extensions) headers[`ce-${name}`] = encodeHeader(String(extensions[name]));
  // Absent means JSON inside the gateway; on the wire it has to be said. A native producer's type may be no header value.
  if (data !== undefined || datacontenttype !== undefined)
    headers['content-type'] = headerSafe(datacontenttype ?? 'application/json');
  return { headers, body: data ?? new Uint8Array() };
}

function headerSafe(contentType: string): string {
  return /^[ -~]+$/.test(contentType) ? contentType : 'application/octet-stream';
}
