/** The event itself, and the forms in which it is published. */
import type { Media } from './types.ts';

const ATTRIBUTE = { type: ['string', 'integer', 'boolean'] } as const;

const ATTRIBUTES = {
  type: { type: 'string', description: 'Its topic.' },
  id: { type: 'string', description: 'Unique together with `source`.' },
  source: { type: 'string', description: 'Where it comes from.' },
  subject: { type: 'string', description: 'What it is about.' },
  time: { type: 'string', format: 'date-time', description: 'When it happened (RFC 3339).' },
  datacontenttype: { type: 'string', description: 'What `data` is; JSON without it.' },
  dataschema: { type: 'string', description: 'The address of its schema.' },
  partitionkey: { type: 'string', description: 'The key for `"ordering": "key"`, at most 255 bytes.' },
  audience: { type: 'string', description: 'The one app whose subscriptions match.' },
  data: { description: 'The payload: any JSON, kept byte for byte. With another `datacontenttype` a string.' },
  data_base64: { type: 'string', contentEncoding: 'base64', description: 'The payload in base64, in the place of `data`.' },
} as const;

/** What the log holds, in the JSON format of CloudEvents. */
export const EVENT = {
  type: 'object',
  description: 'A CloudEvents 1.0 event. Any further member is an extension attribute.',
  required: ['specversion', 'id', 'source', 'type'],
  properties: { specversion: { const: '1.0', description: 'Of CloudEvents.' }, ...ATTRIBUTES },
  additionalProperties: ATTRIBUTE,
} as const;

export const EVENT_DRAFT = {
  type: 'object',
  description: [
    'An event as a person writes it: as a CloudEvent, and everything but `type` may be left out.',
    'Any further member is an extension attribute of CloudEvents: its name is 1 to 20 lower-case letters and digits, its value a text, a whole number of 32 bits, or true or false. But without `specversion` and without data, members that are not known are refused, as a misspelt `data` would be.',
  ].join(' '),
  required: ['type'],
  properties: {
    ...ATTRIBUTES,
    id: {
      type: 'string',
      description: 'Unique together with `source`; the same two again append nothing. Default: one is made.',
    },
    source: { type: 'string', description: 'Where it comes from. Default: `/apps/` and the app of the key.' },
    time: { ...ATTRIBUTES.time, description: 'When it happened (RFC 3339). Default: now.' },
    specversion: { const: '1.0', description: 'May be left out.' },
    headers: {
      type: 'object',
      additionalProperties: { type: 'string' },
      description: 'Headers for the deliveries of this event; where a subscription sets one, its own counts.',
    },
  },
  additionalProperties: ATTRIBUTE,
} as const;

/** The example that the page tells its story with. */
export const PLAIN_EVENT = { type: 'orders.created', partitionkey: 'customer-7', data: { id: 43, amount: 150 } } as const;

const STRUCTURED = { specversion: '1.0', id: 'order-43', source: '/shop', ...PLAIN_EVENT } as const;

export const EVENT_FORMS: Readonly<Record<string, Media>> = {
  'application/json': {
    schema: { anyOf: [EVENT_DRAFT, { type: 'array', items: EVENT_DRAFT, minItems: 1, maxItems: 1_000 }] },
    examples: {
      one: { summary: 'One event', value: PLAIN_EVENT },
      batch: { summary: 'Several, as a list', value: [PLAIN_EVENT, { type: 'orders.paid', data: { id: 43 } }] },
    },
  },
  'application/cloudevents+json': {
    schema: EVENT,
    examples: { structured: { summary: 'A CloudEvent, structured', value: STRUCTURED } },
  },
  'application/cloudevents-batch+json': {
    schema: { type: 'array', items: EVENT, minItems: 1, maxItems: 1_000 },
    examples: { structured: { summary: 'CloudEvents, as a batch', value: [STRUCTURED, { ...STRUCTURED, id: 'order-44' }] } },
  },
  'application/x-ndjson': {
    schema: { ...EVENT_DRAFT, description: 'One event per line, separated by line feeds.' },
    examples: {
      lines: {
        summary: 'A stream of lines (NDJSON)',
        value: '{"type":"orders.created","data":{"id":44}}\n{"type":"orders.paid","data":{"id":44}}\n',
      },
    },
  },
  '*/*': {
    schema: { description: 'Binary mode: the payload, of any content type; the attributes are headers `ce-…`.' },
    examples: {
      binary: {
        summary: 'A CloudEvent in binary mode: the body is the payload',
        value: '43;150\n',
        'x-headers': {
          'content-type': 'text/csv',
          'ce-specversion': '1.0',
          'ce-id': 'order-43-csv',
          'ce-source': '/shop',
          'ce-type': 'orders.created',
        },
      },
    },
  },
};
