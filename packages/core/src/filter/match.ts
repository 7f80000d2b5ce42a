/**
 * One combination of terms as closures over parsed JSON.
 *
 * A combination fits an object in one of two ways. PRESENT: some field was there and matched, which ties the terms to
 * that object. ABSENT: all that was asked was absence. In an array, an element must fit as PRESENT, and then absence is
 * asked of that element alone; where no element does, what must be absent must be so in all of them. This is
 * array-consistent matching as aws/event-ruler does it, except that the order of field names plays no part.
 */
import { isObject, isScalar, type JsonObject, memberOf } from '../json-values.ts';
import type { Test } from './operators.ts';
import type { Term } from './rule.ts';
import { spend, type Work } from './work.ts';

const NOT = 0;
const ABSENT = 1;
const PRESENT = 2;
type Fit = typeof NOT | typeof ABSENT | typeof PRESENT;

/** What is asked of the value of one member. */
interface Ask {
  fit(value: unknown, work: Work): Fit;
  /** True where this asks only for absence, or absence would do. */
  readonly mayBeAbsent: boolean;
  /** With mayBeAbsent: true where none of the values holds what must be absent. */
  absentIn(values: readonly unknown[], work: Work): boolean;
}

/** A test for the value at which the terms' paths, less their first `depth` names, begin. Throws where the work is used up. */
export function compileTerms(terms: readonly Term[], depth: number): (value: unknown, work: Work) => boolean {
  const ask = askAll(asksAt(terms, depth));
  return (value, work) => ask.fit(value, work) !== NOT;
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
    fit(value, work) {
      let fit: Fit = ABSENT;
      for (const ask of asks) {
        const one = ask.fit(value, work);
        if (one === NOT) return NOT;
        if (one === PRESENT) fit = PRESENT;
      }
      return fit;
    },
    mayBeAbsent: asks.every((ask) => ask.mayBeAbsent),
    absentIn: (values, work) => asks.every((ask) => ask.absentIn(values, work)),
  };
}

function askLeaf(term: Term): Ask {
  const test = testOf(term);
  const { mayBeAbsent } = term;
  const without: Fit = mayBeAbsent ? ABSENT : NOT;
  return {
    mayBeAbsent,
    fit(value, work) {
      if (isScalar(value)) return test(value, work) ? PRESENT : NOT;
      return Array.isArray(value) ? fitOfArray(value, test, without, work) : without;
    },
    absentIn: (values, work) => !someOpened(values, work, isScalar),
  };
}

function fitOfArray(array: readonly unknown[], test: Test, without: Fit, work: Work): Fit {
  let fit = without;
  const isFound = someOpened(array, work, (value) => {
    if (!isScalar(value)) return false;
    fit = NOT;
    return test(value, work);
  });
  return isFound ? PRESENT : fit;
}

/**
 * Whether `holds` says so of one of the values that the array stands for, arrays within it opened at any depth, in order.
 * Every element is a step, arrays too: a megabyte of empty ones stands for nothing and takes as long. Not `opened`, a
 * generator, which takes three times as long for each.
 */
function someOpened(array: readonly unknown[], work: Work, holds: (value: unknown) => boolean): boolean {
  const around: { readonly list: readonly unknown[]; readonly at: number }[] = [];
  let list = array;
  let at = 0;
  for (;;) {
    for (; at < list.length; at += 1) {
      const value = list[at];
      spend(work, 1);
      if (!Array.isArray(value)) {
        if (holds(value)) return true;
        continue;
      }
      around.push({ list, at: at + 1 });
      list = value;
      at = -1;
    }
    const outer = around.pop();
    if (outer === undefined) return false;
    ({ list, at } = outer);
  }
}

function testOf({ literals, tests }: Term): Test {
  const [only] = literals;
  const values = new Set(literals);
  if (tests.length === 0) return literals.length === 1 ? (value) => value === only : (value) => values.has(value);
  const [test] = tests;
  if (values.size === 0 && tests.length === 1 && test !== undefined) return test;
  return (value, work) => {
    spend(work, tests.length);
    return values.has(value) || tests.some((one) => one(value, work));
  };
}

function askMembers(members: readonly (readonly [string, Ask])[]): Ask {
  const mayBeAbsent = members.every(([, ask]) => ask.mayBeAbsent);
  const without: Fit = mayBeAbsent ? ABSENT : NOT;
  const names = members.map(([name]) => name);
  const asks = members.map(([, ask]) => ask);
  const fitOne = (object: JsonObject, work: Work): Fit => {
    let fit: Fit = ABSENT;
    for (let at = 0; at < names.length; at += 1) {
      // For finding the member, and for what is asked of it.
      spend(work, 2);
      const one = asks[at]?.fit(memberOf(object, names[at] ?? ''), work) ?? NOT;
      if (one === NOT) return NOT;
      if (one === PRESENT) fit = PRESENT;
    }
    return fit;
  };
  const absentIn = (values: readonly unknown[], work: Work): boolean => {
    const objects: JsonObject[] = [];
    someOpened(values, work, (value) => {
      if (isObject(value)) objects.push(value);
      return false;
    });
    return members.every(([name, ask]) => {
      spend(work, objects.length * 3);
      return ask.absentIn(
        objects.map((object) => memberOf(object, name)),
        work,
      );
    });
  };
  return {
    mayBeAbsent,
    absentIn,
    fit(value, work) {
      if (isObject(value)) return fitOne(value, work);
      if (!Array.isArray(value)) return without;
      if (someOpened(value, work, (one) => isObject(one) && fitOne(one, work) === PRESENT)) return PRESENT;
      return mayBeAbsent && absentIn([value], work) ? ABSENT : NOT;
    },
  };
}
