/**
 * Two files beside the data, readable by their owner alone: the key that seals secrets, and the admin key of the first start. Nothing
 * of them is in the database; who has one without the other has nothing.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Problem } from '@millrace/core/problem';
import { allOf } from './all-of.ts';
import { keyOf, makeKey } from './http/access.ts';
import { ADMIN_KEY_FILE } from './options.ts';
import type { Clock } from './ports/clock.ts';
import type { Directory } from './ports/directory.ts';
import { keyIdOf, VAULT_KEY_BYTES } from './vault.ts';

export const SECRET_KEY_FILE = 'secret.key';

/** In the environment instead of a file: one key, or the new one and former ones with commas between them. */
export const SECRET_KEY_VARIABLE = 'MILLRACE_SECRET_KEY';

/** The keys that seal secrets, newest first. */
export type SecretKeys = readonly [Uint8Array, ...Uint8Array[]];

/** The data directory must be ours already: two processes would make two keys. */
export async function secretKeysOf(data: string, directory: Directory, fromEnvironment?: string): Promise<SecretKeys> {
  if (fromEnvironment !== undefined && fromEnvironment !== '') return readKeys(fromEnvironment.split(','), SECRET_KEY_VARIABLE);
  const path = join(data, SECRET_KEY_FILE);
  const text = readIfThere(path);
  if (text !== undefined) return readKeys(text.trim().split('\n'), path);
  const whose = await whoseSecrets(directory);
  if (whose !== undefined) {
    throw new Problem('invalid_secret', `${path} is missing, and the secrets of the ${whose} here can not be read without it`, {
      advice: `Put the ${SECRET_KEY_FILE} that belongs to this directory back (or set ${SECRET_KEY_VARIABLE}), or start with another directory.`,
    });
  }
  const key = randomBytes(VAULT_KEY_BYTES);
  writePrivate(path, key.toString('base64'));
  return [key];
}

/** What has a sealed secret, if anything has: every subscription, and of the keys those that sign. */
async function whoseSecrets(directory: Directory): Promise<string | undefined> {
  if ((await directory.list('subscription', { limit: 1 })).length > 0) return 'subscriptions';
  for await (const { value } of allOf(directory, 'key')) if (value.sealed !== undefined) return 'keys that sign';
  return undefined;
}

function readKeys(texts: readonly string[], where: string): SecretKeys {
  const [first, ...former] = texts.map((text) => Buffer.from(text.trim(), 'base64'));
  if (first !== undefined && [first, ...former].every((key) => key.length === VAULT_KEY_BYTES)) return [first, ...former];
  throw new Problem('invalid_secret', `${where} does not hold ${VAULT_KEY_BYTES} bytes in base64 (per line, or between commas)`, {
    advice: 'Put the key that belongs to this directory back.',
  });
}

/**
 * Puts a new key before the present one; the next start seals everything with it and then forgets the former. Throws where
 * there is no file: then the key is in the environment, or there is none yet. Gives the ids of the new and the former key.
 */
export function addSecretKey(data: string): { readonly keyId: string; readonly formerKeyId: string } {
  const path = join(data, SECRET_KEY_FILE);
  const text = readIfThere(path);
  if (text === undefined)
    throw new Problem('not_found', `there is no ${path}`, {
      advice: `With ${SECRET_KEY_VARIABLE} put the new key before the present one, with a comma between them.`,
    });
  const [present] = readKeys(text.trim().split('\n'), path);
  const key = randomBytes(VAULT_KEY_BYTES);
  writePrivate(
    path,
    [key, ...readKeys(text.trim().split('\n'), path)].map((one) => Buffer.from(one).toString('base64')).join('\n'),
  );
  return { keyId: keyIdOf(key), formerKeyId: keyIdOf(present) };
}

/** Nothing is sealed with former keys any more. */
export function forgetFormerKeys(data: string, [key]: SecretKeys): void {
  const path = join(data, SECRET_KEY_FILE);
  if (readIfThere(path) !== undefined) writePrivate(path, Buffer.from(key).toString('base64'));
}

/**
 * The admin key of the first start, the same at every start. Undefined where there is none to show: somebody has removed
 * the file, or deleted this key, while another admin key exists.
 */
export async function adminKeyOf(
  data: string,
  { directory, clock, environment, app }: { directory: Directory; clock: Clock; environment: string; app: string },
): Promise<string | undefined> {
  const path = join(data, ADMIN_KEY_FILE);
  const keys = await directory.list('key', { environment, limit: 1_000 });
  const kept = readIfThere(path)?.trim();
  const nowMs = clock.now();
  if (kept !== undefined && keys.some(({ value }) => value.hash === keyOf(kept, { app, scopes: [], nowMs }).hash)) return kept;
  if (keys.some(({ value }) => value.scopes.includes('admin'))) return undefined;
  const { id, value, text } = makeKey({ app, scopes: ['admin'], nowMs });
  // The file first: a key whose text nobody has is of no use.
  writePrivate(path, text);
  await directory.put('key', environment, id, value, 'absent');
  return text;
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as { readonly code?: unknown }).code === 'ENOENT') return undefined;
    throw error;
  }
}

/**
 * Whole or not at all, whenever the process ends; and on the disk when this returns, its name included: after a power loss the
 * file before it would not open what was sealed since.
 */
function writePrivate(path: string, text: string): void {
  const file = openSync(`${path}.new`, 'w', 0o600);
  try {
    writeSync(file, `${text}\n`);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(`${path}.new`, path);
  const directory = openSync(dirname(path), 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}
