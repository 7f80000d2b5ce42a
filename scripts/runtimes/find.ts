/**
 * How a test gets a runtime: nothing is downloaded here. Where it isn't there, the test is skipped with a reason that names the command.
 *
 *   const { path, skip } = findRuntime(deno);
 */
import { cacheDirectory } from '../brokers/running.ts';
import type { Runtime } from './runtime.ts';

export type FoundRuntime = { readonly path: string; readonly skip: false } | { readonly path: ''; readonly skip: string };

export function findRuntime({ name, find }: Pick<Runtime, 'name' | 'find'>, cache = cacheDirectory()): FoundRuntime {
  const path = find(cache);
  return path === undefined
    ? { path: '', skip: `there is no ${name} here: npm run runtimes -- up ${name}` }
    : { path, skip: false };
}
