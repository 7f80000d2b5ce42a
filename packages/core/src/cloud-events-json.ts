/**
 * Events as JSON: the CloudEvents JSON format 1.0.2, and the plain form for people with curl, which is the same without
 * `specversion`. Payloads are cut out of the body and put into it as bytes; they are never parsed and written again.
 */
import { isJsonType, KNOWN_NAMES, startDraft } from './attributes.ts';
import { decodeBase64, encodeBase64 } from './base64.ts';
import type { EventDraft } from './draft.ts';
import { attributesOf } from './event-bytes.ts';
import { type Event, hasJsonData } from './event.ts';
import { pointerTo } from './json-pointer.ts';
import { isJson, type Member, membersAt, objectsAt, parseJson } from './json-scan.ts';
import { isObject, type JsonObject } from './json-values.ts';
import { didYouMean } from './near-miss.ts';
import { Problem } from './problem.ts';

/** `structured`: `specversion` must be there and be 1.0. `plain`: it may be left out. */
export type JsonForm = 'structured' | 'plain';

/**
 * One event. Throws `invalid_json`, or `invalid_event` with a JSON pointer. What it takes:
 * - `type`, and `id`, `source`, `subject`, `time`, `datacontenttype`, `dataschema` as non-empty strings;
 * - extensions as members beside them: strings, 32-bit integers, booleans; names of 1 to 20 lower-case letters and digits;
 * - a member that is null as if it were left out, except `data`, where null is a payload of four bytes;
 * - in the plain form `headers`, an object of texts: headers for the deliveries of this event (the attribute `webhookheaders`);
 * - `data`: the member's bytes as they stand, where the content type is JSON or absent; else a string, whose text is the
 *   payload; or `data_base64`; not both;
 * - no member twice, and no nesting deeper than 128;
 * - in the plain form without `specversion` and without a payload, no member that is none of ours: it may be a misspelt `data`.
 */
export function decodeJsonEvent(body: Uint8Array, form: JsonForm): EventDraft {
  const value = parseJson(body);
  return readEvent(value, isObject(value) ? membersAt(body, 0) : [], { body, pointer: '', form });
}

/** A list of events, in order, a Problem in the place of each that is refused. Throws where the whole is no JSON list or longer than `eventsMax`. */
export function decodeJsonBatch(body: Uint8Array, form: JsonForm, eventsMax: number): (EventDraft | Problem)[] {
  const values = parseJson(body);
  if (!Array.isArray(values)) throw new Problem('invalid_event', 'a batch is a list of events', { pointer: '' });
  if (values.length > eventsMax)
    throw new Problem('payload_too_large', `a batch has at most ${eventsMax} events, this one ${values.length}`);
  return objectsAt(body, 0).map((members, at) => {
    try {
      return readEvent(values[at], members, { body, pointer: pointerTo('', at), form });
    } catch (error) {
      if (error instanceof Problem) return error;
      throw error;
    }
  });
}

interface Place {
  readonly body: Uint8Array;
  readonly pointer: string;
  readonly form: JsonForm;
}

function readEvent(value: unknown, members: readonly Member[], { body, pointer, form }: Place): EventDraft {
  const refused = (name: string, message: string) => new Problem('invalid_event', message, { pointer: pointerTo(pointer, name) });
  if (!isObject(value)) throw new Problem('invalid_event', 'an event is a JSON object', { pointer });
  const draft = startDraft((name) => pointerTo(pointer, name));
  const seen = new Set<string>();
  let data: Uint8Array | undefined;
  for (const { name, start, end } of members) {
    if (seen.has(name)) throw refused(name, `'${name.slice(0, 40)}' is there twice`);
    seen.add(name);
    if (name === 'data') data = payload(value, body.subarray(start, end), pointer);
    else if (value[name] === null || name === 'specversion') continue;
    else if (name === 'headers' && form === 'plain')
      draft.set('webhookheaders', headersIn(value[name], pointerTo(pointer, name)));
    else if (name === 'data_base64') data = binaryPayload(value[name], pointerTo(pointer, name));
    else draft.set(name, value[name]);
  }
  if (form === 'plain') refuseMisspelt(value, seen, refused);
  if (seen.has('data') && value['data_base64'] !== undefined && value['data_base64'] !== null)
    throw refused('data_base64', 'there are both data and data_base64');
  const version = value['specversion'] ?? (form === 'plain' ? '1.0' : undefined);
  if (version !== '1.0') throw refused('specversion', 'specversion must be 1.0');
  return draft.end(data);
}

/** A person's `dtaa` would be stored as an attribute, and the payload be gone: without one, what is not known is refused. */
function refuseMisspelt(value: JsonObject, seen: ReadonlySet<string>, refused: (name: string, message: string) => Problem): void {
  if (!seen.has('type') || seen.has('specversion') || seen.has('data') || seen.has('data_base64')) return;
  for (const name of seen) {
    if (KNOWN_NAMES.has(name) || value[name] === null) continue;
    throw refused(
      name,
      `'${name.slice(0, 40)}' is not known${didYouMean(KNOWN_NAMES, name)}, and there is no data: an attribute of one's own needs data, or specversion 1.0`,
    );
  }
}

/** Of the plain form: headers for the deliveries of this event. They travel as an attribute of their own. */
function headersIn(value: unknown, pointer: string): string {
  if (isObject(value) && Object.values(value).every((one) => typeof one === 'string')) return JSON.stringify(value);
  throw new Problem('invalid_event', 'headers is an object of texts', { pointer });
}

const encoder = new TextEncoder();

function payload(event: JsonObject, bytes: Uint8Array, pointer: string): Uint8Array {
  const { datacontenttype, data } = event;
  // A content type that is no string is refused with the attributes.
  if (typeof datacontenttype !== 'string' || isJsonType(datacontenttype)) return bytes;
  if (typeof data === 'string' && data.isWellFormed()) return encoder.encode(data);
  throw new Problem('invalid_event', `data of the type ${datacontenttype.slice(0, 80)} must be a string, or data_base64`, {
    pointer: pointerTo(pointer, 'data'),
  });
}

function binaryPayload(text: unknown, pointer: string): Uint8Array {
  const bytes = typeof text === 'string' ? decodeBase64(text) : undefined;
  if (bytes === undefined) throw new Problem('invalid_event', 'data_base64 must be base64 with padding', { pointer });
  return bytes;
}

/** The event as `application/cloudevents+json`. JSON payloads stand in it byte for byte, all others as `data_base64`. */
export function encodeStructured(event: Event): Uint8Array<ArrayBuffer> {
  const { data } = event;
  const attributes = JSON.stringify({ specversion: '1.0', ...attributesOf(event) }).slice(0, -1);
  if (data === undefined) return encoder.encode(`${attributes}}`);
  if (!hasJsonData(event) || !isJson(data)) return encoder.encode(`${attributes},"data_base64":"${encodeBase64(data)}"}`);
  return joined([encoder.encode(`${attributes},"data":`), data, encoder.encode('}')]);
}

/** Events as `application/cloudevents-batch+json`. */
export function encodeBatch(events: readonly Event[]): Uint8Array<ArrayBuffer> {
  const comma = encoder.encode(',');
  const items = events.flatMap((event, at) => (at === 0 ? [encodeStructured(event)] : [comma, encodeStructured(event)]));
  return joined([encoder.encode('['), ...items, encoder.encode(']')]);
}

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
