/**
 * The document as a judge of what goes over the wire: a status it does not name, a member it does not know, a header it
 * promises and that is missing. Answers may get further members one day; today's are all described, so here none may.
 */
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import type { FastifyInstance } from 'fastify';
import { isTimestamp } from '@millrace/core/attributes';

export interface Exchange {
  readonly method: string;
  /** With its query. */
  readonly url: string;
  /** What was sent, where it was JSON. */
  readonly sent?: unknown;
  readonly status: number;
  readonly headers: Readonly<Record<string, string | number | readonly string[] | undefined>>;
  readonly text: string;
}

/** What is wrong with it; undefined where all is as described. */
export type Judge = (exchange: Exchange) => string | undefined;

interface Response {
  readonly $ref?: string;
  readonly headers?: Readonly<Record<string, { readonly required?: boolean }>>;
  readonly content?: Readonly<Record<string, unknown>>;
}

interface Operation {
  readonly requestBody?: { readonly content: Readonly<Record<string, unknown>> };
  readonly responses: Readonly<Record<string, Response>>;
}

export interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly responses: Readonly<Record<string, Response>> };
}

const judges = new Map<string, Judge>();

/** Made once per document: nearly all doors of the tests have the same. */
export async function judgeOf(app: FastifyInstance): Promise<Judge> {
  const { payload } = await app.inject('/openapi.json');
  let judge = judges.get(payload);
  if (judge === undefined) judges.set(payload, (judge = createJudge(JSON.parse(payload) as Document)));
  return judge;
}

export function createJudge(document: Document): Judge {
  const answers = createFits(closed(document) as Document);
  const requests = createFits(document);
  const places = placesIn(document);

  return (exchange) => {
    const { method, url, status, headers, text } = exchange;
    const type = String(headers['content-type'] ?? '').split(';')[0] ?? '';
    const place = places.find(({ matches }) => matches.test(url.split('?')[0] ?? ''));
    const operation = place?.operations[method.toLowerCase()];
    if (place === undefined || operation === undefined)
      return type === 'application/problem+json'
        ? answers(['components', 'schemas', 'Problem'], JSON.parse(text))
        : `${type} from no call`;
    const at = ['paths', place.path, method.toLowerCase()];
    const response = operation.responses[status];
    if (response === undefined) return `the status ${status} is not described`;
    const { $ref } = response;
    const found = $ref === undefined ? response : document.components.responses[$ref.split('/').at(-1) ?? ''];
    const where = $ref === undefined ? [...at, 'responses', String(status)] : $ref.slice(2).split('/');
    const missing = Object.entries(found?.headers ?? {}).find(
      ([name, { required }]) => required === true && headers[name.toLowerCase()] === undefined,
    );
    if (missing !== undefined) return `the header ${missing[0]} is missing`;
    if (found?.content === undefined) return text === '' ? undefined : 'a body is not described';
    if (found.content[type] === undefined) return `the type ${type} is not described for ${status}`;
    const bad = valuesIn(type, text).map((value) => answers([...where, 'content', type, 'schema'], value));
    return bad.find((one) => one !== undefined) ?? asked(exchange, operation, at);
  };

  /** What was taken must be what the document says is taken. */
  function asked({ sent, status, text }: Exchange, { requestBody }: Operation, at: readonly string[]): string | undefined {
    const wasTaken = status < 300 && sent !== undefined && !text.includes('"problem"');
    if (!wasTaken || requestBody?.content['application/json'] === undefined) return undefined;
    const bad = requests([...at, 'requestBody', 'content', 'application/json', 'schema'], sent);
    return bad === undefined ? undefined : `it was taken, but as a request ${bad}`;
  }
}

/** By a path in the document, whether a value fits the schema that stands there. */
function createFits(document: Document): (path: readonly string[], value: unknown) => string | undefined {
  const ajv = new Ajv2020({ allowUnionTypes: true, strictRequired: false });
  ajv.addFormat('date-time', isTimestamp);
  ajv.addFormat('uri', (text) => URL.canParse(text));
  // The document as a whole is no schema; schemas stand in it.
  ajv.addVocabulary(Object.keys(document));
  ajv.addSchema(document, 'document');
  const compiled = new Map<string, ValidateFunction>();
  return (path, value) => {
    const pointer = path.map((part) => encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1'))).join('/');
    let fits = compiled.get(pointer);
    if (fits === undefined) compiled.set(pointer, (fits = ajv.compile({ $ref: `document#/${pointer}` })));
    return fits(value) ? undefined : `it does not fit: ${ajv.errorsText(fits.errors)}`;
  };
}

interface Place {
  readonly path: string;
  readonly matches: RegExp;
  readonly operations: Readonly<Record<string, Operation>>;
}

/** Those without variable parts first, as the router has it. */
function placesIn({ paths }: Document): Place[] {
  return Object.entries(paths)
    .map(([path, operations]) => ({ path, operations, matches: new RegExp(`^${path.replaceAll(/\{\w+\}/g, '[^/]+')}$`) }))
    .toSorted((one, other) => one.path.split('{').length - other.path.split('{').length);
}

function valuesIn(type: string, text: string): unknown[] {
  if (type === 'application/x-ndjson') return text.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line)]));
  return [type.endsWith('json') ? JSON.parse(text) : text];
}

/** The document with no room for members that it does not name. */
function closed(value: unknown, isPart = false): unknown {
  if (Array.isArray(value)) return value.map((one) => closed(one));
  if (typeof value !== 'object' || value === null) return value;
  const schema = Object.fromEntries(
    Object.entries(value).map(([name, one]) => [
      name,
      name === 'allOf' && Array.isArray(one) ? one.map((part) => closed(part, true)) : closed(one),
    ]),
  );
  // A part of a whole says nothing about the members of the other parts.
  const isOpen = isPart || schema['type'] !== 'object' || schema['properties'] === undefined;
  return isOpen || schema['additionalProperties'] !== undefined ? schema : { ...schema, additionalProperties: false };
}
