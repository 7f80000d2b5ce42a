/** What stands in the address and the headers of a request. */
import { HTTP_BOUNDS } from '../bounds.ts';
import { type Asked, isRepeatable } from './codes.ts';
import type { Show } from './showing.ts';
import type { HeaderParameter, Schema } from './types.ts';

type Named = Readonly<Record<string, Schema>>;

export function parametersOf(asked: Asked, show: Show): object[] {
  const { path, querystring, reads = [], matches = false } = asked.call;
  const required = (querystring?.['required'] ?? []) as readonly string[];
  const at = (place: 'path' | 'query', named: Named, isRequired: (name: string) => boolean): object[] =>
    Object.entries(named).map(([name, { description, ...schema }]) => ({
      name,
      in: place,
      ...(isRequired(name) ? { required: true } : {}),
      description,
      schema: show(schema),
    }));
  const headers = [
    ...reads,
    ...(isRepeatable(asked) ? [REPEATS] : []),
    ...(matches ? [matchOf(asked.method)] : []),
    ...(matches && asked.method === 'PUT' ? [MAKES] : []),
  ];
  return [
    ...at('path', path ?? {}, () => true),
    ...at('query', (querystring?.['properties'] ?? {}) as Named, (name) => required.includes(name)),
    ...headers.map(({ name, description, schema }) => ({ name, in: 'header', description, schema })),
  ];
}

const REPEATS: HeaderParameter = {
  name: 'Idempotency-Key',
  description:
    'The same request again with the same key within 24 hours is not done again: it gets the answer of the first time.',
  schema: { type: 'string', minLength: 1, maxLength: HTTP_BOUNDS.idempotencyKeyChars },
};

const MAKES: HeaderParameter = {
  name: 'If-None-Match',
  description: '`*`: only to make one; what is there stays as it is (`version_mismatch`).',
  schema: { type: 'string' },
};

function matchOf(method: string): HeaderParameter {
  const description = 'The ETag that was read: only if nothing has changed since.';
  return {
    name: 'If-Match',
    description: method === 'PUT' ? `${description} Then nothing is made either.` : description,
    schema: { type: 'string' },
  };
}
