/**
 * An event as a NATS message and back: the CloudEvents NATS binding in binary mode. The body is the data, attributes are
 * `ce-` headers. What CloudEvents has no place for is in `millrace-` headers:
 *
 *   millrace-app     whose event it is; without it the message is a native client's
 *   millrace-types   extensions that are no strings: `n=i,yes=b`
 *   millrace-data    `none` where the event has no data: the body of a JSON event is then `null`, so that it always parses
 *   millrace-digest  of a dedupe key: what was sent. The key is in Nats-Msg-Id, digested with whose it is
 *   millrace-append  which append wrote it, so that a repeat of our own is told from another's
 *
 * A message of a native client becomes an event where it can be one, and whatever its bytes are: data of no stated type that is
 * no JSON is octets. What says that it is something and isn't, or is larger than the door takes, is rejected: a record that
 * nobody gets, with the reason. A subject that is no topic makes no reject, as its data is good; the extension `millracefault`
 * says so.
 */
import { isJsonType, startDraft } from '@millrace/core/attributes';
import { decodeJsonEvent } from '@millrace/core/cloud-events-json';
import type { EventDraft } from '@millrace/core/draft';
import type { AttributeValue, Event } from '@millrace/core/event';
import { hasJsonData } from '@millrace/core/event';
import { attributesOf } from '@millrace/core/event-bytes';
import { Problem } from '@millrace/core/problem';
import type { Entry, LogRecord, Rejected } from '@millrace/gateway/ports/log';
import { escapeValue, readHeaders, unescapeValue, writeHeaders } from './headers.ts';
import { keyIn, readPlain } from './plain.ts';
import { positionOf } from './position.ts';
import type { Named } from './subjects.ts';

/** A message as it was stored. */
export interface Stored {
  readonly sequence: number;
  readonly timeMs: number;
  readonly subject: string;
  readonly headers: Uint8Array | undefined;
  readonly body: Uint8Array;
}

/** What of a message is not the event's, for those who dedupe. */
export interface Marks {
  readonly digest: string | undefined;
  readonly append: string | undefined;
}

export interface Where {
  readonly stream: string;
  readonly identity: string;
  readonly named: (subject: string) => Named;
}

const MESSAGE_ID = 'Nats-Msg-Id';
const NULL = new TextEncoder().encode('null');
const NOTHING = new Uint8Array();
/** As at the door (limits.attributeBytes): no part of the gateway, and no endpoint, has to cope with more. */
const ATTRIBUTE_BYTES_MAX = 16_384;
/** As at the door (limits.payloadBytes): an event of this log fits into any other, and no endpoint gets more. */
const PAYLOAD_BYTES_MAX = 524_288;
/** What the port takes. */
const DETAIL_CHARS_MAX = 500;
/** What encodeEvent puts before the attributes. */
const ENCODED_HEAD_BYTES = 6;

export function bodyOf({ data, ...event }: Event): Uint8Array {
  if (data !== undefined) return data;
  return hasJsonData(event) ? NULL : NOTHING;
}

/** `append` names this very append, `messageId` is what the broker dedupes by. */
export function headersOf({ app, event, dedupe }: Entry, append: string, messageId: string): Uint8Array {
  const { id, source, type, subject, time, datacontenttype, dataschema, extensions, data } = event;
  let lines = `Nats-Msg-Id: ${messageId}\r\nce-specversion: 1.0\r\nce-id: ${escapeValue(id)}\r\nce-source: ${escapeValue(source)}\r\nce-type: ${escapeValue(type)}\r\n`;
  const add = (name: string, value: string) => (lines += `${name}: ${escapeValue(value)}\r\n`);
  if (subject !== undefined) add('ce-subject', subject);
  if (time !== undefined) add('ce-time', time);
  if (datacontenttype !== undefined) add('ce-datacontenttype', datacontenttype);
  if (dataschema !== undefined) add('ce-dataschema', dataschema);
  let types = '';
  for (const name in extensions) {
    const value = extensions[name]!;
    add(`ce-${name}`, String(value));
    if (typeof value !== 'string') types += `${types === '' ? '' : ','}${name}=${typeof value === 'number' ? 'i' : 'b'}`;
  }
  add('millrace-app', app);
  add('millrace-append', append);
  if (types !== '') lines += `millrace-types: ${types}\r\n`;
  if (data === undefined) lines += 'millrace-data: none\r\n';
  if (dedupe !== undefined) add('millrace-digest', dedupe.digest);
  return writeHeaders(lines);
}

export function marksOf({ headers }: Stored): Marks {
  const marks = new Map(headers === undefined ? [] : readHeaders(headers));
  return { digest: unescaped(marks.get('millrace-digest')), append: unescaped(marks.get('millrace-append')) };
}

