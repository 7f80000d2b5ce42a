/**
 * `npm run sdk [-- --out folder]`: the JavaScript SDK as one ESM file and its types, for projects that take no TypeScript from elsewhere. The script is,
 * byte for byte, the one that a gateway of this version serves at `/sdk/millrace.js`.
 */
import { execFile } from 'node:child_process';
import { hash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { buildSdk, SDK_SOURCE } from '../packages/gateway/src/sdk/build.ts';
import { integrityOf } from '../packages/gateway/src/sdk/manifest.ts';
import { ROOT } from './tree.ts';

export interface BuiltSdk {
  /** Of `millrace.js` and `millrace.d.ts`. */
  readonly files: readonly string[];
  readonly integrity: string;
}

/** Writes both files into the folder, which is made where it is not there. */
export async function writeSdk(folder: string): Promise<BuiltSdk> {
  const script = join(folder, 'millrace.js');
  const code = await buildSdk(SDK_SOURCE);
  await mkdir(folder, { recursive: true });
  await writeFile(script, code);
  await declare(folder);
  return { files: [script, join(folder, 'millrace.d.ts')], integrity: integrityOf({ sha384: hash('sha384', code, 'base64') }) };
}

/** By the compiler: what it says of an export is what an editor says. */
async function declare(folder: string): Promise<void> {
  const options = [
    '--noEmit',
    'false',
    '--declaration',
    '--emitDeclarationOnly',
    '--removeComments',
    'false',
    '--outDir',
    folder,
  ];
  const tsc = join(ROOT, 'node_modules', '.bin', 'tsc');
  await promisify(execFile)(tsc, ['-p', join(ROOT, 'sdk', 'js'), ...options], { cwd: ROOT });
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { out: { type: 'string', default: 'dist/sdk/js' } } });
  const { files, integrity } = await writeSdk(resolve(values.out));
  for (const file of files) console.log(`${file}  ${(await readFile(file)).length} bytes`);
  console.log(`integrity="${integrity}"`);
}
