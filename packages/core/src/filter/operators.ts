/**
 * The operators of a filter's lists: `{"prefix": "a"}` and its kind, one per object. They mean what they mean in
 * aws/event-ruler (commit 337e8d9), but: `cidr` also takes prefixes of 32 and 128 bits, numbers have no bound of five
 * billion, and a literal that looks like an address is a text, not an address.
 */
import { isScalar, type Scalar } from '../json-values.ts';
import { pointerTo } from '../json-pointer.ts';
import { parseBlock } from './cidr.ts';
import type { Reading } from './reading.ts';
import { foldCase, wildcardParts } from './text.ts';
import { anyOfTexts, type TextTest } from './texts.ts';
import { compileWildcard } from './wildcard.ts';
import type { Work } from './work.ts';

/** Names that may not be fields inside `$or`: there, `{"$or": [{"prefix": …}]}` is a slip, never a field. */
export const RESERVED = new Set(
  'exactly equals-ignore-case prefix suffix anything-but exists wildcard numeric cidr regex = < <= > >='.split(' '),
);

/** One member of a list. `canonical` is one text per meaning. */
export type Operator =
  | { readonly kind: 'literal'; readonly value: Scalar; readonly canonical: string }
  | { readonly kind: 'test'; readonly test: Test; readonly canonical: string }
  | { readonly kind: 'text'; readonly text: TextTest; readonly canonical: string }
  | { readonly kind: 'absent'; readonly canonical: string };
/** Spends what it takes beyond the one step of being asked at all. */
export type Test = (value: Scalar, work: Work) => boolean;

/** Those that docs/api.md tells of: `exactly` is taken as well, and says no more than a plain value. */
const OPERATORS =
  'Operators are prefix, suffix, equals-ignore-case, wildcard, numeric, cidr, exists and anything-but; a plain value is an exact match.';

/** Throws `invalid_filter`. */
export function readOperator(name: string, value: unknown, pointer: string, reading: Reading): Operator {
  const at = pointerTo(pointer, name);
  if (name === 'exists') return existence(value, at, reading);
  if (name === 'exactly') return literal(reading.text(value, at));
  if (name === 'numeric') return numeric(value, at, reading);
  if (name === 'cidr') return cidr(value, at, reading);
  if (name === 'anything-but') return anythingBut(value, at, reading);
  const text = textTest(name, value, at, reading);
  if (text === undefined) throw reading.refused(`there is no operator '${name.slice(0, 40)}'`, at, OPERATORS);
  return { kind: 'text', text: text.test, canonical: JSON.stringify({ [name]: text.value }) };
}

/** The tests of a list: those of texts are one. */
export function testsOf(operators: readonly Operator[]): Test[] {
  const texts = operators.flatMap((operator) => (operator.kind === 'text' ? [operator.text] : []));
  const tests = operators.flatMap((operator) => (operator.kind === 'test' ? [operator.test] : []));
  return texts.length === 0 ? tests : [...tests, ofTexts(texts)];
}

function ofTexts(texts: readonly TextTest[]): Test {
  const holds = anyOfTexts(texts);
  return (scalar, work) => typeof scalar === 'string' && holds(scalar, work);
}

export function literal(value: Scalar): Operator {
  return { kind: 'literal', value, canonical: JSON.stringify(value) };
}

function test(meaning: unknown, run: Test): Operator {
  return { kind: 'test', test: run, canonical: JSON.stringify(meaning) };
}

function existence(value: unknown, at: string, reading: Reading): Operator {
  if (typeof value !== 'boolean') throw reading.refused('exists takes true or false', at);
  return value ? test({ exists: true }, () => true) : { kind: 'absent', canonical: '{"exists":false}' };
}

interface Written {
  /** What was written, checked. */
  readonly value: unknown;
  readonly test: TextTest;
}

/** The four that test strings; undefined for another name. */
function textTest(name: string, value: unknown, at: string, reading: Reading): Written | undefined {
  if (name === 'prefix' || name === 'suffix') return affix(name, value, at, reading);
  if (name === 'equals-ignore-case') {
    const part = foldCase(reading.text(value, at));
    return { value: part, test: { kind: 'folded', part } };
  }
  return name === 'wildcard' ? wildcard(value, at, reading) : undefined;
}

/** A prefix or suffix: a string, or `{"equals-ignore-case": string}`. */
function affix(kind: 'prefix' | 'suffix', value: unknown, at: string, reading: Reading): Written {
  if (typeof value === 'string') return { value, test: { kind, part: reading.text(value, at) } };
  const [name, inner] = reading.onlyMember(value, at);
  if (name !== 'equals-ignore-case') throw reading.refused("this takes a string or {'equals-ignore-case': string}", at);
  const part = foldCase(reading.text(inner, pointerTo(at, name)));
  return { value: { [name]: part }, test: { kind: `folded-${kind}`, part } };
}

