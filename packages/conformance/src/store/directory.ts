/** The directory: versions, conditions, lists, odd names and values. */
import assert from 'node:assert/strict';
import type { App, Directory, Kind, Kinds, Subscription, Versioned } from '@millrace/gateway/ports/directory';
import { gap } from '../behaviours.ts';
import type { Behaviours } from '../behaviours.ts';
import { rejectsWith } from '../log/world.ts';
import { app, same, START_MS } from './world.ts';
import type { OpenedStores } from './world.ts';

const ODD_IDS = [
  'a',
  'A',
  'a b',
  ' a',
  'a.b',
  'a/b',
  'a%',
  'a_',
  '%',
  "it's",
  '"q"',
  '\\',
  'é',
  'e\u0301',
  '😀',
  '日本',
  '__proto__',
  'constructor',
  'toString',
  '0',
  '00',
  'x'.repeat(255),
];

/** More than any behaviour makes: a driver that repeats a page must fail, not go on for ever. */
const ROWS_MAX = 10_000;

const subscription: Subscription = {
  uid: 'abcdefghijklmnopqrstuvwxyz',
  app: 'crm',
  topics: ['orders.*', 'users.>'],
  filter: { data: { amount: [{ numeric: ['>', 100.25] }, null, true], 'ünï "q"': [] }, empty: {} },
  deliver: {
    webhook: {
      url: 'https://crm.example/hooks?a=b',
      signature: 'standard',
      secrets: [{ sealed: 'x' }, { sealed: 'y', untilMs: START_MS }],
      timeoutMs: 15_000,
      body: 'data',
      headers: { 'x-a': '1' },
    },
  },
  retry: { scheduleMs: [5_000, 300_000], jitter: 0.2 },
  ordering: 'key',
  onDead: 'release',
  concurrency: 16,
  breaker: false,
  state: 'active',
  createdMs: START_MS,
  beginsMs: START_MS - 1,
  beginsPass: 0,
  pass: 0,
  bounds: { parked: 100_000, parkedBytes: 268_435_456, held: 100_000, deadLetters: 1_000_000 },
};

async function pageAll<K extends Kind>(
  directory: Directory,
  kind: K,
  limit: number,
  environment?: string,
): Promise<readonly Versioned<Kinds[K]>[]> {
  const all: Versioned<Kinds[K]>[] = [];
  for (;;) {
    const last = all.at(-1);
    const after = last && { environment: last.environment, id: last.id };
    const page = await directory.list(kind, {
      limit,
      ...(environment !== undefined && { environment }),
      ...(after && { after }),
    });
    assert.ok(page.length <= limit);
    all.push(...page);
    assert.ok(all.length < ROWS_MAX, 'paging gets on');
    if (page.length < limit) return all;
  }
}

