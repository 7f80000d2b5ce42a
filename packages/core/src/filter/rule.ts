/**
 * A filter read from JSON into combinations. Fields are ANDed and `$or` forks: every way through the forks is one
 * combination, a plain list of terms that must all hold. Terms of one combination that go through the same array must
 * hold in the same element of it, whichever side of an `$or` they were written on; that is why forks are multiplied
 * out instead of being tested where they stand.
 */
import { isObject, isScalar, type Scalar } from '../json-values.ts';
import { pointerTo } from '../json-pointer.ts';
import { literal, readOperator, RESERVED, type Test, testsOf } from './operators.ts';
import { type Reading, startReading } from './reading.ts';

export const DEPTH_MAX = 16;
export const COMBINATIONS_MAX = 1000;
/** Terms of all combinations together. What they may cost on one event is bounded apart from it (work.ts). */
export const TERMS_MAX = 10_000;

/** How much the `$or` of a filter may make. */
export interface RuleBounds {
  readonly combinations: number;
  /** In all combinations. */
  readonly terms: number;
}

const BOUNDS: RuleBounds = { combinations: COMBINATIONS_MAX, terms: TERMS_MAX };

/** A field with its list. At least one of the list must hold. */
export interface Term {
  readonly path: readonly string[];
  readonly literals: readonly Scalar[];
  readonly tests: readonly Test[];
  /** `{"exists": false}` is in the list. */
  readonly mayBeAbsent: boolean;
}

export interface Rule {
  readonly combinations: readonly (readonly Term[])[];
  /** Terms outside every `$or`: they are in all combinations. */
  readonly always: readonly Term[];
  /** One text for all writings that mean the same by order and repetition. */
  readonly canonical: string;
}

/** Throws `invalid_filter`. */
export function readRule(filter: unknown, bounds: RuleBounds = BOUNDS): Rule {
  const reading = { ...startReading(), bounds };
  const { combinations, canonical } = readObject(filter, { path: [], pointer: '', depth: 0, insideOr: false }, reading);
  return {
    combinations,
    canonical,
    always: combinations[0]?.filter((term) => combinations.every((terms) => terms.includes(term))) ?? [],
  };
}

interface Place {
  readonly path: readonly string[];
  readonly pointer: string;
  /** Objects around this one. */
  readonly depth: number;
  readonly insideOr: boolean;
}

const VALUE_CHARS_SHOWN = 40;

interface BoundedReading extends Reading {
  readonly bounds: RuleBounds;
}

type Part = Pick<Rule, 'combinations' | 'canonical'>;

function readObject(value: unknown, place: Place, reading: BoundedReading): Part {
  const { pointer, depth } = place;
  if (!isObject(value))
    throw place.path.length === 0
      ? reading.refused('this must be an object', pointer)
      : reading.refused('a field is a list or an object', pointer, listOf(value));
  if (depth >= DEPTH_MAX) throw reading.refused(`a filter is at most ${DEPTH_MAX} levels deep`, pointer);
  const names = Object.keys(value).toSorted();
  if (names.length === 0) throw reading.refused('an empty object matches nothing in particular; leave it out', pointer);
  let combinations: Part['combinations'] = [[]];
  const canonicals: string[] = [];
  for (const name of names) {
    const part = readMember(name, value[name], { ...place, pointer: pointerTo(pointer, name), depth: depth + 1 }, reading);
    combinations = multiplied(combinations, part.combinations, place, reading);
    canonicals.push(`${JSON.stringify(name)}:${part.canonical}`);
  }
  return { combinations, canonical: `{${canonicals.join(',')}}` };
}

