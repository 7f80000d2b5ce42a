/**
 * Filters: EventBridge-style event patterns, compiled to closures that cost about a microsecond and always end.
 *
 *   { "source": ["shop"], "data": { "amount": [{ "numeric": [">", 100] }], "$or": [{ "country": ["DE"] }, { "vip": [true] }] } }
 *
 * At the top stand attributes by name and `data`, the JSON payload. All fields must hold; of a field's list one member
 * must. Members are literals or one operator: `prefix`, `suffix` (both also of `{"equals-ignore-case": …}`),
 * `equals-ignore-case`, `wildcard`, `numeric`, `cidr`, `exists`, `anything-but`, `exactly`. Strings and numbers never
 * match each other; numbers are compared as 64-bit floats. Arrays are opened at every level, but what is asked of fields
 * below one array must hold in the same element. Two lists for one field, beside and inside `$or`, must both hold, each
 * for any of its values. `exists` sees leaves only: `{"exists": false}` holds for an object or an empty array. A payload
 * that is no JSON has no fields. Compatible with aws/event-ruler as of commit 337e8d9, but for what filter/operators.ts
 * and filter/match.ts name.
 */
import type { Event } from './event.ts';
import { compileTerms } from './filter/match.ts';
import { readRule, type RuleBounds, type Term } from './filter/rule.ts';
import { EXHAUSTED, spend, STEPS_MAX, type Work } from './filter/work.ts';
import { isScalar, memberOf, readPath, type Scalar } from './json-values.ts';

export type { RuleBounds } from './filter/rule.ts';
export type { Work } from './filter/work.ts';
export { RESERVED as OPERATOR_NAMES } from './filter/operators.ts';
export { readPath, type Scalar } from './json-values.ts';

export interface CompiledFilter {
  /**
   * `data` gives the parsed payload, undefined where it is no JSON. It is called at most once, and only when the
   * attributes alone do not decide. TOO_COSTLY where there would be no answer within the steps that filter/work.ts
   * allows, each time again for this filter and this event: whether they match is not known then. `work`: steps that it may
   * take instead, less those it took when it returns.
   */
  matches(event: Event, data: () => unknown, work?: Work): Verdict;
  /** Equal for filters that differ only in order, repetition or spelling of numbers: such are evaluated once. */
  readonly canonical: string;
  /** Fields that must equal one of the values in every event that matches: necessary, not sufficient. For an index. */
  readonly equalities: readonly Equality[];
  /** Whether `data` may be called at all. */
  readonly needsData: boolean;
  /** Tests in all combinations: about a kilobyte of memory each. */
  readonly terms: number;
}

/** Truthy like a match: who does not look closer takes the event rather than lose it. */
export const TOO_COSTLY = 'too_costly';
export type Verdict = boolean | typeof TOO_COSTLY;

export interface Equality {
  /** `['type']`, `['data', 'customer', 'country']`. */
  readonly path: readonly string[];
  readonly values: readonly Scalar[];
}

/**
 * Throws `invalid_filter` with a JSON pointer for what is no filter, and above 16 levels, 1,000 values, strings of 1,024
 * characters, 1,000 combinations of `$or` or 10,000 tests in all combinations; of the last two `bounds` may allow less.
 */
export function compileFilter(filter: unknown, bounds?: RuleBounds): CompiledFilter {
  const { combinations, always, canonical } = readRule(filter, bounds);
  const compiled = combinations.map(compileCombination);
  // With forks, what all combinations share is asked first. Not absence: which element it is asked of depends on the rest.
  const shared = combinations.length === 1 ? [] : always.filter((term) => !term.mayBeAbsent);
  return {
    matches: evaluate(shared.length === 0 ? undefined : compileCombination(shared), compiled),
    canonical,
    equalities: always
      .filter((term) => term.tests.length === 0 && !term.mayBeAbsent)
      .map(({ path, literals }) => ({ path, values: literals })),
    needsData: combinations.some((terms) => terms.some(isOfData)),
    terms: combinations.reduce((sum, terms) => sum + terms.length, 0),
  };
}

/** What an index of equalities looks up: the leaves at an equality's path. `data` as in CompiledFilter. */
export function valuesAt(event: Event, data: () => unknown, path: readonly string[]): readonly Scalar[] {
  const [first = '', ...rest] = path;
  if (first === 'data') return readPath(data(), rest);
  const value = attribute(event, first);
  return rest.length === 0 && isScalar(value) ? [value] : [];
}

interface Combination {
  attributes(event: Event, work: Work): boolean;
  /** Undefined where the combination asks nothing of the payload. */
  readonly data: ((value: unknown, work: Work) => boolean) | undefined;
}

function compileCombination(terms: readonly Term[]): Combination {
  const ofData = terms.filter(isOfData);
  const ofAttributes = [
    ...Map.groupBy(
      terms.filter((term) => !isOfData(term)),
      (term) => term.path[0] ?? '',
    ),
  ].map(([name, group]) => [name, compileTerms(group, 1)] as const);
  return {
    attributes(event, work) {
      spend(work, 1);
      for (const [name, matches] of ofAttributes) if (!matches(attribute(event, name), work)) return false;
      return true;
    },
    data: ofData.length === 0 ? undefined : compileTerms(ofData, 1),
  };
}

const UNREAD = Symbol('unread');

function evaluate(shared: Combination | undefined, combinations: readonly Combination[]): CompiledFilter['matches'] {
  const all = shared === undefined ? combinations : [shared, ...combinations];
  return (event, data, work = { left: STEPS_MAX }) => {
    let value: unknown = UNREAD;
    try {
      for (const one of all) {
        let holds = one.attributes(event, work);
        if (holds && one.data !== undefined) {
          if (value === UNREAD) value = data();
          holds = one.data(value, work);
        }
        if (holds !== (one === shared)) return holds;
      }
      return false;
    } catch (error) {
      if (error === EXHAUSTED) return TOO_COSTLY;
      throw error;
    }
  };
}

function isOfData(term: Term): boolean {
  return term.path[0] === 'data';
}

function attribute(event: Event, name: string): unknown {
  switch (name) {
    case 'type':
      return event.type;
    case 'source':
      return event.source;
    case 'id':
      return event.id;
    case 'subject':
      return event.subject;
    case 'time':
      return event.time;
    case 'datacontenttype':
      return event.datacontenttype;
    case 'dataschema':
      return event.dataschema;
    case 'specversion':
      return '1.0';
    default:
      return memberOf(event.extensions, name);
  }
}
