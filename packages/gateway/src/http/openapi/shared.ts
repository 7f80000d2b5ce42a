/** Pieces of schemas that several resources say in the same way. */
import { HTTP_BOUNDS } from '../bounds.ts';
import type { Header, Media, Said, Schema } from './types.ts';

export const text = { type: 'string' } as const;
export const number = { type: 'number' } as const;

/** From here (exclusive) to there (inclusive). */
export const SPAN = {
  after: { type: 'string', description: 'The position before the first of them.' },
  through: { type: 'string', description: 'The position of the last of them.' },
} as const;

/**
 * A member that is planned: it is refused as such and not as unknown, and the document does not show it.
 * Anything fails `not: {}`; what it means is said by findings.ts.
 */
export const LATER = { not: {} } as const;

/** A place that clients must not look into. */
export const POSITION = { type: 'string', description: 'Opaque; within one shard, the order of the texts is that of the log.' };

export const SHARD = { type: 'string', description: 'The part of the log; positions of different shards do not compare.' };

/** Settings that may be null as well, but for those that must be there. What null does is said once, of the call. */
export function orNull(
  settings: Readonly<Record<string, Schema>>,
  needed: readonly string[] = [],
): Readonly<Record<string, Schema>> {
  const entries = Object.entries(settings);
  return Object.fromEntries(entries.map(([name, schema]) => [name, needed.includes(name) ? schema : nullable(schema)]));
}

function nullable(schema: Schema): Schema {
  const { type, enum: words, anyOf, means } = schema;
  return {
    ...schema,
    ...(type === undefined ? {} : { type: [...new Set([...[type].flat(), 'null'])] }),
    ...(words === undefined ? {} : { enum: [...(words as readonly unknown[]), null] }),
    ...(anyOf === undefined ? {} : { anyOf: [...(anyOf as readonly Schema[]), { type: 'null' }] }),
    ...(typeof means === 'object' ? { means: nullable(means as Schema) } : {}),
  };
}

/** Of an answer. */
export function time(description: string): Schema {
  return { type: 'string', format: 'date-time', description, examples: ['2026-11-23T17:20:00.000Z'] };
}

/** Of a request: its form is checked where it is read. */
export function timeIn(description: string): Schema {
  return { type: 'string', means: { type: 'string', format: 'date-time' }, description, examples: ['2026-11-23T17:20:00Z'] };
}

/** Of a request: `500ms`, `5s`, `5m`, `2h`, `1d`, or milliseconds. */
export function durationIn(description: string, example: string): Schema {
  return { type: ['string', 'number'], means: { type: ['string', 'number'] }, description, examples: [example] };
}

export const LIST_QUERY = {
  limit: {
    type: 'string',
    means: { type: 'integer', minimum: 1, maximum: HTTP_BOUNDS.listMax, default: HTTP_BOUNDS.listDefault },
    description: 'Items of one answer.',
  },
  cursor: { type: 'string', description: 'The `next` of the answer before.' },
} as const;

/** What a query may hold; anything else is refused. */
export function queryOf(properties: Readonly<Record<string, Schema>>, required: readonly string[] = []): Schema {
  return { type: 'object', additionalProperties: false, properties, ...(required.length === 0 ? {} : { required }) };
}

export const NO_QUERY = queryOf({});
export const LIST = queryOf(LIST_QUERY);

export const PAGE = {
  type: 'object',
  description: 'A page of a list.',
  required: ['data', 'next'],
  properties: {
    data: { type: 'array', items: { type: 'object' }, description: 'At most `limit` items.' },
    next: { type: ['string', 'null'], description: 'The `cursor` of the next page; null on the last one.' },
  },
} as const;

export function pageOf(items: Schema): Schema {
  return { allOf: [PAGE, { type: 'object', properties: { data: { type: 'array', items } } }] };
}

export const COUNT = {
  type: 'object',
  description: 'What a dry run answers.',
  required: ['count'],
  properties: { count: { type: 'integer', minimum: 0, description: 'How many it would be about.' } },
} as const;

export const ETAG: Header = {
  description: 'The version, for If-Match.',
  required: true,
  schema: { type: 'string', examples: ['"3-m2x8k1c0"'] },
};

export const LOCATION: Header = { description: 'Where it is.', required: true, schema: { type: 'string' } };

/** An answer that holds a secret. */
export const NO_STORE: Header = { description: '`no-store`: it holds a secret.', required: true, schema: { const: 'no-store' } };

export function json(schema: Schema): Readonly<Record<string, Media>> {
  return { 'application/json': { schema } };
}

export function said(description: string, schema: Schema, headers?: Readonly<Record<string, Header>>): Said {
  return { description, ...(headers === undefined ? {} : { headers }), content: json(schema) };
}

export const DONE: Said = { description: 'It is done; there is no body.' };
