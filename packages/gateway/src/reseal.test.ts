/** Secrets after a new key: sealed with it, readable, and the former key is needed no more. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { createMemoryDirectory } from '@millrace/memory/directory';
import { addSecretKey, forgetFormerKeys, SECRET_KEY_FILE, secretKeysOf } from './key-files.ts';
import type { Subscription, Webhook } from './ports/directory.ts';
import { reseal, sealCredentials } from './reseal.ts';
import { createVault, keyIdOf } from './vault.ts';

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'millrace-keys-'));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

const webhook = (...secrets: { sealed: string; untilMs?: number }[]) =>
  ({ deliver: { webhook: { secrets, headers: {} } }, createdMs: 1 }) as unknown as Subscription;

test('everything is sealed with the new key; done again it does nothing', async () => {
  const [older, newer] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)];
  const directory = createMemoryDirectory();
  const before = createVault(older);
  await directory.put(
    'subscription',
    'e',
    'a',
    webhook({ sealed: before.seal('one') }, { sealed: before.seal('two'), untilMs: 5 }),
  );
  await directory.put('answer', 'e', 'b', { digest: '', status: 200, headers: {}, sealed: before.seal('three'), createdMs: 1 });
  const signing = { app: 'shop', hash: 'h', prefix: 'mrs_aaaaaaaa', scopes: ['publish'], createdMs: 1 } as const;
  await directory.put('key', 'e', 'c', { ...signing, sealed: before.seal('four') });
  await directory.put('key', 'e', 'd', { ...signing, prefix: 'mr_bbbbbbbb' });
  assert.equal(await reseal(directory, createVault(newer, older)), 3);
  assert.equal(await reseal(directory, createVault(newer, older)), 0);
  const after = createVault(newer);
  const { secrets } = (await directory.get('subscription', 'e', 'a'))?.value.deliver.webhook ?? { secrets: [] };
  assert.deepEqual(
    secrets.map(({ sealed, untilMs }) => [after.open(sealed), untilMs]),
    [
      ['one', undefined],
      ['two', 5],
    ],
  );
  assert.equal(after.open((await directory.get('answer', 'e', 'b'))?.value.sealed ?? ''), 'three');
  assert.equal(after.open((await directory.get('key', 'e', 'c'))?.value.sealed ?? ''), 'four');
  assert.throws(() => before.open(secrets[0]?.sealed ?? ''), { code: 'invalid_secret' });
});

test('credentials in headers are sealed anew as secrets are, and those that an earlier version left readable are sealed', async () => {
  const [older, newer] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)];
  const directory = createMemoryDirectory();
  const before = createVault(older);
  const both = createVault(newer, older);
  const headersOf = async () => {
    const { headers, sealedHeaders } = (await directory.get('subscription', 'e', 'a'))?.value.deliver.webhook ?? {};
    return { headers, sealedHeaders };
  };
  const own = {
    url: 'https://crm.example/',
    headers: { authorization: 'Bearer a', 'x-team': 'crm' },
    sealedHeaders: { 'x-token': before.seal('b') },
  };
  const value = webhook({ sealed: before.seal('one') });
  await directory.put('subscription', 'e', 'a', {
    ...value,
    deliver: { webhook: { ...(value.deliver.webhook as Webhook), ...own } },
  });
  assert.equal(await sealCredentials(directory, before), 1);
  assert.equal(await sealCredentials(directory, before), 0);
  assert.deepEqual((await headersOf()).headers, { 'x-team': 'crm' });
  assert.equal(await reseal(directory, both), 1);
  assert.equal(await reseal(directory, both), 0);
  const { headers, sealedHeaders = {} } = await headersOf();
  assert.deepEqual(headers, { 'x-team': 'crm' });
  const after = createVault(newer);
  assert.deepEqual(
    Object.entries(sealedHeaders)
      .map(([name, sealed]) => [name, after.open(sealed)])
      .toSorted(([a = ''], [b = '']) => (a < b ? -1 : 1)),
    [
      ['authorization', 'Bearer a'],
      ['x-token', 'b'],
    ],
  );
});

test('a new key stands before the former in the file of its owner, until that is forgotten', async (t) => {
  const data = folder(t);
  const directory = createMemoryDirectory();
  assert.throws(() => addSecretKey(data), { code: 'not_found' });
  const [first] = await secretKeysOf(data, directory);
  const { keyId, formerKeyId } = addSecretKey(data);
  const both = await secretKeysOf(data, directory);
  assert.deepEqual(both.map(keyIdOf), [keyId, formerKeyId]);
  assert.equal(formerKeyId, keyIdOf(first));
  assert.equal(statSync(join(data, SECRET_KEY_FILE)).mode & 0o777, 0o600);
  forgetFormerKeys(data, both);
  assert.deepEqual((await secretKeysOf(data, directory)).map(keyIdOf), [keyId]);
});

test('the environment goes before the file, and a missing or damaged key is said as it is', async (t) => {
  const data = folder(t);
  const directory = createMemoryDirectory();
  const text = Buffer.alloc(32, 7).toString('base64');
  assert.deepEqual((await secretKeysOf(data, directory, `${text},${Buffer.alloc(32, 8).toString('base64')}`)).length, 2);
  await assert.rejects(secretKeysOf(data, directory, 'short'), /MILLRACE_SECRET_KEY/);
  await directory.put('subscription', 'e', 'a', webhook());
  await assert.rejects(secretKeysOf(data, directory), /is missing, and the secrets of the subscriptions/);
  await directory.delete('subscription', 'e', 'a');
  const key = { app: 'shop', hash: 'h', prefix: 'mrs_aaaaaaaa', scopes: ['publish'], sealed: 'x', createdMs: 1 } as const;
  await directory.put('key', 'e', 'b', key);
  await assert.rejects(secretKeysOf(data, directory), /is missing, and the secrets of the keys that sign/);
  writeFileSync(join(data, SECRET_KEY_FILE), 'nonsense');
  await assert.rejects(secretKeysOf(data, directory), /does not hold 32 bytes/);
  assert.equal(readFileSync(join(data, SECRET_KEY_FILE), 'utf8'), 'nonsense');
});