function readMember(name: string, value: unknown, place: Place, reading: BoundedReading): Part {
  if (name === '$or') return readFork(value, { ...place, insideOr: true }, reading);
  if (place.insideOr && RESERVED.has(name))
    throw reading.refused(`'${name}' is an operator; inside $or there are objects of fields`, place.pointer);
  if (place.path.length === 0) checkAttribute(name, value, place.pointer, reading);
  reading.text(name, place.pointer);
  const inner = { ...place, path: [...place.path, name] };
  return Array.isArray(value) ? readList(value, inner, reading) : readObject(value, inner, reading);
}

/** Only `data` has fields below it; all else at the top is an attribute (CloudEvents 1.0.2: lower-case letters and digits). */
function checkAttribute(name: string, value: unknown, pointer: string, reading: Reading): void {
  if (!/^[a-z0-9]{1,20}$/.test(name))
    throw reading.refused(`'${name.slice(0, 40)}' is no attribute; fields of the payload stand under data`, pointer);
  if (name !== 'data' && !Array.isArray(value))
    throw reading.refused(`the attribute '${name}' takes a list of values`, pointer, listOf(value));
}

/** The commonest slip: a value where a list of them belongs. */
function listOf(value: unknown): string | undefined {
  const isShort = ['string', 'number', 'boolean'].includes(typeof value) && String(value).length <= VALUE_CHARS_SHOWN;
  return isShort ? `Write [${JSON.stringify(value)}].` : undefined;
}

function readFork(value: unknown, place: Place, reading: BoundedReading): Part {
  if (!Array.isArray(value) || value.length < 2) throw reading.refused('$or takes a list of at least two objects', place.pointer);
  const branches = Array.from(value, (branch: unknown, at) =>
    readObject(branch, { ...place, pointer: pointerTo(place.pointer, at) }, reading),
  );
  const combinations = branches.flatMap((branch) => branch.combinations);
  checkSize(combinations.length, termsIn(combinations), place, reading);
  return {
    combinations,
    canonical: `[${branches
      .map((branch) => branch.canonical)
      .toSorted()
      .join(',')}]`,
  };
}

function multiplied(
  ones: Part['combinations'],
  others: Part['combinations'],
  place: Place,
  reading: BoundedReading,
): Part['combinations'] {
  // Counted before it is made: two short forks multiply into what no memory holds.
  checkSize(ones.length * others.length, termsIn(ones) * others.length + termsIn(others) * ones.length, place, reading);
  return ones.flatMap((one) => others.map((other) => [...one, ...other]));
}

function checkSize(combinations: number, terms: number, { pointer }: Place, reading: BoundedReading): void {
  const { bounds } = reading;
  if (combinations > bounds.combinations)
    throw reading.refused(`the $or here make more than ${bounds.combinations} combinations`, pointer);
  if (terms > bounds.terms)
    throw reading.refused(`the $or here make more than ${bounds.terms} tests in all combinations`, pointer);
}

function termsIn(combinations: Part['combinations']): number {
  return combinations.reduce((sum, terms) => sum + terms.length, 0);
}

function readList(list: readonly unknown[], { path, pointer }: Place, reading: Reading): Part {
  if (list.length === 0) throw reading.refused('an empty list matches nothing', pointer);
  reading.count(list.length, pointer);
  const operators = list.map((item, at) => readItem(item, pointerTo(pointer, at), reading));
  const term: Term = {
    path,
    literals: operators.flatMap((operator) => (operator.kind === 'literal' ? [operator.value] : [])),
    tests: testsOf(operators),
    mayBeAbsent: operators.some((operator) => operator.kind === 'absent'),
  };
  return {
    combinations: [[term]],
    canonical: `[${[...new Set(operators.map((operator) => operator.canonical))].toSorted().join(',')}]`,
  };
}

function readItem(item: unknown, pointer: string, reading: Reading) {
  if (typeof item === 'string') return literal(reading.text(item, pointer));
  if (typeof item === 'number') return literal(reading.number(item, pointer));
  if (isScalar(item)) return literal(item);
  const [name, value] = reading.onlyMember(item, pointer);
  return readOperator(name, value, pointer, reading);
}
