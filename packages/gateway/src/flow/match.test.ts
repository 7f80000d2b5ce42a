/** The index answers as a naive loop does, whatever was added and removed before. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Event } from '@millrace/core/event';
import { type CompiledFilter, compileFilter } from '@millrace/core/filter';
import { compileTopics } from '@millrace/core/topic';
import { chance } from '../../test/clock.ts';
import type { LogRecord } from '../ports/log.ts';
import { createMatch, type Wanted } from './match.ts';

interface Wish {
  readonly topics?: readonly string[];
  readonly filter?: unknown;
  readonly app?: string;
  readonly environment?: string;
}

function wanted(uid: string, { topics = ['>'], filter, app = 'crm', environment = 'default' }: Wish = {}): Wanted {
  const base = { uid, environment, app, topics: compileTopics(topics) };
  return filter === undefined ? base : { ...base, filter: compileFilter(filter) };
}

interface Made {
  readonly type?: string;
  readonly environment?: string;
  readonly audience?: string;
  readonly subject?: string;
  readonly data?: unknown;
  readonly text?: string;
  readonly contentType?: string;
}

function record({
  type = 'orders.created',
  environment = 'default',
  audience,
  subject,
  data,
  text,
  contentType,
}: Made): LogRecord {
  const written = text ?? (data === undefined ? undefined : JSON.stringify(data));
  const event: Event = {
    id: '1',
    source: '/s',
    type,
    extensions: audience === undefined ? {} : { audience },
    ...(subject === undefined ? {} : { subject }),
    ...(contentType === undefined ? {} : { datacontenttype: contentType }),
    ...(written === undefined ? {} : { data: Buffer.from(written) }),
  };
  return { shard: 'a', position: '1', timeMs: 0, environment, app: 'shop', event, size: 1 };
}

/** Compares nothing but what the specification of a subscription says, one after the other. */
function naive(all: Iterable<Wanted>, { environment, event }: LogRecord): string[] {
  const audience = event.extensions['audience'];
  const found: string[] = [];
  for (const one of all) {
    if (one.environment !== environment || (audience !== undefined && audience !== one.app) || !one.topics(event.type)) continue;
    if (one.filter === undefined || one.filter.matches(event, () => parsed(event))) found.push(one.uid);
  }
  return found.toSorted();
}

function parsed({ data, datacontenttype = 'application/json' }: Event): unknown {
  try {
    return datacontenttype === 'application/json' ? JSON.parse(Buffer.from(data ?? []).toString()) : undefined;
  } catch {
    return undefined; // no JSON has no fields
  }
}

const uids = (found: readonly Wanted[]): string[] => found.map(({ uid }) => uid).toSorted();

for (const seed of [1, 2, 3, 4]) {
  test(`random subscriptions, filters and events, while some come and go: seed ${seed}`, () => {
    const random = chance(seed);
    const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
    const [a, b, c] = [() => pick([1, 2, 3]), () => pick(['x', 'y', 'z', null, true]), () => pick(['u', 'v'])];
    const filters: readonly (() => unknown)[] = [
      () => undefined,
      () => ({ data: { a: [a()] } }),
      () => ({ data: { a: [a(), a()], b: [b()] } }),
      () => ({ data: { b: [{ 'anything-but': ['x'] }] } }),
      () => ({ data: { a: [{ numeric: ['>', a()] }], deep: { c: [c()] } } }),
      () => ({ data: { $or: [{ a: [a()] }, { b: [b()] }] } }),
      () => ({ data: { tags: [c(), 'w'] }, subject: [c()] }),
      () => ({ subject: [{ exists: false }] }),
      () => ({ data: { a: [{ exists: false }], b: ['x', { prefix: 'y' }] } }),
      () => ({ type: ['orders.created'], data: { deep: { c: [c()] } } }),
    ];
    const wish = (): Wish => ({
      topics: [pick(['>', 'orders.*', 'orders.created', '*.paid', 'invoices.>'])],
      filter: pick(filters)(),
      app: pick(['crm', 'erp']),
      environment: pick(['default', 'default', 'staging']),
    });
    const datum = () =>
      pick([
        undefined,
        {},
        { a: a() },
        { a: a(), b: b() },
        { deep: { c: c() } },
        { a: [a(), a()], tags: [c(), 'w'] },
        [{ a: a() }, { b: b() }],
        7,
        { deep: [{ c: c() }, { c: 'u' }], a: a() },
      ]);
    const event = (): LogRecord =>
      record({
        type: pick(['orders.created', 'orders.paid', 'invoices.sent.late']),
        environment: pick(['default', 'staging']),
        data: datum(),
        ...pick([{}, {}, { audience: pick(['crm', 'erp', 'none']) }]),
        ...pick([{}, { subject: c() }]),
        ...pick([{}, {}, {}, { contentType: 'text/plain' }, { text: '{"a":1' }]),
      });

    const match = createMatch<Wanted>();
    const all = new Set<Wanted>();
    let hits = 0;
    for (let step = 0; step < 600; step++) {
      const some = [...all];
      if (some.length > 0 && random() < 0.2) {
        const gone = pick(some);
        all.delete(gone);
        match.remove(gone);
      } else if (random() < 0.4) {
        const fresh = wanted(`s${step}`, wish());
        all.add(fresh);
        match.add(fresh);
      }
      const one = event();
      const expected = naive(all, one);
      hits += expected.length;
      assert.deepEqual(uids(match(one)), expected);
      assert.deepEqual(uids([...all].filter((subscription) => match.one(subscription, one))), expected);
    }
    assert.ok(hits > 500, `only ${hits} matches: the comparison says little`);
  });
}

