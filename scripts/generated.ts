/**
 * Files that are written by a program and committed all the same, because people read them or others fetch them.
 * `npm run check` fails when one is not what its generator makes now; `npx node scripts/generated.ts --write` writes them.
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

const ROUTES = 'packages/gateway/src/http';

/** A new generated file is one entry here. */
export const GENERATORS: readonly Generator[] = [
  { file: 'spec/openapi.json', from: ROUTES, render: async () => `${JSON.stringify(await openApi(), undefined, 2)}\n` },
  {
    file: 'docs/api.md',
    from: ROUTES,
    async render() {
      const { pageOf } = await import('@millrace/gateway/http/openapi/page');
      return pageOf((await openApi()) as Parameters<typeof pageOf>[0]);
    },
  },
  {
    file: 'README.md',
    from: 'packages/conformance and the gaps of the drivers',
    async render() {
      const { withTables } = await import('./conformance-table.ts');
      return withTables(readFileSync(join(ROOT, 'README.md'), 'utf8'));
    },
  },
];

let document: Promise<unknown> | undefined;

/** Made once for all that is made from it. */
function openApi(): Promise<unknown> {
  return (document ??= servedDocument());
}

/** What a gateway with all its routes and the default limits serves. Imported late: the other parts of check do not wait for it. */
async function servedDocument(): Promise<unknown> {
  const { createApp } = await import('@millrace/gateway/http/app');
  const { systemClock } = await import('@millrace/gateway/system-clock');
  const { createMemoryDirectory } = await import('@millrace/memory/directory');
  const { createVault, VAULT_KEY_BYTES } = await import('@millrace/gateway/vault');
  const { version } = JSON.parse(readFileSync(join(ROOT, 'packages/gateway/package.json'), 'utf8')) as {
    readonly version: string;
  };
  // One question is asked, and it is about the routes alone.
  const unasked = {} as never;
  const app = await createApp({
    gateway: unasked,
    ledger: unasked,
    // A new directory gets keys for tokens, whose private parts are sealed.
    vault: createVault(new Uint8Array(VAULT_KEY_BYTES)),
    directory: createMemoryDirectory(),
    clock: systemClock,
    version,
    isReady: () => true,
    metrics: { contentType: 'text/plain', text: async () => '', isPublic: false },
  });
  try {
    return JSON.parse((await app.inject('/openapi.json')).payload);
  } finally {
    await app.close();
  }
}

export async function staleFiles(root = ROOT, generators = GENERATORS): Promise<string[]> {
  const stale: string[] = [];
  for (const { file, from, render } of generators) {
    if (textOf(join(root, file)) !== (await render())) {
      stale.push(`${file} is not what ${from} makes now: npx node scripts/generated.ts --write`);
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