function unescaped(value: string | undefined): string | undefined {
  return value === undefined ? undefined : unescapeValue(value);
}

/** Never throws: a message that could not be read would hold up all that come after it. */
export function recordOf(message: Stored, where: Where): LogRecord {
  const { sequence, timeMs, subject, headers, body } = message;
  const { environment, topic, isTopic } = where.named(subject);
  const place = { shard: where.stream, position: positionOf(sequence), timeMs, environment };
  const isSmall = body.length <= PAYLOAD_BYTES_MAX;
  const plain = headers && isTopic && isSmall ? readPlain(headers, body, topic, ATTRIBUTE_BYTES_MAX) : undefined;
  if (plain !== undefined) return { ...place, ...plain };
  const read = readMessage(message, topic);
  const bare: Pick<Event, 'id' | 'source' | 'type'> = {
    id: `${where.identity}:${place.position}`,
    source: isTopic ? `nats://${where.stream}` : `nats://${where.stream}/${encodeURIComponent(subject.toWellFormed())}`,
    type: topic,
  };
  const event = eventOf(read, bare, isTopic ? undefined : 'subject', timeMs);
  return {
    ...place,
    app: read.app ?? nativeApp(where),
    event,
    size: sizeOf(event),
    ...(read.keyed === undefined ? {} : { keyed: read.keyed }),
    ...(read.rejected === undefined ? {} : { rejected: read.rejected }),
  };
}

/** No app's id has a colon: what a native client sends is never taken for an app's, unless it says so. */
function nativeApp({ stream }: Where): string {
  return `nats:${stream}`;
}

interface Read {
  readonly app?: string;
  readonly keyed?: LogRecord['keyed'];
  readonly draft?: EventDraft;
  readonly data: Uint8Array | undefined;
  /** Without a draft. */
  readonly rejected?: Rejected;
}

function eventOf(
  { draft, data }: Read,
  bare: Pick<Event, 'id' | 'source' | 'type'>,
  fault: string | undefined,
  timeMs: number,
): Event {
  if (draft === undefined) {
    const extensions: Record<string, AttributeValue> = fault === undefined ? {} : { millracefault: fault };
    const time = new Date(timeMs).toISOString();
    if (data === undefined) return { ...bare, time, extensions };
    return { ...bare, time, datacontenttype: contentTypeOf(data), extensions, data };
  }
  const { extensions = {}, ...attributes } = draft;
  const more = {
    ...extensions,
    // CloudEvents types need not be topics: who wants the native one finds it here.
    ...(draft.type === bare.type ? {} : { nativetype: draft.type }),
    ...(fault === undefined ? {} : { millracefault: fault }),
  };
  return { ...bare, ...attributes, type: bare.type, extensions: more };
}

/** Where neither header nor a better guess says what the data is. */
function contentTypeOf(data: Uint8Array): string {
  return isJson(data) ? 'application/json' : 'application/octet-stream';
}

const strict = new TextDecoder('utf-8', { fatal: true });

function isJson(data: Uint8Array): boolean {
  try {
    JSON.parse(strict.decode(data));
    return true;
  } catch {
    return false;
  }
}

function readMessage({ headers, body }: Stored, topic: string): Read {
  const bare = { data: body.length === 0 ? undefined : body };
  try {
    const read = headers === undefined ? bare : readWithHeaders(headers, body, topic);
    mustBeTaken(read.data);
    return read;
  } catch (error) {
    return { ...bare, rejected: rejectedBy(error) };
  }
}

function readWithHeaders(headers: Uint8Array, body: Uint8Array, topic: string): Read {
  const { attributes, ours, contentType } = sortHeaders(headers);
  if (contentType.startsWith('application/cloudevents+json')) return readStructured(body);
  if (attributes.length === 0) return { data: body.length === 0 ? undefined : body };
  const app = unescaped(ours.get('millrace-app'));
  const draft = draftOf(attributes, ours, body, app !== undefined, topic);
  return { draft, data: draft.data, ...(app !== undefined && app !== '' ? { app, keyed: keyedOf(ours) } : {}) };
}

function keyedOf(ours: ReadonlyMap<string, string>): LogRecord['keyed'] {
  const digest = unescaped(ours.get('millrace-digest'));
  const messageId = ours.get(MESSAGE_ID);
  return digest === undefined || messageId === undefined ? undefined : { key: keyIn(messageId), digest };
}

function mustBeTaken(data: Uint8Array | undefined): void {
  if (data !== undefined && data.length > PAYLOAD_BYTES_MAX)
    throw new Problem('payload_too_large', `the payload has ${data.length} bytes; an event has at most ${PAYLOAD_BYTES_MAX}`);
}