function wildcard(value: unknown, at: string, reading: Reading): Written {
  const pattern = reading.text(value, at);
  const parts = wildcardParts(pattern);
  if (parts === undefined) throw reading.refused('a wildcard has no ** and escapes only \\* and \\\\', at);
  return { value: pattern, test: { kind: 'wildcard', holds: compileWildcard(parts) } };
}

const COMPARE: Readonly<Record<string, (value: number, bound: number) => boolean>> = {
  '=': (value, bound) => value === bound,
  '<': (value, bound) => value < bound,
  '<=': (value, bound) => value <= bound,
  '>': (value, bound) => value > bound,
  '>=': (value, bound) => value >= bound,
};

/** `["=", n]`, one bound, or a lower and then an upper bound. */
function numeric(value: unknown, at: string, reading: Reading): Operator {
  if (!Array.isArray(value) || (value.length !== 2 && value.length !== 4))
    throw reading.refused('numeric takes [">", 0] or [">", 0, "<=", 5]', at);
  const [lowName, low, highName, high]: unknown[] = value;
  const lower = bound(lowName, low, at, 0, reading);
  if (value.length === 2) return test({ numeric: [lowName, low] }, (scalar) => typeof scalar === 'number' && lower(scalar));
  const upper = bound(highName, high, at, 2, reading);
  if (!String(lowName).startsWith('>') || !String(highName).startsWith('<'))
    throw reading.refused('a range has > or >= first, then < or <=', at);
  if (!(Number(low) < Number(high))) throw reading.refused('the lower bound must be less than the upper', pointerTo(at, 3));
  return test({ numeric: value }, (scalar) => typeof scalar === 'number' && lower(scalar) && upper(scalar));
}

function bound(name: unknown, limit: unknown, at: string, index: number, reading: Reading): (value: number) => boolean {
  const compare = typeof name === 'string' && Object.hasOwn(COMPARE, name) ? COMPARE[name] : undefined;
  if (compare === undefined) throw reading.refused('a comparison is =, <, <=, > or >=', pointerTo(at, index));
  const number = reading.number(limit, pointerTo(at, index + 1));
  return (value) => compare(value, number);
}

function cidr(value: unknown, at: string, reading: Reading): Operator {
  const text = reading.text(value, at);
  const block = parseBlock(text);
  if (block === undefined) throw reading.refused('cidr takes an address block such as 10.0.0.0/8 or 2001:db8::/32', at);
  return { kind: 'text', text: { kind: 'cidr', block }, canonical: JSON.stringify({ cidr: text }) };
}

/** Holds for every leaf that is not among those named, also for one of another kind; a missing field has no leaf. */
function anythingBut(value: unknown, at: string, reading: Reading): Operator {
  if (isScalar(value) || Array.isArray(value)) return anythingButValues(value, at, reading);
  const [name, inner] = reading.onlyMember(value, at);
  const list = oneOrMore(inner, pointerTo(at, name), reading).map(([item, pointer]) => {
    if (item === '' && name !== 'equals-ignore-case') throw reading.refused('an empty text would rule out everything', pointer);
    const text = typeof item === 'string' ? textTest(name, item, pointer, reading) : undefined;
    if (text === undefined)
      throw reading.refused('anything-but takes prefix, suffix, equals-ignore-case or wildcard of strings', pointer);
    return text;
  });
  const meaning = { 'anything-but': { [name]: distinct(list.map((text) => String(text.value))) } };
  const holds = anyOfTexts(list.map((text) => text.test));
  return test(meaning, (scalar, work) => typeof scalar !== 'string' || !holds(scalar, work));
}

function anythingButValues(value: unknown, at: string, reading: Reading): Operator {
  const items = oneOrMore(value, at, reading);
  const kind = typeof items[0]?.[0];
  const values = items.map(([item, pointer]) => {
    if ((kind !== 'string' && kind !== 'number') || typeof item !== kind) {
      throw reading.refused('anything-but takes strings or numbers, not both', pointer);
    }
    return kind === 'string' ? reading.text(item, pointer) : reading.number(item, pointer);
  });
  const ruledOut = new Set<Scalar>(values);
  return test({ 'anything-but': distinct(values) }, (scalar) => !ruledOut.has(scalar));
}

function oneOrMore(value: unknown, at: string, reading: Reading): [unknown, string][] {
  if (!Array.isArray(value)) return [[value, at]];
  if (value.length === 0) throw reading.refused('an empty list rules nothing out', at);
  reading.count(value.length - 1, at);
  return Array.from(value, (item: unknown, index) => [item, pointerTo(at, index)]);
}

/** Sorted and without repetitions: order has no meaning in these lists. -0 is 0. */
function distinct<V extends string | number>(values: readonly V[]): V[] {
  return [...new Set(values)].toSorted((one, other) => (one < other ? -1 : one > other ? 1 : 0));
}
