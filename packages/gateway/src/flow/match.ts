/**
 * Match, the third step: which subscriptions want an event. An index, not a loop: first the topic, then the audience,
 * then the value of one equality test of each filter; equal filters are evaluated once. With 10,000 tenants filtering
 * `data.tenant` on one topic, one look-up finds the one that matters.
 *
 * What a native client wrote and can not be an event, nobody wants: the lanes go on past it.
 *
 * A plan is what is known for one topic (and audience). Plans are made when a topic is first seen and then kept up with
 * every change, so that creating the 10,000th subscription does not sort the others again.
 */
import { audienceOf, hasJsonData } from '@millrace/core/event';
import type { CompiledFilter, Work } from '@millrace/core/filter';
import { TOO_COSTLY, valuesAt } from '@millrace/core/filter';
import { parseText } from '@millrace/core/json-parse';
import type { LogRecord } from '../ports/log.ts';

/** What matching needs of a subscription, compiled. */
export interface Wanted {
  readonly uid: string;
  readonly environment: string;
  readonly app: string;
  readonly topics: (topic: string) => boolean;
  readonly filter?: CompiledFilter;
}

/**
 * Where a filter has no answer within its steps, the record counts as wanted, lest it be lost: `isTooCostly` tells it from
 * one that is, and whoever takes it must not send it.
 */
export interface Match<W extends Wanted> {
  /** All that want the record, in no order. */
  (record: LogRecord): W[];
  /** Whether this one does. Same answer, for lanes that read by themselves. `turn` is charged with what it took. */
  one(wanted: W, record: LogRecord, turn?: Work): boolean;
  /** Of a record that was found to be wanted just now: whether only for want of an answer. */
  isTooCostly(wanted: W, record: LogRecord): boolean;
  add(wanted: W): void;
  remove(wanted: W): void;
}

/** Subscriptions with equal filters. */
interface Group<W> {
  readonly filter: CompiledFilter;
  readonly members: Set<W>;
  /** The match that looked at it last: one event may lead here by several values. */
  seen: number;
}

interface Plan<W> {
  readonly topic: string;
  readonly environment: string;
  readonly audience: string | undefined;
  readonly unfiltered: Set<W>;
  readonly groups: Map<string, Group<W>>;
  /** By path of the chosen equality test, then by value. */
  readonly indexed: Map<string, { readonly path: readonly string[]; readonly byValue: Map<unknown, Set<Group<W>>> }>;
  readonly scanned: Set<Group<W>>;
}

const PLANS_MAX = 10_000;
/** What looking at a record costs beside its filter, in steps of a filter (some 20 ns): whether it is wanted by topic, and its payload parsed. */
const LOOK_STEPS = 5;
const BYTES_PER_STEP = 2;

/** Steps of filters, where strangers write them: less than a filter may take else (filter/work.ts). */
export interface Steps {
  /** Of one filter for one record. */
  readonly each: number;
  /** Of all filters of one app for one record that goes to whoever wants it. */
  readonly app: number;
}

export function createMatch<W extends Wanted>(steps?: Steps): Match<W> {
  const all = new Set<W>();
  const plans = new Map<string, Plan<W>>();
  let round = 0;
  /** By record, the canonical texts of filters that have no answer for it: they are not asked again. */
  const costly = new WeakMap<LogRecord, Set<string>>();

  function holds(filter: CompiledFilter, record: LogRecord, data: () => unknown, work?: Work): boolean {
    if (costly.get(record)?.has(filter.canonical)) return true;
    const verdict = filter.matches(record.event, data, work);
    if (verdict !== TOO_COSTLY) return verdict;
    costly.getOrInsertComputed(record, () => new Set()).add(filter.canonical);
    return true;
  }

  function holdsOne(filter: CompiledFilter, record: LogRecord, turn: Work | undefined): boolean {
    if (steps === undefined) return holds(filter, record, lazyData(record));
    const work = { left: steps.each };
    const isWanted = holds(filter, record, lazyData(record), work);
    const parsed = filter.needsData ? (record.event.data?.length ?? 0) / BYTES_PER_STEP : 0;
    if (turn !== undefined) turn.left -= steps.each - work.left + parsed;
    return isWanted;
  }

  function planOf(record: LogRecord): Plan<W> {
    const audience = audienceOf(record.event);
    const name = `${record.environment}\n${record.event.type}\n${audience ?? ''}`;
    let plan = plans.get(name);
    if (plan === undefined) {
      if (plans.size >= PLANS_MAX) plans.clear();
      plan = emptyPlan<W>(record.environment, record.event.type, audience);
      for (const wanted of all) if (concerns(plan, wanted)) enter(plan, wanted);
      plans.set(name, plan);
    }
    return plan;
  }

  function find(record: LogRecord): W[] {
    if (record.rejected !== undefined) return [];
    const plan = planOf(record);
    const found = [...plan.unfiltered];
    if (plan.groups.size === 0) return found;
    round++;
    const data = lazyData(record);
    const left = new Map<string, number>();
    const look = (group: Group<W>): void => {
      if (group.seen === round) return;
      group.seen = round;
      const isWanted = steps === undefined ? holds(group.filter, record, data) : holdsWithin(steps, left, group);
      if (isWanted) found.push(...group.members);
    };
    /** An equal filter of several apps costs the one that has most left: what another one has used up takes nothing from it. */
    const holdsWithin = ({ each, app }: Steps, all: Map<string, number>, { filter, members }: Group<W>): boolean => {
      let [name, ofApp] = ['', -1];
      for (const one of members) {
        const has = all.get(one.app) ?? app;
        if (has > ofApp) [name, ofApp] = [one.app, has];
        if (has >= each) break;
      }
      const most = Math.min(each, ofApp);
      const work = { left: most };
      const isWanted = holds(filter, record, data, work);
      all.set(name, ofApp - (most - Math.max(0, work.left)));
      return isWanted;
    };
    for (const { path, byValue } of plan.indexed.values()) {
      for (const value of valuesAt(record.event, data, path)) byValue.get(value)?.forEach(look);
    }
    plan.scanned.forEach(look);
    return found;
  }

  const match = find as Match<W>;
  match.one = (wanted, record, turn) => {
    const audience = audienceOf(record.event);
    if (turn !== undefined) turn.left -= LOOK_STEPS;
    return (
      record.rejected === undefined &&
      wanted.environment === record.environment &&
      (audience === undefined || audience === wanted.app) &&
      wanted.topics(record.event.type) &&
      (wanted.filter === undefined || holdsOne(wanted.filter, record, turn))
    );
  };
  match.isTooCostly = ({ filter }, record) => filter !== undefined && costly.get(record)?.has(filter.canonical) === true;
  match.add = (wanted) => {
    all.add(wanted);
    for (const plan of plans.values()) if (concerns(plan, wanted)) enter(plan, wanted);
  };
  match.remove = (wanted) => {
    all.delete(wanted);
    for (const plan of plans.values()) if (concerns(plan, wanted)) leave(plan, wanted);
  };
  return match;
}

