/**
 * The usual message, read in one go: written by Millrace, every attribute once and in plain ASCII, the time in UTC. It costs a
 * fifth of the way through startDraft, and a log is read far more often than it is written. Whatever is unusual is left to
 * that way (undefined), so that there is one set of rules; a test holds the two side by side.
 */
import type { AttributeValue, Event } from '@millrace/core/event';
import type { LogRecord } from '@millrace/gateway/ports/log';
import { unescapeValue } from './headers.ts';

export interface Plain {
  readonly app: string;
  readonly keyed?: NonNullable<LogRecord['keyed']>;
  readonly event: Event;
  /** Length of the event as encodeEvent writes it. */
  readonly size: number;
}

/** Put together member by member: five spreads of objects that may be none cost as much as reading the lines. */
type Writable<T> = { -readonly [Key in keyof T]: T[Key] };

/** Nothing that was escaped, or that JSON would escape. */
const PLAIN = /^[!#$&-[\]-~]*$/;
const NAME = /^[a-z0-9]{1,20}$/;
/** A part of RFC 3339 that needs no calendar. */
const TIME = /^\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,18})?Z$/;
/** A media type as nearly all are written. */
const MEDIA_TYPE = /^[a-z0-9]+\/[a-z0-9.+-]+$/;
/** `{` and `}` and the first six bytes, less the comma after the last attribute. */
const ENCODED_BYTES = 6 + 1;
/** Quotes, colon and comma. */
const ATTRIBUTE_BYTES = 6;

/** One member each: names put together in a map for every message cost more than all the rest. Empty for what is not there. */
interface Lines {
  app: string;
  messageId: string;
  digest: string;
  version: string;
  noData: string;
  id: string;
  source: string;
  type: string;
  time: string;
  datacontenttype: string;
  subject: string;
  dataschema: string;
  readonly extensions: Record<string, AttributeValue>;
  attributeBytes: number;
}

export function readPlain(block: Uint8Array, body: Uint8Array, topic: string, attributeBytesMax: number): Plain | undefined {
  const lines = readLines(block);
  if (lines === undefined || !isWhole(lines, topic) || lines.attributeBytes > attributeBytesMax) return undefined;
  const { app, messageId, digest, id, source, type, time, datacontenttype, subject, dataschema, extensions } = lines;
  const data = lines.noData === '' ? body : undefined;
  const event: Writable<Event> = { id, source, type, extensions };
  if (subject !== '') event.subject = subject;
  if (time !== '') event.time = time;
  if (datacontenttype !== '') event.datacontenttype = datacontenttype;
  if (dataschema !== '') event.dataschema = dataschema;
  if (data !== undefined) event.data = data;
  const size = ENCODED_BYTES + lines.attributeBytes + (data?.length ?? 0);
  return digest === '' ? { app, event, size } : { app, event, size, keyed: { key: keyIn(messageId), digest } };
}

function isWhole({ app, version, noData, id, source, type, time, datacontenttype }: Lines, topic: string): boolean {
  if (app === '' || version !== '1.0' || id === '' || source === '' || type !== topic) return false;
  if (noData !== '' && noData !== 'none') return false;
  return (time === '' || TIME.test(time)) && (datacontenttype === '' || MEDIA_TYPE.test(datacontenttype));
}

/** What of a message's id is the key's: one that was used anew goes on with the place of its former use. */
export function keyIn(messageId: string): string {
  const end = messageId.indexOf('@');
  return end === -1 ? messageId : messageId.slice(0, end);
}

/** Undefined at the first line that is unusual. */
function readLines(block: Uint8Array): Lines | undefined {
  const text = Buffer.from(block.buffer, block.byteOffset, block.byteLength).toString('latin1');
  const lines: Lines = {
    app: '',
    messageId: '',
    digest: '',
    version: '',
    noData: '',
    id: '',
    source: '',
    type: '',
    time: '',
    datacontenttype: '',
    subject: '',
    dataschema: '',
    extensions: {},
    attributeBytes: 0,
  };
  for (let from = text.indexOf('\r\n') + 2; from < text.length;) {
    const end = text.indexOf('\r\n', from);
    if (end === -1 || end === from) break;
    const colon = text.indexOf(': ', from);
    if (colon === -1 || colon > end || !put(lines, text.slice(from, colon), text.slice(colon + 2, end))) return undefined;
    from = end + 2;
  }
  return lines;
}

/** A switch over whole names: looking members up by name for every message takes twice as long. */
function put(lines: Lines, header: string, value: string): boolean {
  switch (header) {
    case 'Nats-Msg-Id':
      return isNew(lines.messageId, value) && ((lines.messageId = value), true);
    case 'millrace-digest':
      return lines.digest === '' && (lines.digest = unescapeValue(value) ?? '') !== '';
    case 'millrace-append':
      return true;
    case 'millrace-app':
      return isNew(lines.app, value) && ((lines.app = value), true);
    case 'millrace-data':
      return isNew(lines.noData, value) && ((lines.noData = value), true);
    case 'ce-specversion':
      return isNew(lines.version, value) && ((lines.version = value), true);
    case 'ce-id':
      return isNew(lines.id, value) && counted(lines, 2, (lines.id = value));
    case 'ce-source':
      return isNew(lines.source, value) && counted(lines, 6, (lines.source = value));
    case 'ce-type':
      return isNew(lines.type, value) && counted(lines, 4, (lines.type = value));
    case 'ce-time':
      return isNew(lines.time, value) && counted(lines, 4, (lines.time = value));
    case 'ce-datacontenttype':
      return isNew(lines.datacontenttype, value) && counted(lines, 15, (lines.datacontenttype = value));
    case 'ce-subject':
      return isNew(lines.subject, value) && counted(lines, 7, (lines.subject = value));
    case 'ce-dataschema':
      return isNew(lines.dataschema, value) && counted(lines, 10, (lines.dataschema = value));
    default:
      return putExtension(lines, header, value);
  }
}

/** False for what is there twice, or there and empty: the long way knows what that means. */
function isNew(before: string, value: string): boolean {
  return before === '' && value !== '' && PLAIN.test(value);
}

function counted(lines: Lines, nameBytes: number, value: string): true {
  lines.attributeBytes += nameBytes + value.length + ATTRIBUTE_BYTES;
  return true;
}

function putExtension(lines: Lines, header: string, value: string): boolean {
  if (!header.startsWith('ce-') || !PLAIN.test(value)) return false;
  const name = header.slice(3);
  if (!NAME.test(name) || name === 'data' || lines.extensions[name] !== undefined) return false;
  lines.extensions[name] = value;
  return counted(lines, name.length, value);
}