test('an event for one app is seen by that app alone, one for nobody in particular by all', () => {
  const match = createMatch<Wanted>();
  for (const app of ['crm', 'erp']) match.add(wanted(app, { app }));
  assert.deepEqual(uids(match(record({ audience: 'crm' }))), ['crm']);
  assert.deepEqual(uids(match(record({}))), ['crm', 'erp']);
  assert.deepEqual(uids(match(record({ audience: 'other' }))), []);
});

test('environments do not see each other, also where names look alike', () => {
  const match = createMatch<Wanted>();
  match.add(wanted('here'));
  match.add(wanted('there', { environment: 'staging' }));
  assert.deepEqual(uids(match(record({}))), ['here']);
  assert.deepEqual(uids(match(record({ environment: 'staging' }))), ['there']);
  assert.deepEqual(uids(match(record({ environment: 'default\norders.created' }))), []);
});

test('equal filters are evaluated once for all their subscriptions, and one that can not match not at all', () => {
  const match = createMatch<Wanted>();
  let evaluations = 0;
  const counted = (filter: unknown): CompiledFilter => {
    const compiled = compileFilter(filter);
    return { ...compiled, matches: (event, data) => (evaluations++, compiled.matches(event, data)) };
  };
  const add = (uid: string, filter: unknown): void => match.add({ ...wanted(uid), filter: counted(filter) });
  for (let at = 0; at < 50; at++) add(`same${at}`, { data: { tenant: ['a', 'b'], n: [1] } });
  for (let at = 0; at < 50; at++) add(`other${at}`, { data: { tenant: [`t${at}`] } });
  assert.equal(match(record({ data: { tenant: ['a', 'b'], n: 1 } })).length, 50);
  assert.equal(evaluations, 1);
  assert.equal(match(record({ data: { tenant: 't7' } })).length, 1);
  assert.equal(evaluations, 2);
  assert.equal(match(record({ data: { tenant: 'nobody' } })).length, 0);
  assert.equal(evaluations, 2);
});

const MANY = Array.from({ length: 1_000 }, (_, at) => ({ prefix: `p${at}` }));
const COSTLY = { data: { list: MANY } };
const LONG = { list: Array.from({ length: 10_000 }, () => 'x') };

test('where a filter has no answer, the event counts as wanted and as too costly, for all with that filter', () => {
  const match = createMatch<Wanted>();
  const [one, other] = [wanted('one', { filter: COSTLY }), wanted('other', { filter: { data: { list: [...MANY].reverse() } } })];
  const plain = wanted('plain', { filter: { data: { list: ['x'] } } });
  for (const each of [one, other, plain, wanted('none')]) match.add(each);
  const event = record({ data: LONG });
  assert.deepEqual(uids(match(event)), ['none', 'one', 'other', 'plain']);
  assert.deepEqual(
    [one, other, plain].map((each) => match.isTooCostly(each, event)),
    [true, true, false],
  );
  const small = record({ data: { list: ['x'] } });
  assert.deepEqual(uids(match(small)), ['none', 'plain']);
  assert.ok(!match.isTooCostly(one, small));
});

