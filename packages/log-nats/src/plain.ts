/**
 * The usual message, read in one go: written by Millrace, every attribute once and in plain ASCII, the time in UTC. It costs a
 * fifth of the way through startDraft, and a log is read far more often than it is written. Whatever is unusual is left to
 * that way (undefined), so that there is one set of rules; a test holds the two side by side.
 */
import type { AttributeValue, Event } from '@millrace/core/event';

export interface Plain {
  readonly app: string;
  readonly event: Event;
  /** Length of the event as encodeEvent writes it. */
  readonly size: number;
}

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

export function readPlain(block: Uint8Array, body: Uint8Array, topic: string, attributeBytesMax: number): Plain | undefined {
  const text = Buffer.from(block.buffer, block.byteOffset, block.byteLength).toString('latin1');
  // One variable each: names put together in an object for every message cost more than all the rest.
  let app, version, id, source, type, time, contentType, subject, schema: string | undefined;
  const extensions: Record<string, AttributeValue> = {};
  let data: Uint8Array | undefined = body;
  let bytes = ENCODED_BYTES;
  for (let from = text.indexOf('\r\n') + 2; from < text.length;) {
    const end = text.indexOf('\r\n', from);
    if (end === -1 || end === from) break;
    const colon = text.indexOf(': ', from);
    if (colon === -1 || colon > end) return undefined;
    const name = text.slice(from, colon);
    const value = text.slice(colon + 2, end);
    from = end + 2;
    if (name === 'Nats-Msg-Id' || name === 'millrace-append' || name === 'millrace-digest') continue;
    if (!PLAIN.test(value)) return undefined;
    if (name === 'ce-specversion') {
      if (version !== undefined || value !== '1.0') return undefined;
      version = value;
      continue;
    }
    if (name === 'millrace-app') {
      if (app !== undefined) return undefined;
      app = value;
      continue;
    }
    if (name === 'millrace-data') {
      if (value !== 'none') return undefined;
      data = undefined;
      continue;
    }
    if (!name.startsWith('ce-')) return undefined;
    let before: AttributeValue | undefined;
    let isCore = true;
    switch (name) {
      case 'ce-id':
        [before, id] = [id, value];
        break;
      case 'ce-source':
        [before, source] = [source, value];
        break;
      case 'ce-type':
        [before, type] = [type, value];
        break;
      case 'ce-time':
        [before, time] = [time, value];
        break;
      case 'ce-datacontenttype':
        [before, contentType] = [contentType, value];
        break;
      case 'ce-subject':
        [before, subject] = [subject, value];
        break;
      case 'ce-dataschema':
        [before, schema] = [schema, value];
        break;
      default: {
        const extension = name.slice(3);
        if (!NAME.test(extension) || extension === 'data') return undefined;
        isCore = false;
        before = extensions[extension];
        extensions[extension] = value;
      }
    }
    if (before !== undefined || (isCore && value === '')) return undefined;
    bytes += name.length - 3 + value.length + ATTRIBUTE_BYTES;
  }
  if (!app || version === undefined || id === undefined || source === undefined || type !== topic) return undefined;
  if (bytes > attributeBytesMax || (time !== undefined && !TIME.test(time))) return undefined;
  if (contentType !== undefined && !MEDIA_TYPE.test(contentType)) return undefined;
  const event = {
    id,
    source,
    type,
    ...(subject !== undefined && { subject }),
    ...(time !== undefined && { time }),
    ...(contentType !== undefined && { datacontenttype: contentType }),
    ...(schema !== undefined && { dataschema: schema }),
    extensions,
    ...(data && { data }),
  } as Event;
  return { app, event, size: bytes + (data?.length ?? 0) };
}