function rejectedBy(error: unknown): Rejected {
  const { code, message } = error instanceof Problem ? error : unusable('its headers can not be read as those of an event');
  return { code, detail: message.slice(0, DETAIL_CHARS_MAX) };
}

function unusable(what: string): Problem {
  return new Problem('invalid_event', what);
}

function readStructured(body: Uint8Array): Read {
  const draft = decodeJsonEvent(body, 'structured');
  mustBeSmall(draft);
  return { draft, data: draft.data };
}

interface Sorted {
  readonly attributes: (readonly [string, string])[];
  readonly ours: Map<string, string>;
  contentType: string;
}

function sortHeaders(block: Uint8Array): Sorted {
  const sorted: Sorted = { attributes: [], ours: new Map(), contentType: '' };
  for (const [name, value] of readHeaders(block)) {
    // `ce-` is three characters, `millrace-` nine: nothing else costs more than a look.
    const first = name.charCodeAt(0) | 0x20;
    if (first === 0x63) {
      const lower = name.toLowerCase();
      if (lower.startsWith('ce-')) sorted.attributes.push([lower.slice(3), value]);
      else if (lower === 'content-type') sorted.contentType = value.toLowerCase();
    } else if ((first === 0x6d && name.startsWith('millrace-')) || name === MESSAGE_ID) sorted.ours.set(name, value);
  }
  return sorted;
}

function draftOf(
  attributes: readonly (readonly [string, string])[],
  ours: ReadonlyMap<string, string>,
  body: Uint8Array,
  isOurs: boolean,
  topic: string,
): EventDraft {
  const writer = startDraft((name) => `/headers/ce-${name}`);
  const types = typesOf(ours.get('millrace-types'));
  const names = new Set<string>();
  for (const [name, escaped] of attributes) {
    const value = unescapeValue(escaped);
    if (value === undefined) throw unusable(`the header ce-${name} holds a % without two hex digits behind it, or no UTF-8`);
    if (names.has(name)) throw unusable(`the header ce-${name} is there twice`);
    names.add(name);
    if (name === 'specversion') mustBe10(value);
    else writer.set(name, types === undefined ? value : typed(value, types.get(name)));
  }
  if (!names.has('specversion')) throw unusable('it has ce- headers, and no ce-specversion among them');
  if (!names.has('type')) writer.set('type', topic);
  // Absent means JSON inside the gateway, for native clients as the binding has it: only where it is.
  if (!isOurs && !names.has('datacontenttype') && body.length > 0 && !isJson(body))
    writer.set('datacontenttype', 'application/octet-stream');
  const draft = writer.end(dataOf(ours, body, isOurs));
  if (!isOurs) mustBeWhatItSays(draft);
  mustBeSmall(draft);
  return draft;
}

function mustBe10(version: string): void {
  if (version !== '1.0') throw unusable(`its ce-specversion is ${JSON.stringify(version.slice(0, 40))}, and only 1.0 is known`);
}

/** Whoever gets it as JSON must be able to parse it; ours was looked at by the door. */
function mustBeWhatItSays({ data, datacontenttype }: EventDraft): void {
  if (datacontenttype === undefined || data === undefined || !isJsonType(datacontenttype) || isJson(data)) return;
  throw new Problem('invalid_json', `it says that its data is ${datacontenttype.slice(0, 100)}, and it is no JSON in UTF-8`);
}

function mustBeSmall(draft: EventDraft): void {
  const bytes = Buffer.byteLength(JSON.stringify({ ...draft, data: undefined }));
  if (bytes <= ATTRIBUTE_BYTES_MAX) return;
  throw new Problem(
    'payload_too_large',
    `its attributes have ${bytes} bytes; those of an event have at most ${ATTRIBUTE_BYTES_MAX}`,
  );
}

function dataOf(ours: ReadonlyMap<string, string>, body: Uint8Array, isOurs: boolean): Uint8Array | undefined {
  if (isOurs) return ours.get('millrace-data') === 'none' ? undefined : body;
  return body.length === 0 ? undefined : body;
}

function typesOf(list: string | undefined): ReadonlyMap<string, string> | undefined {
  if (list === undefined) return undefined;
  return new Map(list.split(',').map((pair) => pair.split('=') as [string, string]));
}

function typed(value: string, type: string | undefined): AttributeValue {
  if (type === 'i') return Number(value);
  if (type === 'b') return value === 'true';
  return value;
}

function sizeOf(event: Event): number {
  return ENCODED_HEAD_BYTES + Buffer.byteLength(JSON.stringify(attributesOf(event))) + (event.data?.length ?? 0);
}
