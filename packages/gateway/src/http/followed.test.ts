/** What is kept in memory of the directory is found by the name it is kept under, and where the directory has it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMemoryDirectory } from '@millrace/memory/directory';
import { settle } from '../../test/clock.ts';
import type { Key } from '../ports/directory.ts';
import type { Tokens } from '../tokens/tokens.ts';
import { createAccess } from './access.ts';
import { follow } from './followed.ts';

const keyOf = (hash: string, expiresMs?: number): Key => ({
  app: 'shop',
  hash,
  prefix: 'mr_x',
  scopes: ['subscribe'],
  createdMs: 0,
  ...(expiresMs === undefined ? {} : { expiresMs }),
});

test('a resource is found by its place, whatever it is called by, until it is gone', async (t) => {
  const directory = createMemoryDirectory();
  await directory.put('key', 'default', 'key_1', keyOf('a'));
  const keys = await follow(directory, 'key', ({ hash }) => hash);
  t.after(keys.stop);
  const [here, elsewhere] = [
    { environment: 'default', id: 'key_1' },
    { environment: 'staging', id: 'key_1' },
  ];
  assert.equal(keys.at(here)?.value.hash, 'a');
  assert.equal(keys.at(elsewhere), undefined);
  await directory.put('key', 'default', 'key_1', keyOf('b'));
  await settle();
  assert.deepEqual([keys.at(here)?.value.hash, keys.get('a'), keys.get('b')?.id], ['b', undefined, 'key_1']);
  await directory.delete('key', 'default', 'key_1');
  await settle();
  assert.equal(keys.at(here), undefined);
});

test('a caller ends with its own key, also where one of another environment has its id', async (t) => {
  const directory = createMemoryDirectory();
  await directory.put('key', 'default', 'key_1', keyOf('a', 1_000));
  await directory.put('key', 'staging', 'key_1', keyOf('b', 2_000));
  await directory.put('key', 'staging', 'key_2', keyOf('c'));
  const clock = { now: () => 0, monotonic: () => 0, random: () => 0, after: () => ({ cancel: () => undefined }) };
  // Nobody comes with a token.
  const access = await createAccess({ directory, clock, tokens: {} as Tokens });
  t.after(access.stop);
  const endOf = (environment: string, key: string) =>
    access.keyExpiresMs({ environment, key, app: 'shop', scopes: [], admin: false });
  assert.deepEqual([endOf('default', 'key_1'), endOf('staging', 'key_1')], [1_000, 2_000]);
  assert.deepEqual([endOf('staging', 'key_2'), endOf('default', 'key_2')], [undefined, undefined]);
});
