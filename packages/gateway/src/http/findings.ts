/** What Ajv found wrong with a request, in one sentence. It runs with `verbose`: each finding brings its schema. */
import { pointerTo } from '@millrace/core/json-pointer';
import { isObject } from '@millrace/core/json-values';
import { didYouMean, meantAmong } from '@millrace/core/near-miss';
import { Problem } from '@millrace/core/problem';
import { isLater } from './openapi/showing.ts';
import type { Schema } from './openapi/types.ts';

/** One of Ajv's findings. */
export interface Finding {
  readonly instancePath: string;
  readonly keyword: string;
  readonly params: object;
  readonly parentSchema?: Schema;
  readonly data?: unknown;
}

/** A longer example would hide the sentence. */
const EXAMPLE_CHARS_MAX = 120;
const NAME_CHARS_MAX = 80;
/** Names that are looked at for the one that was meant: who sends more did not mistype one. */
const UNKNOWN_MAX = 100;

/** `part`: what of the request was looked at, as Fastify calls it. */
export function problemOfFindings(findings: readonly Finding[], part: string): Problem {
  const [finding] = findings.toSorted(byMeaning);
  if (finding === undefined) return new Problem('invalid_request', 'the request does not have the expected shape');
  const { instancePath, keyword, params, parentSchema = {}, data } = finding;
  const pointer = `${part === 'querystring' ? '/query' : ''}${instancePath}`;
  const name = nameOf(instancePath);
  const at = (member: string): string => pointerTo(pointer, member);
  switch (keyword) {
    case 'not':
      return new Problem('not_available_yet', `${name} is planned and not available yet`, { pointer });
    case 'additionalProperties': {
      const { additionalProperty: unknown } = params as { readonly additionalProperty: string };
      const meant = didYouMean(namesIn(parentSchema), unknown);
      return new Problem('invalid_request', `'${unknown.slice(0, NAME_CHARS_MAX)}' is not known here${meant}`, {
        pointer: at(unknown),
        advice: knownIn(parentSchema),
      });
    }
    case 'required': {
      const { missingProperty: missing } = params as { readonly missingProperty: string };
      const schema = propertiesOf(parentSchema)[missing];
      return new Problem('invalid_request', `'${missing}' is missing${misspeltIn(data, missing, parentSchema)}`, {
        pointer: at(missing),
        ...(schema === undefined ? {} : { advice: `It is ${whatOf(schema)}${exampleOf(schema)}.` }),
      });
    }
    case 'uniqueItems':
      return new Problem('invalid_request', `${name} holds something twice`, { pointer });
    default: {
      const isTwice = part === 'querystring' && Array.isArray(data);
      const what = isTwice ? 'is there more than once' : `is ${whatOf(parentSchema)}${exampleOf(parentSchema)}`;
      return new Problem('invalid_request', `${name} ${what}`, { pointer });
    }
  }
}

/** Of alternatives, the one that was followed furthest is the one that was meant; then what names a member, then the whole. */
function byMeaning(one: Finding, other: Finding): number {
  const rank = ({ keyword }: Finding): number =>
    ['additionalProperties', 'required'].includes(keyword) ? 0 : keyword === 'anyOf' ? 1 : 2;
  return other.instancePath.length - one.instancePath.length || rank(one) - rank(other);
}

function nameOf(path: string): string {
  return path === '' ? 'the body' : `'${path.slice(1, NAME_CHARS_MAX).replaceAll('/', '.')}'`;
}

function propertiesOf(schema: Schema): Readonly<Record<string, Schema>> {
  return (schema['properties'] ?? {}) as Readonly<Record<string, Schema>>;
}

function namesIn(schema: Schema): readonly string[] {
  return Object.entries(propertiesOf(schema)).flatMap(([name, one]) => (isLater(one) ? [] : [name]));
}

/** It may be there under a name that is nearly its own. */
function misspeltIn(data: unknown, missing: string, schema: Schema): string {
  if (!isObject(data)) return '';
  const known = propertiesOf(schema);
  const unknown = Object.keys(data).filter((name) => !Object.hasOwn(known, name));
  const misspelt = unknown.slice(0, UNKNOWN_MAX).find((name) => meantAmong([missing], name) !== undefined);
  return misspelt === undefined ? '' : `: '${misspelt}' is not known here (did you mean '${missing}'?)`;
}

function knownIn(schema: Schema): string {
  const names = namesIn(schema);
  return names.length === 0 ? 'This address takes none.' : `What is known: ${names.join(', ')}.`;
}

function exampleOf(schema: Schema): string {
  const [example] = (schema['examples'] ?? []) as readonly unknown[];
  const text = example === undefined ? '' : JSON.stringify(example);
  return text === '' || text.length > EXAMPLE_CHARS_MAX ? '' : `, such as ${text}`;
}

/** What a value of this schema is, as the end of a sentence. Who writes a wrong value did not mean null, where that is taken, too. */
export function whatOf(schema: Schema): string {
  const { means, anyOf, enum: words, type } = schema;
  if (typeof means === 'object') return whatOf(means as Schema);
  if ('const' in schema) return JSON.stringify(schema['const']);
  if (Array.isArray(anyOf))
    return (anyOf as readonly Schema[])
      .filter((one) => one['type'] !== 'null')
      .map(whatOf)
      .join(' or ');
  if (Array.isArray(words)) return `one of ${words.filter((word) => word !== null).join(', ')}`;
  if (Array.isArray(type))
    return type
      .filter((one) => one !== 'null')
      .map((one: string) => kindOf(one, schema))
      .join(' or ');
  return kindOf(type, schema);
}

function kindOf(type: unknown, schema: Schema): string {
  switch (type) {
    case 'string':
      return `a text${span(schema['minLength'], schema['maxLength'], 'characters')}`;
    case 'integer':
      return `a whole number${range(schema)}`;
    case 'number':
      return `a number${range(schema)}`;
    case 'boolean':
      return 'true or false';
    case 'array':
      return `a list${span(schema['minItems'], schema['maxItems'], 'items')}`;
    case 'object':
      return 'an object';
    default:
      return 'something else';
  }
}

function range({ minimum, maximum }: Schema): string {
  return minimum === undefined || maximum === undefined ? '' : ` from ${minimum as number} to ${maximum as number}`;
}

function span(least: unknown, most: unknown, what: string): string {
  if (least === undefined && most === undefined) return '';
  if (most === undefined) return least === 1 ? ' that is not empty' : ` of at least ${least as number} ${what}`;
  return least === undefined ? ` of at most ${most as number} ${what}` : ` of ${least as number} to ${most as number} ${what}`;
}
