/** Schemas as tables of their members. */
import { block, coded, defaultOf, linkTo, tableOf, titled, typeOf } from './page-marks.ts';
import type { Shown, ShownSchemas } from './shown.ts';

/** Of an answer. */
export function membersOf(schema: Shown): string {
  const rows = rowsOf(schema, '').map(({ name, isRequired, schema: { description = '', ...one } }) => [
    coded(isRequired ? name : `${name}?`),
    typeOf(one),
    description,
  ]);
  return tableOf(['member', 'type', 'meaning'], rows);
}

/** Of a request. */
export function settingsOf(schema: Shown): string {
  const rows = rowsOf(schema, '').map(({ name, isRequired, schema: { description = '', ...one } }) => [
    coded(name),
    typeOf(withoutNull(one)),
    defaultOf(one, isRequired),
    description,
  ]);
  return tableOf(['member', 'type', 'default', 'meaning'], rows);
}

/** That a setting may be null, and what it does then, its call says once. */
function withoutNull({ type, enum: words, anyOf, ...rest }: Shown): Shown {
  const [only, ...others] = [type ?? []].flat().filter((one) => one !== 'null');
  return {
    ...rest,
    ...(only === undefined ? {} : { type: others.length === 0 ? only : [only, ...others] }),
    ...(words === undefined ? {} : { enum: words.filter((word) => word !== null) }),
    ...(anyOf === undefined ? {} : { anyOf: anyOf.filter((one) => one.type !== 'null') }),
  };
}

interface Row {
  readonly name: string;
  readonly isRequired: boolean;
  readonly schema: Shown;
}

/** Members of members stand behind a dot; what has a name of its own has a table of its own. */
function rowsOf({ properties = {}, required = [] }: Shown, before: string): Row[] {
  return Object.entries(properties).flatMap(([member, schema]) => {
    const name = `${before}${member}`;
    const within = schema.items ?? schema.anyOf?.find(({ properties: some }) => some !== undefined) ?? schema;
    const inner = rowsOf(within, `${name}${schema.items === undefined ? '' : '[]'}.`);
    return [{ name, isRequired: required.includes(member), schema }, ...inner];
  });
}

interface Telling {
  readonly schemas: ShownSchemas;
  /** Those that have a table already. */
  readonly told: ReadonlySet<string>;
  readonly heading: '###' | '####';
  /** As what somebody sends. */
  readonly isSetting?: boolean;
}

/** A heading, what it is, its members and an example; where it is nearly another one, what differs. */
export function schemaLines(name: string, telling: Telling): string[] {
  const { schemas, told, heading, isSetting = false } = telling;
  const schema = schemas[name] ?? {};
  const { description, examples = [], oneOf, anyOf } = schema;
  const tableFor = isSetting ? settingsOf : membersOf;
  const head = [`${heading} ${name}`, ...(description === undefined ? [] : [description])];
  // What is sent stands in the curl line.
  const shown = isSetting ? [] : examples.slice(0, 1).map((example) => block('json', JSON.stringify(example, undefined, 2)));
  if (oneOf !== undefined) return [...head, `${titled(typeOf(schema))}.`];
  if (anyOf !== undefined) return [...head, block('json', examples.map((example) => JSON.stringify(example)).join('\n'))];
  const like = likeOf(name, schemas, told);
  if (like === undefined) return [...head, tableFor(schema), ...shown];
  const { other, more, less } = like;
  const without = less.length === 0 ? '' : `, without ${less.map(coded).join(', ')}`;
  const optional = isSetting && (schema.required ?? []).length === 0 ? '; none is required' : '';
  const rest = Object.fromEntries(more.map((member) => [member, schema.properties?.[member] ?? {}]));
  const members = `The members of ${linkTo(other)}${without}${optional}`;
  return more.length === 0 ? [...head, `${members}.`] : [...head, `${members}, and:`, tableFor({ ...schema, properties: rest })];
}

interface Likeness {
  readonly other: string;
  readonly more: readonly string[];
  readonly less: readonly string[];
}

/** Members in which one may differ and still be told by the other; fewer than so many in common tell nothing. */
const LESS_MAX = 3;
const COMMON_MIN = 3;

/** Of those told before, the nearest one. */
function likeOf(name: string, schemas: ShownSchemas, told: ReadonlySet<string>): Likeness | undefined {
  const own = schemas[name]?.properties ?? {};
  const near = [...told].flatMap((other) => {
    const theirs = schemas[other]?.properties ?? {};
    const less = Object.keys(theirs).filter((member) => !(member in own));
    const same = Object.keys(theirs).filter((member) => member in own && meaningOf(theirs[member]) === meaningOf(own[member]));
    const differing = Object.keys(theirs).length - less.length - same.length;
    if (same.length < COMMON_MIN || differing + less.length > LESS_MAX) return [];
    return [{ other, less, more: Object.keys(own).filter((member) => !same.includes(member)) }];
  });
  return near.toSorted((a, b) => a.less.length + a.more.length - b.less.length - b.more.length)[0];
}

/** But for defaults: a change has none. */
function meaningOf(schema: unknown): string {
  return JSON.stringify(schema, (key, value: unknown) => (key === 'default' ? undefined : value));
}
