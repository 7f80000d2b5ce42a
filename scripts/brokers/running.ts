/** Which servers `npm run brokers -- up` has started: one small file each, so that another shell can stop them. */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { isAlive } from './servers.ts';

export interface Running {
  readonly pid: number;
  readonly port: number;
  readonly url: string;
}

/** Where built servers, their data and these files are kept. */
export function cacheDirectory(env: Readonly<Record<string, string | undefined>> = process.env): string {
  return env['MILLRACE_CACHE'] ?? join(homedir(), '.cache', 'millrace');
}

/** Undefined where none was started, or where it has ended since. */
export function readRunning(cache: string, name: string): Running | undefined {
  try {
    const running = JSON.parse(readFileSync(fileOf(cache, name), 'utf8')) as Running;
    return isAlive(running.pid) ? running : undefined;
  } catch {
    // Not there, or cut short by a full disk: either way nothing is known of a server.
    return undefined;
  }
}

export function writeRunning(cache: string, name: string, { pid, port, url }: Running): void {
  const path = fileOf(cache, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(`${path}.new`, `${JSON.stringify({ pid, port, url })}\n`);
  renameSync(`${path}.new`, path);
}

export function forgetRunning(cache: string, name: string): void {
  rmSync(fileOf(cache, name), { force: true });
}

function fileOf(cache: string, name: string): string {
  return join(cache, 'brokers', `${name}.json`);
}