function emptyPlan<W>(environment: string, topic: string, audience: string | undefined): Plan<W> {
  return { environment, topic, audience, unfiltered: new Set(), groups: new Map(), indexed: new Map(), scanned: new Set() };
}

function concerns<W extends Wanted>(plan: Plan<W>, wanted: W): boolean {
  return (
    wanted.environment === plan.environment &&
    (plan.audience === undefined || plan.audience === wanted.app) &&
    wanted.topics(plan.topic)
  );
}

function enter<W extends Wanted>(plan: Plan<W>, wanted: W): void {
  if (wanted.filter === undefined) {
    plan.unfiltered.add(wanted);
    return;
  }
  let group = plan.groups.get(wanted.filter.canonical);
  if (group === undefined) {
    group = { filter: wanted.filter, members: new Set(), seen: 0 };
    plan.groups.set(wanted.filter.canonical, group);
    place(plan, group);
  }
  group.members.add(wanted);
}

function leave<W extends Wanted>(plan: Plan<W>, wanted: W): void {
  if (wanted.filter === undefined) {
    plan.unfiltered.delete(wanted);
    return;
  }
  const group = plan.groups.get(wanted.filter.canonical);
  if (group === undefined || !group.members.delete(wanted) || group.members.size > 0) return;
  plan.groups.delete(wanted.filter.canonical);
  displace(plan, group);
}

/** The equality test with the fewest values says most; without one the group is evaluated for every event. */
function indexOf(filter: CompiledFilter): CompiledFilter['equalities'][number] | undefined {
  return filter.equalities.toSorted(
    (one, other) => one.values.length - other.values.length || (one.path.join() < other.path.join() ? -1 : 1),
  )[0];
}

function place<W>(plan: Plan<W>, group: Group<W>): void {
  const equality = indexOf(group.filter);
  if (equality === undefined) {
    plan.scanned.add(group);
    return;
  }
  const byValue = plan.indexed.getOrInsertComputed(JSON.stringify(equality.path), () => ({
    path: equality.path,
    byValue: new Map(),
  })).byValue;
  for (const value of equality.values) byValue.getOrInsertComputed(value, () => new Set()).add(group);
}

function displace<W>(plan: Plan<W>, group: Group<W>): void {
  const equality = indexOf(group.filter);
  if (equality === undefined) {
    plan.scanned.delete(group);
    return;
  }
  const name = JSON.stringify(equality.path);
  const byValue = plan.indexed.get(name)?.byValue;
  if (byValue === undefined) return;
  for (const value of equality.values) {
    const groups = byValue.get(value);
    groups?.delete(group);
    if (groups?.size === 0) byValue.delete(value);
  }
  if (byValue.size === 0) plan.indexed.delete(name);
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Parses the payload at most once, and only when a filter asks for it. What is not JSON has no data to match. */
function lazyData({ event }: LogRecord): () => unknown {
  let parsed: unknown;
  let done = false;
  return () => {
    if (done) return parsed;
    done = true;
    if (event.data === undefined || !hasJsonData(event)) return undefined;
    try {
      parsed = parseText(decoder.decode(event.data));
    } catch {
      parsed = undefined; // a native client may write anything: no data rule matches it
    }
    return parsed;
  };
}
