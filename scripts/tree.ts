/** The files of the repository, as paths from its root with `/`. Needs no git: .ci/run may run where there is none. */
import { readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';

export const ROOT = resolve(import.meta.dirname, '..');

/** What .gitignore names; nothing in there is ours. */
const NOT_OURS = new Set(['node_modules', '.git', 'dist', '.millrace', 'coverage']);

export function filesIn(root: string, folder = ''): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true })
    .filter(({ name }) => !NOT_OURS.has(name))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory()) return filesIn(root, path);
      return entry.isFile() ? [path] : [];
    });
}

/** A test file, or what only tests and measurements use. */
export function isForTests(file: string): boolean {
  return /\.test\.[jt]s$|(^|\/)(test|bench|examples)\//.test(file);
}