export const versions: Behaviours<OpenedStores> = {
  'has nothing at first': async ({ directory }) => {
    assert.equal(await directory.get('app', 'default', 'shop'), undefined);
    same(await directory.list('app', { limit: 10 }), []);
    assert.equal(await directory.delete('app', 'default', 'shop'), false);
  },

  'returns what was put, with a version that grows by one': async ({ directory }) => {
    const first = await directory.put('app', 'default', 'shop', app('Shop'));
    same(first, { environment: 'default', id: 'shop', version: first.version, value: app('Shop') });
    for (let i = 1; i <= 5; i++) {
      const put = await directory.put('app', 'default', 'shop', app(`Shop ${i}`));
      same(put, { environment: 'default', id: 'shop', version: first.version + i, value: app(`Shop ${i}`) });
      same(await directory.get('app', 'default', 'shop'), put);
    }
  },

  'creates where there must be none, and refuses where there is one': async ({ directory }) => {
    const first = await directory.put('app', 'default', 'shop', app('Shop'), 'absent');
    await rejectsWith('already_exists', directory.put('app', 'default', 'shop', app('Other'), 'absent'));
    same(await directory.get('app', 'default', 'shop'), first);
  },

  'replaces the present version, and refuses another': async ({ directory }) => {
    const { version } = await directory.put('app', 'default', 'shop', app('1'));
    const second = await directory.put('app', 'default', 'shop', app('2'), version);
    for (const expect of [version, second.version + 1, 0])
      await rejectsWith('version_mismatch', directory.put('app', 'default', 'shop', app('3'), expect));
    same(await directory.get('app', 'default', 'shop'), second);
  },

  'refuses a version where there is nothing': async ({ directory }) => {
    await rejectsWith('version_mismatch', directory.put('app', 'default', 'shop', app('1'), 1));
    assert.equal(await directory.get('app', 'default', 'shop'), undefined);
  },

  'lets one of many win who create together': async ({ directory }) => {
    const puts = await Promise.allSettled(
      Array.from({ length: 10 }, (_, i) => directory.put('app', 'default', 'shop', app(`${i}`), 'absent')),
    );
    await oneWins(directory, puts, 'already_exists');
  },

  'lets one of many win who change one version together': async ({ directory }) => {
    const { version } = await directory.put('app', 'default', 'shop', app('first'));
    const puts = await Promise.allSettled(
      Array.from({ length: 10 }, (_, i) => directory.put('app', 'default', 'shop', app(`${i}`), version)),
    );
    await oneWins(directory, puts, 'version_mismatch');
  },

  'counts every change of many together': async ({ directory }) => {
    const puts = await Promise.all(Array.from({ length: 10 }, (_, i) => directory.put('app', 'default', 'shop', app(`${i}`))));
    assert.equal(new Set(puts.map(({ version }) => version)).size, 10);
    same(await directory.get('app', 'default', 'shop'), puts.toSorted((a, b) => a.version - b.version).at(-1));
  },

  'deletes what is there, once': async ({ directory }) => {
    await directory.put('app', 'default', 'shop', app('Shop'));
    assert.equal(await directory.delete('app', 'default', 'shop'), true);
    assert.equal(await directory.get('app', 'default', 'shop'), undefined);
    assert.equal(await directory.delete('app', 'default', 'shop'), false);
    await directory.put('app', 'default', 'shop', app('Again'), 'absent');
  },

  'deletes the present version, and refuses another': async ({ directory }) => {
    const { version } = await directory.put('app', 'default', 'shop', app('1'));
    const second = await directory.put('app', 'default', 'shop', app('2'));
    await rejectsWith('version_mismatch', directory.delete('app', 'default', 'shop', version));
    same(await directory.get('app', 'default', 'shop'), second);
    assert.equal(await directory.delete('app', 'default', 'shop', second.version), true);
    assert.equal(await directory.delete('app', 'default', 'shop', second.version), false);
  },

  'keeps kinds, environments and ids apart': async ({ directory }) => {
    await directory.put('app', 'default', 'x', app('default'));
    await directory.put('app', 'staging', 'x', app('staging'));
    await directory.put('topic', 'default', 'x', {
      owner: 'shop',
      retentionMs: 1,
      latency: 'bulk',
      maxBytes: 2,
      createdMs: START_MS,
    });
    assert.equal((await directory.get('app', 'staging', 'x'))?.value.name, 'staging');
    assert.equal((await directory.get('topic', 'default', 'x'))?.value.owner, 'shop');
    await directory.delete('app', 'default', 'x');
    assert.equal((await directory.get('app', 'staging', 'x'))?.version, (await directory.get('topic', 'default', 'x'))?.version);
  },

  'keeps what it was given when it is opened again': async ({ directory, reopen }, context) => {
    if (reopen === undefined) return context.skip(gap('these stores forget when they are closed'));
    await directory.put('subscription', 'default', 'x', subscription);
    const put = await directory.put('subscription', 'default', 'x', { ...subscription, state: 'paused' });
    await directory.put('app', 'default', 'gone', app('gone'));
    await directory.delete('app', 'default', 'gone');
    const { directory: again } = await reopen();
    same(await again.get('subscription', 'default', 'x'), put);
    same(await again.list('app', { limit: 10 }), []);
    assert.equal((await again.put('subscription', 'default', 'x', subscription, put.version)).version, put.version + 1);
  },

  'shows a change to every node once it is answered': async ({ directory, peer }, context) => {
    if (peer === undefined) return context.skip(gap('these stores belong to one node'));
    const other = (await peer()).directory;
    const put = await directory.put('app', 'default', 'shop', app('Shop'));
    same(await other.get('app', 'default', 'shop'), put);
    await rejectsWith('already_exists', other.put('app', 'default', 'shop', app('Shop'), 'absent'));
  },
};

