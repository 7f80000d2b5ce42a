/** The secret that `listen` signs with: in the project's directory, readable by its owner alone. */
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { newSecret, parseSecret } from '@millrace/core/signatures';
import type { Call } from './cli.ts';
import { EXIT } from './exit-codes.ts';
import { Refusal } from './refusal.ts';

const SECRET_FILE = 'listen-secret';

/** One per project, made at the first call and shown that once: receivers keep it in their configuration. */
export function secretOf({ settings, terminal, world }: Call<readonly unknown[], object>): string {
  const path = join(settings().data, SECRET_FILE);
  const shown = relative(world.directory, path);
  if (existsSync(path)) {
    const secret = readFileSync(path, 'utf8').trim();
    checkSecret(secret, shown);
    terminal.hint(`Signed with the secret in ${shown}`);
    return secret;
  }
  const secret = newSecret();
  const isNew = mkdirSync(settings().data, { recursive: true, mode: 0o700 }) !== undefined;
  // Secrets are not for version control.
  if (isNew) writeFileSync(join(settings().data, '.gitignore'), '*\n');
  writeFileSync(path, `${secret}\n`, { mode: 0o600, flag: 'wx' });
  chmodSync(path, 0o600);
  terminal.record({ kind: 'secret', secret });
  terminal.warn(`Signing secret  ${secret}  (made now and shown this once; kept in ${shown})`);
  return secret;
}

function checkSecret(secret: string, path: string): void {
  try {
    parseSecret(secret);
  } catch (error) {
    throw new Refusal(EXIT.invalid, `${path} holds no secret: ${(error as Error).message}`, {
      advice: 'Remove the file: a new secret is made.',
    });
  }
}
