/**
 * Two files beside the data, readable by their owner alone: the key that seals secrets, and the development key. Nothing
 * of them is in the database; who has one without the other has nothing.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { Problem } from '@millrace/core/problem';
import { keyOf, makeKey } from './http/access.ts';
import type { Clock } from './ports/clock.ts';
import type { Directory } from './ports/directory.ts';
import { VAULT_KEY_BYTES } from './vault.ts';

export const SECRET_KEY_FILE = 'secret.key';
export const DEV_KEY_FILE = 'dev-key';

/** The data directory must be ours already: two processes would make two keys. */
export async function secretKeyOf(data: string, directory: Directory): Promise<Uint8Array> {
  const path = join(data, SECRET_KEY_FILE);
  const text = readIfThere(path);
  if (text !== undefined) return readSecretKey(text, path);
  // Every subscription has a sealed secret.
  if ((await directory.list('subscription', { limit: 1 })).length > 0) {
    throw new Problem(
      'invalid_secret',
      `${path} is missing, and the secrets of the subscriptions here can not be read without it`,
      {
        advice: `Put the ${SECRET_KEY_FILE} that belongs to this directory back, or start with another directory.`,
      },
    );
  }
  const key = randomBytes(VAULT_KEY_BYTES);
  writePrivate(path, key.toString('base64'));
  return key;
}

function readSecretKey(text: string, path: string): Uint8Array {
  const key = Buffer.from(text.trim(), 'base64');
  if (key.length === VAULT_KEY_BYTES) return key;
  throw new Problem('invalid_secret', `${path} does not hold ${VAULT_KEY_BYTES} bytes in base64`, {
    advice: 'Put the file that belongs to this directory back.',
  });
}

/**
 * The admin key of the first start, the same at every start. Undefined where there is none to show: somebody has removed
 * the file, or deleted this key, while another admin key exists.
 */
export async function devKeyOf(
  data: string,
  { directory, clock, environment, app }: { directory: Directory; clock: Clock; environment: string; app: string },
): Promise<string | undefined> {
  const path = join(data, DEV_KEY_FILE);
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

/** Whole or not at all, whenever the process ends. */
function writePrivate(path: string, text: string): void {
  const file = openSync(`${path}.new`, 'w', 0o600);
  writeSync(file, `${text}\n`);
  fsyncSync(file);
  closeSync(file);
  renameSync(`${path}.new`, path);
}
