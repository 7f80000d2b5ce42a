/** Each call with its curl line, parameters, members, answers and problems. */
import { curlsOf } from './page-curl.ts';
import { block, coded, defaultOf, nameIn, tableOf, titled, typeOf } from './page-marks.ts';
import { schemaLines } from './page-members.ts';
import type { Shown, ShownAnswer, ShownCall, ShownDocument, ShownMedia, ShownOperation } from './shown.ts';

/** Named once, in "What holds for every call"; a call lists its others. */
export const OF_EVERY_CALL: ReadonlySet<string> = new Set([
  'invalid_request',
  'unauthorized',
  'forbidden',
  'headers_too_large',
  'internal_error',
  'invalid_json',
  'payload_too_large',
  'unsupported_media_type',
  'request_timeout',
  'ledger_unavailable',
  'ledger_full',
  'version_mismatch',
  'in_flight',
  'idempotency_key_reused',
]);

/** `told`: schemas that have a table; a body's is added with the first call that takes it. */
export function createCallLines(components: ShownDocument['components'], told: Set<string>): (call: ShownCall) => string[] {
  const { schemas, responses } = components;

  function bodyLines({ requestBody }: ShownOperation): string[] {
    const content = Object.entries(requestBody?.content ?? {});
    const [only] = content.length === 1 ? content : [];
    if (only !== undefined) return [`Body: ${typeOf(only[1].schema)}.`, ...settings(only[1].schema)];
    if (content.length === 0) return [];
    const rows = content.map(([type, { schema }]) => [coded(type), whatOf(schema)]);
    return [tableOf(['Content-Type', 'body'], rows), ...content.flatMap(([, { schema }]) => settings(schema.anyOf?.[0] ?? {}))];
  }

  function settings(schema: Shown): string[] {
    const name = nameIn(schema);
    if (name === undefined || told.has(name)) return [];
    const lines = schemaLines(name, { schemas, told, heading: '####', isSetting: true });
    told.add(name);
    return lines;
  }

  function problemList(operation: ShownOperation): string[] {
    const codes = Object.values(operation.responses)
      .flatMap(codesIn)
      .filter((code) => !OF_EVERY_CALL.has(code));
    return codes.length === 0 ? [] : [`Problems: ${codes.map(coded).join(', ')}.`];
  }

  function codesIn({ $ref, content }: ShownAnswer): readonly string[] {
    const shown = $ref === undefined ? content : responses[$ref.split('/').at(-1) ?? '']?.content;
    const only = shown?.['application/problem+json']?.schema.allOf?.at(-1);
    return (only?.properties?.['code']?.enum ?? []) as readonly string[];
  }

  return ({ method, path, operation }) => [
    `### ${operation.summary}`,
    `${coded(`${method} ${path}`)}, ${keyFor(operation)}`,
    ...(operation.description === undefined ? [] : [operation.description]),
    ...curlsOf(method, path, operation),
    ...parameterLines(operation),
    ...bodyLines(operation),
    ...answerLines(operation),
    ...problemList(operation),
  ];
}

/** `admin` may do everything: it is named where nothing else is enough. */
export function scopesOf({ security }: ShownOperation): string {
  const scopes = security.flatMap(({ key = [] }) => key);
  if (scopes.length === 0) return 'no key';
  const lesser = scopes.filter((scope) => scope !== 'admin');
  if (lesser.length === 3) return 'any';
  return (lesser.length === 0 ? scopes : lesser).map(coded).join(' or ');
}

function keyFor(operation: ShownOperation): string {
  const scopes = scopesOf(operation);
  if (scopes === 'no key') return 'without a key';
  return scopes === 'any' ? 'any key' : `scope ${scopes}`;
}

const IN_RULES = /^(Idempotency-Key|If-Match|If-None-Match)$/;

function parameterLines({ parameters = [] }: ShownOperation): string[] {
  const rows = parameters
    .filter(({ in: place, name }) => place !== 'path' && !IN_RULES.test(name))
    .map(({ name, in: place, description, schema, required = false }) => [
      coded(place === 'query' ? `?${name}=` : `${name}:`),
      typeOf(schema),
      defaultOf(schema, required),
      description,
    ]);
  const taken = parameters.filter(({ name }) => IN_RULES.test(name)).map(({ name }) => coded(name));
  return [
    ...(rows.length === 0 ? [] : [tableOf(['parameter', 'type', 'default', 'meaning'], rows)]),
    ...(taken.length === 0 ? [] : [`Takes ${taken.join(' and ')}.`]),
  ];
}

function whatOf(schema: Shown): string {
  return nameIn(schema) === undefined && schema.description !== undefined ? schema.description : titled(typeOf(schema));
}

function answerLines({ responses }: ShownOperation): string[] {
  const good = Object.entries(responses).filter(([status]) => Number(status) < 300);
  const list = good.map(([status, { description, content = {}, headers = {} }]) => {
    const names = Object.keys(headers).filter((name) => name !== 'Idempotency-Replayed');
    const carried = names.length === 0 ? '' : ` Headers: ${names.map(coded).join(', ')}.`;
    return `- **${status}** ${description}${typesIn(content)}${carried}`;
  });
  const examples = good.flatMap(([, { content = {} }]) => Object.values(content).flatMap(({ schema }) => exampleIn(schema)));
  return [list.join('\n'), ...examples];
}

/** One that has no name has its example here. */
function exampleIn(schema: Shown): string[] {
  return nameIn(schema) === undefined ? (schema.examples ?? []).map((example) => block('json', JSON.stringify(example))) : [];
}

function typesIn(content: Readonly<Record<string, ShownMedia>>): string {
  const named = Object.values(content).filter(({ schema }) => schema.type !== 'object');
  return named.length === 0 ? '' : ` ${titled(named.map(({ schema }) => typeOf(schema)).join(' or '))}.`;
}
