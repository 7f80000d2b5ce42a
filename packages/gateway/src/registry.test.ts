/** The registry: what the directory holds, followed without gaps and without going back. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { createMemoryDirectory } from '@millrace/memory/directory';
import { settle, TOPIC } from '../test/clock.ts';
import type { Change, Directory, Subscription, Versioned } from './ports/directory.ts';
import { createRegistry } from './registry.ts';

async function made(t: TestContext, directory: Directory = createMemoryDirectory()) {
  const changes: string[] = [];
  const registry = createRegistry({
    directory,
    onChange: ({ kind, id, now }, before) => void changes.push(`${kind} ${id} ${before?.version ?? '-'}>${now?.version ?? '-'}`),
  });
  t.after(() => registry.stop());
  return { directory, registry, changes };
}

const app = (name: string) => ({ name, createdMs: 0 });

test('what was there before is known, also beyond one page, without being told as a change', async (t) => {
  const { directory, registry, changes } = await made(t);
  for (let at = 0; at < 1_100; at++) await directory.put('app', at % 2 === 0 ? 'default' : 'staging', `a${at}`, app(`${at}`));
  await settle();
  await registry.start();
  for (const at of [0, 1, 498, 499, 500, 501, 1_098, 1_099]) {
    assert.equal(registry.app(at % 2 === 0 ? 'default' : 'staging', `a${at}`)?.name, `${at}`);
  }
  assert.equal(registry.app('staging', 'a0'), undefined);
  assert.deepEqual(changes, []);
});

test('changes are followed and told once each, with what was known before', async (t) => {
  const { directory, registry, changes } = await made(t);
  await registry.start();
  await directory.put('topic', 'default', 't', TOPIC);
  await directory.put('topic', 'default', 't', { ...TOPIC, owner: 'crm' });
  await settle();
  assert.equal(registry.topic('default', 't')?.owner, 'crm');
  await directory.delete('topic', 'default', 't');
  await settle();
  assert.equal(registry.topic('default', 't'), undefined);
  assert.deepEqual(changes, ['topic t ->1', 'topic t 1>2', 'topic t 2>-']);
});

test('a change that is told before the watch brings it counts once, and an older one not at all', async (t) => {
  const { registry, changes } = await made(t);
  await registry.start();
  for (const version of [2, 1, 2]) {
    const now = { environment: 'default', id: 'a', version, value: app(`${version}`) };
    registry.tell({ kind: 'app', environment: 'default', id: 'a', now });
  }
  assert.deepEqual(changes, ['app a ->2']);
  assert.equal(registry.app('default', 'a')?.name, '2');
});

test('what is made anew under one name counts although its versions begin again', async (t) => {
  const { registry, changes } = await made(t);
  await registry.start();
  const subscription = (uid: string, version: number): Versioned<Subscription> => ({
    environment: 'default',
    id: 's',
    version,
    value: { uid } as Subscription,
  });
  for (const now of [subscription('one', 3), subscription('two', 1)]) {
    registry.tell({ kind: 'subscription', environment: 'default', id: 's', now });
  }
  assert.equal(registry.subscription('default', 's')?.value.uid, 'two');
  assert.deepEqual(changes, ['subscription s ->3', 'subscription s 3>1']);
});

test('a deletion that is told before the watch brings it does not end what was made anew meanwhile', async (t) => {
  const memory = createMemoryDirectory();
  let listener: (change: Change) => void = () => undefined;
  const directory: Directory = { ...memory, watch: (given) => ((listener = given), () => undefined) };
  const { registry, changes } = await made(t, directory);
  await registry.start();
  const at = { kind: 'subscription', environment: 'default', id: 's' } as const;
  const subscription = (uid: string): Change => ({
    ...at,
    now: { environment: 'default', id: 's', version: 1, value: { uid } as Subscription },
  });
  for (const change of [subscription('one'), at, subscription('two')]) registry.tell(change);
  for (const change of [subscription('one'), at, subscription('two')]) listener(change);
  assert.equal(registry.subscription('default', 's')?.value.uid, 'two');
  assert.deepEqual(changes, ['subscription s ->1', 'subscription s 1>-', 'subscription s ->1']);
  // Another node's deletion counts.
  listener(at);
  assert.equal(registry.subscription('default', 's'), undefined);
  // Told by the watch first, it is no news to be told again, and leaves nothing behind.
  listener(subscription('three'));
  listener(at);
  registry.tell(at);
  listener(subscription('four'));
  assert.equal(registry.subscription('default', 's')?.value.uid, 'four');
});

test('what changes or goes while the lists are read is not brought back by an older page', async (t) => {
  const memory = createMemoryDirectory();
  for (const id of ['changed', 'gone']) await memory.put('app', 'default', id, app('old'));
  const directory: Directory = {
    ...memory,
    async list(kind, query) {
      const page = await memory.list(kind, query);
      if (kind === 'app' && query.after === undefined) {
        await memory.put('app', 'default', 'changed', app('new'));
        await memory.delete('app', 'default', 'gone');
        await settle();
      }
      return page;
    },
  };
  const { registry } = await made(t, directory);
  await registry.start();
  assert.equal(registry.app('default', 'changed')?.name, 'new');
  assert.equal(registry.app('default', 'gone'), undefined);
});

test('stopped, it follows no more', async (t) => {
  const { directory, registry, changes } = await made(t);
  await registry.start();
  registry.stop();
  await directory.put('app', 'default', 'a', app('1'));
  await settle();
  assert.deepEqual(changes, []);
});