export const values: Behaviours<OpenedStores> = {
  'keeps a whole resource, members nobody knows included': async ({ directory }) => {
    await directory.put('subscription', 'default', 'x', subscription);
    same((await directory.get('subscription', 'default', 'x'))?.value, subscription);
    const longer = { ...subscription, later: { member: [1, 0.1, -1e21, null] } };
    await directory.put('subscription', 'default', 'x', longer);
    same((await directory.get('subscription', 'default', 'x'))?.value, longer);
  },

  'keeps members that are named like those every object has': async ({ directory }) => {
    const filter: unknown = JSON.parse('{"__proto__": {"a": [1]}, "constructor": ["x"], "toString": []}');
    await directory.put('subscription', 'default', 'x', { ...subscription, filter });
    const got = (await directory.get('subscription', 'default', 'x'))?.value.filter;
    assert.equal(JSON.stringify(got), JSON.stringify(filter));
  },

  'keeps names that JSON writes with a backslash, whatever was read before (core/json-parse.ts says why)': async ({
    directory,
  }) => {
    for (const name of ['\\', '"', '\n', 'a"b']) {
      const filter = { data: { h: [1], [name]: [2] } };
      await directory.put('subscription', 'default', 'x', { ...subscription, filter });
      assert.deepEqual((await directory.get('subscription', 'default', 'x'))?.value.filter, filter);
    }
  },

  'keeps a value of a quarter of a megabyte': async ({ directory }) => {
    const value = app('é'.repeat(128 * 1024));
    await directory.put('app', 'default', 'shop', value);
    same((await directory.get('app', 'default', 'shop'))?.value, value);
  },

  'keeps a value as it was when it was put, whatever becomes of the object': async ({ directory }) => {
    const value: { name: string; createdMs: number } = { ...app('then') };
    const put = await directory.put('app', 'default', 'shop', value);
    value.name = 'now';
    (put.value as { name: string }).name = 'now';
    assert.equal((await directory.get('app', 'default', 'shop'))?.value.name, 'then');
  },

  'takes any id, each its own': async ({ directory }) => {
    for (const id of ODD_IDS) await directory.put('app', 'default', id, app(id), 'absent');
    for (const id of ODD_IDS) assert.equal((await directory.get('app', 'default', id))?.value.name, id);
    const listed = await pageAll(directory, 'app', 5);
    assert.deepEqual(listed.map(({ id }) => id).toSorted(), ODD_IDS.toSorted());
    for (const id of ODD_IDS) assert.equal(await directory.delete('app', 'default', id), true);
    same(await directory.list('app', { limit: 100 }), []);
  },
};

export const lists: Behaviours<OpenedStores> = {
  'lists by environment, then id, in the order of their characters': async ({ directory }) => {
    const ids = ['B', 'a', 'a-b', 'a_b', 'ab', 'b', '10', '9', 'é'];
    for (const environment of ['staging', 'default', 'Prod'])
      for (const id of ids) await directory.put('app', environment, id, app(id));
    const expected = ['Prod', 'default', 'staging'].flatMap((environment) => ids.toSorted().map((id) => [environment, id]));
    for (const limit of [1, 4, 27, 1_000])
      assert.deepEqual(
        (await pageAll(directory, 'app', limit)).map(({ environment, id }) => [environment, id]),
        expected,
      );
  },

  'lists one environment': async ({ directory }) => {
    for (const environment of ['a', 'aa', 'b'])
      for (const id of ['1', '2', '3']) await directory.put('app', environment, id, app(environment));
    for (const limit of [1, 2, 10])
      assert.deepEqual(
        (await pageAll(directory, 'app', limit, 'aa')).map(({ environment, id }) => environment + id),
        ['aa1', 'aa2', 'aa3'],
      );
    same(await directory.list('app', { environment: 'nobodys', limit: 10 }), []);
  },

  'lists one kind, with versions and values': async ({ directory }) => {
    const put = await directory.put('app', 'default', 'x', app('x'));
    await directory.put('topic', 'default', 'y', {
      owner: 'x',
      retentionMs: 1,
      latency: 'bulk',
      maxBytes: 2,
      createdMs: START_MS,
    });
    same(await directory.list('app', { limit: 10 }), [put]);
  },

  'goes on after what is gone meanwhile, or never was': async ({ directory }) => {
    for (const id of ['a', 'b', 'c']) await directory.put('app', 'default', id, app(id));
    await directory.delete('app', 'default', 'b');
    const after = { environment: 'default', id: 'b' };
    assert.deepEqual(
      (await directory.list('app', { after, limit: 10 })).map(({ id }) => id),
      ['c'],
    );
    assert.deepEqual(
      (await directory.list('app', { environment: 'default', after, limit: 10 })).map(({ id }) => id),
      ['c'],
    );
    assert.equal((await directory.list('app', { after: { environment: 'a', id: 'zzz' }, limit: 10 })).length, 2);
  },

  'lists a thousand at once': async ({ directory }) => {
    await Promise.all(Array.from({ length: 1_010 }, (_, i) => directory.put('app', 'default', `${10_000 + i}`, app(`${i}`))));
    assert.equal((await directory.list('app', { limit: 1_000 })).length, 1_000);
    assert.equal((await pageAll(directory, 'app', 1_000)).length, 1_010);
  },
};

async function oneWins(directory: Directory, puts: readonly PromiseSettledResult<Versioned<App>>[], code: string): Promise<void> {
  const won = puts.flatMap((put) => (put.status === 'fulfilled' ? [put.value] : []));
  const codes = puts.flatMap((put) => (put.status === 'rejected' ? [(put.reason as { readonly code?: unknown }).code] : []));
  assert.deepEqual([won.length, ...codes], [1, ...Array.from({ length: puts.length - 1 }, () => code)]);
  same(await directory.get('app', 'default', 'shop'), won[0]);
}
