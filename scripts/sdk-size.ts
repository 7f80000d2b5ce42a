/** What of the JavaScript SDK a page loads, minified and compressed, and the most that it may be: small is what it is for. */
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { ROOT } from './tree.ts';

interface Budget {
  readonly name: string;
  /** What is imported; nothing: all of it. */
  readonly imports?: string;
  readonly most: number;
}

export interface Size extends Budget {
  readonly minifiedBytes: number;
  readonly gzipBytes: number;
}

export const SDK = 'sdk/js/millrace.ts';
const KB = 1_024;

/**
 * What it is now and little more, so that nothing is added unseen. Issue 5 hoped for 3.5 KB and 7 KB. A client that resumes, acks, refreshes, drains
 * and publishes with retries takes more: the conversation alone is 1.7 KB, publishing alone 1.7 KB, a receiver 2.2 KB.
 */
export const BUDGETS: readonly Budget[] = [
  { name: 'connect + ws', imports: 'connect, ws', most: 6 * KB },
  { name: 'verify', imports: 'verify', most: 0.8 * KB },
  { name: 'everything', most: 10.5 * KB },
];

export async function sizeOf(budget: Budget): Promise<Size> {
  const what = budget.imports === undefined ? '*' : `{ ${budget.imports} }`;
  const { outputFiles } = await build({
    stdin: { contents: `export ${what} from './${SDK}';`, resolveDir: ROOT },
    bundle: true,
    minify: true,
    write: false,
    format: 'esm',
    logLevel: 'silent',
    target: 'es2022',
    platform: 'neutral', // an import of anything that is not there fails
  });
  const code = outputFiles[0]?.contents ?? new Uint8Array(0);
  return { ...budget, minifiedBytes: code.length, gzipBytes: gzipSync(code, { level: 9 }).length };
}

/** Says all of them, as they are worth knowing before they are too many, and returns those that are. */
export async function sizeBreaches(): Promise<readonly string[]> {
  const sizes = await Promise.all(BUDGETS.map(sizeOf));
  for (const size of sizes) console.log(`  ${lineOf(size)}`);
  return tooMany(sizes);
}

export function tooMany(sizes: readonly Size[]): string[] {
  return sizes.filter(({ gzipBytes, most }) => gzipBytes > most).map(lineOf);
}

function lineOf({ name, gzipBytes, minifiedBytes, most }: Size): string {
  const verdict = gzipBytes > most ? `: ${Math.ceil(gzipBytes - most)} too many` : '';
  return `${name}: ${gzipBytes} of ${Math.floor(most)} bytes compressed, ${minifiedBytes} minified${verdict}`;
}

if (import.meta.main) {
  for (const imports of process.argv.slice(2))
    console.log(`  ${lineOf(await sizeOf({ name: imports, imports, most: Infinity }))}`);
  process.exitCode = (await sizeBreaches()).length === 0 ? 0 : 1;
}
