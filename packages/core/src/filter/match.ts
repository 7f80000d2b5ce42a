/**
 * One combination of terms as closures over parsed JSON.
 *
 * A combination fits an object in one of two ways. PRESENT: some field was there and matched, which ties the terms to
 * that object. ABSENT: all that was asked was absence. In an array, an element must fit as PRESENT, and then absence is
 * asked of that element alone; where no element does, what must be absent must be so in all of them. This is
 * array-consistent matching as aws/event-ruler does it, except that the order of field names plays no part.
 */
import { isObject, isScalar, type JsonObject, memberOf, opened, type Scalar } from '../json-values.ts';
import type { Term } from './rule.ts';

const NOT = 0;
const ABSENT = 1;
const PRESENT = 2;
type Fit = typeof NOT | typeof ABSENT | typeof PRESENT;

/** What is asked of the value of one member. */
interface Ask {
  fit(value: unknown): Fit;
  /** True where this asks only for absence, or absence would do. */
  readonly mayBeAbsent: boolean;
  /** With mayBeAbsent: true where none of the values holds what must be absent. */
  absentIn(values: readonly unknown[]): boolean;
}

/** A test for the value at which the terms' paths, less their first `depth` names, begin. */
export function compileTerms(terms: readonly Term[], depth: number): (value: unknown) => boolean {
  const ask = askAll(asksAt(terms, depth));
  return (value) => ask.fit(value) !== NOT;
}

function asksAt(terms: readonly Term[], depth: number): Ask[] {
  const leaves = terms.filter((term) => term.path.length === depth).map(askLeaf);
  const deeper = Map.groupBy(
    terms.filter((term) => term.path.length > depth),
    (term) => term.path[depth] ?? '',
  );
  if (deeper.size === 0) return leaves;
  return [...leaves, askMembers([...deeper].map(([name, below]) => [name, askAll(asksAt(below, depth + 1))]))];
}

function askAll(asks: readonly Ask[]): Ask {
  if (asks.length === 1 && asks[0] !== undefined) return asks[0];
  return {
    fit(value) {
      let fit: Fit = ABSENT;
      for (const ask of asks) {
        const one = ask.fit(value);
        if (one === NOT) return NOT;
        if (one === PRESENT) fit = PRESENT;
      }
      return fit;
    },
    mayBeAbsent: asks.every((ask) => ask.mayBeAbsent),
    absentIn: (values) => asks.every((ask) => ask.absentIn(values)),
  };
}

function askLeaf(term: Term): Ask {
  const test = testOf(term);
  const { mayBeAbsent } = term;
  const without: Fit = mayBeAbsent ? ABSENT : NOT;
  return {
    mayBeAbsent,
    fit(value) {
      if (isScalar(value)) return test(value) ? PRESENT : NOT;
      return Array.isArray(value) ? fitOfArray(value, test, without) : without;
    },
    absentIn: (values) => values.every((value) => !holdsLeaf(value)),
  };
}

function fitOfArray(array: readonly unknown[], test: (value: Scalar) => boolean, without: Fit): Fit {
  let fit = without;
  for (const value of opened(array)) {
    if (!isScalar(value)) continue;
    if (test(value)) return PRESENT;
    fit = NOT;
  }
  return fit;
}

function holdsLeaf(value: unknown): boolean {
  for (const one of opened(value)) if (isScalar(one)) return true;
  return false;
}

function testOf({ literals, tests }: Term): (value: Scalar) => boolean {
  const [only] = literals;
  const values = new Set(literals);
  if (tests.length === 0) return literals.length === 1 ? (value) => value === only : (value) => values.has(value);
  const [test] = tests;
  if (values.size === 0 && tests.length === 1 && test !== undefined) return test;
  return (value) => values.has(value) || tests.some((one) => one(value));
}

function askMembers(members: readonly (readonly [string, Ask])[]): Ask {
  const mayBeAbsent = members.every(([, ask]) => ask.mayBeAbsent);
  const without: Fit = mayBeAbsent ? ABSENT : NOT;
  const names = members.map(([name]) => name);
  const asks = members.map(([, ask]) => ask);
  const fitOne = (object: JsonObject): Fit => {
    let fit: Fit = ABSENT;
    for (let at = 0; at < names.length; at += 1) {
      const one = asks[at]?.fit(memberOf(object, names[at] ?? '')) ?? NOT;
      if (one === NOT) return NOT;
      if (one === PRESENT) fit = PRESENT;
    }
    return fit;
  };
  const absentIn = (values: readonly unknown[]) => {
    const objects = values.flatMap((value) => [...opened(value)].filter(isObject));
    return members.every(([name, ask]) => ask.absentIn(objects.map((object) => memberOf(object, name))));
  };
  return {
    mayBeAbsent,
    absentIn,
    fit(value) {
      if (isObject(value)) return fitOne(value);
      if (!Array.isArray(value)) return without;
      for (const one of opened(value)) if (isObject(one) && fitOne(one) === PRESENT) return PRESENT;
      return mayBeAbsent && absentIn([value]) ? ABSENT : NOT;
    },
  };
}
