/**
 * Files that are written by a program and committed all the same, because people read them or others fetch them.
 * `npm run check` fails when one is not what its generator makes now; `node scripts/generated.ts --write` writes them.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './tree.ts';

export interface Generator {
  /** The file it makes, from the root of the repository. */
  readonly file: string;
  /** What it is made from, for people. */
  readonly from: string;
  readonly render: () => string | Promise<string>;
}

/** A new generated file is one entry here. */
export const GENERATORS: readonly Generator[] = [];

export async function staleFiles(root = ROOT, generators = GENERATORS): Promise<string[]> {
  const stale: string[] = [];
  for (const { file, from, render } of generators) {
    if (textOf(join(root, file)) !== (await render())) {
      stale.push(`${file} is not what ${from} makes now: node scripts/generated.ts --write`);
    }
  }
  return stale;
}

export async function writeFiles(root = ROOT, generators = GENERATORS): Promise<void> {
  for (const { file, render } of generators) writeFileSync(join(root, file), await render());
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined; // not written yet: as stale as can be
  }
}

if (import.meta.main) {
  if (process.argv.includes('--write')) await writeFiles();
  const stale = await staleFiles();
  for (const line of stale) console.log(line);
  process.exitCode = stale.length === 0 ? 0 : 1;
}