test('what has no answer is not asked again for the same record, by neither way', () => {
  const match = createMatch<Wanted>();
  let evaluations = 0;
  const compiled = compileFilter(COSTLY);
  const counted = {
    ...compiled,
    matches: ((...asked) => (evaluations++, compiled.matches(...asked))) as CompiledFilter['matches'],
  };
  const one = { ...wanted('one'), filter: counted };
  match.add(one);
  const event = record({ data: LONG });
  for (let round = 0; round < 3; round++)
    assert.ok(match.one(one, event) && match(event).length === 1 && match.isTooCostly(one, event));
  assert.equal(evaluations, 1);
  // Another filter has an answer of its own.
  const cheap = { ...one, filter: compileFilter({ data: { list: ['y'] } }) };
  assert.ok(!match.one(cheap, event) && !match.isTooCostly(cheap, event));
});

test('a field whose name is written with a backslash is matched as that field', () => {
  const match = createMatch<Wanted>();
  match.add(wanted('quote', { filter: { data: { '"': [2] } } }));
  match.add(wanted('backslash', { filter: { data: { '\\': [2] } } }));
  for (let round = 0; round < 100; round++) {
    assert.deepEqual(uids(match(record({ text: '{"h":[],"\\\\":2}' }))), ['backslash']);
    assert.deepEqual(uids(match(record({ text: '{"h":1,"\\"":2}' }))), ['quote']);
  }
});

test('removing one of several subscriptions with equal filters leaves the others', () => {
  const match = createMatch<Wanted>();
  const [one, other] = [wanted('one', { filter: { data: { a: [1] } } }), wanted('other', { filter: { data: { a: [1, 1] } } })];
  match.add(one);
  match.add(other);
  const event = record({ data: { a: 1 } });
  assert.equal(match(event).length, 2);
  match.remove(one);
  match.remove(one);
  assert.deepEqual(uids(match(event)), ['other']);
  match.remove(other);
  assert.deepEqual(match(event), []);
});

test('what can not be an event nobody wants, by whichever question', () => {
  const match = createMatch<Wanted>();
  const all = wanted('a');
  match.add(all);
  const good = record({});
  const bad: LogRecord = { ...good, rejected: { code: 'invalid_json', detail: 'it is no JSON' } };
  assert.deepEqual([match(bad).length, match.one(all, bad)], [0, false]);
  assert.deepEqual([match(good).length, match.one(all, good)], [1, true]);
});

test('where filters are strangers’, an app has a bounded number of steps for each record, and what it has not is too costly', () => {
  const data = { text: Array.from({ length: 700 }, (_, n) => `t${n}`), n: 1 };
  const costly = (uid: string, app: string): Wanted => wanted(uid, { app, filter: { data: { text: [{ prefix: uid }] } } });
  const all = [
    costly('a', 'noisy'),
    costly('b', 'noisy'),
    costly('c', 'noisy'),
    wanted('d', { app: 'quiet', filter: { data: { n: [{ exists: true }] } } }),
  ];
  const one = record({ data });
  const work = { left: 1_000_000 };
  all[0]?.filter?.matches(one.event, () => data, work);
  const cost = 1_000_000 - work.left;
  const match = createMatch({ each: cost + 1, app: Math.floor(2.5 * cost) });
  all.forEach(match.add);
  const unanswered = match(one).filter((found) => match.isTooCostly(found, one));
  assert.deepEqual(
    unanswered.map(({ app }) => app),
    ['noisy'],
  );
  assert.ok(match(one).some(({ uid }) => uid === 'd'));
  const same = createMatch({ each: cost + 1, app: Math.floor(2.5 * cost) });
  [...all, costly('c', 'quiet')].forEach(same.add);
  const next = record({ data });
  assert.deepEqual(
    same(next).filter((found) => same.isTooCostly(found, next)),
    [],
    'another app with an equal filter has steps of its own',
  );
  const turn = { left: 10_000 };
  assert.equal(match.one(all[3] as Wanted, record({ data }), turn), true);
  assert.ok(turn.left < 10_000 - JSON.stringify(data).length / 2, 'what it took is charged');
});
