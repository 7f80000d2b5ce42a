/**
 * The JavaScript that is served, made from the one file of the SDK: types gone, minified, for what `sdk/js/tsconfig.json` is compiled for. Nothing
 * generated is in the repository, so it is made where it is first asked for: some 40 ms, once.
 */
import { readFile } from 'node:fs/promises';

/**
 * Beside the packages, and none of them: it is a file that people copy, and knows nothing of npm. So it is found by where it stands
 * in the tree; whoever packs the gateway puts it there as well.
 */
export const SDK_SOURCE = new URL('../../../../sdk/js/millrace.ts', import.meta.url);

/** One after the other: esbuild is one process of all of this thread, and who ends it leaves the others without an answer. */
let last: Promise<unknown> = Promise.resolve();

export function buildSdk(source: URL): Promise<string> {
  const built = last.then(() => build(source));
  last = built.catch(() => undefined);
  return built;
}

async function build(source: URL): Promise<string> {
  const text = await readFile(source, 'utf8');
  // Loaded late: most processes are never asked.
  const { stop, transform } = await import('esbuild');
  try {
    const { code } = await transform(text, {
      loader: 'ts',
      format: 'esm',
      target: 'es2022',
      minify: true,
      charset: 'utf8',
      legalComments: 'none',
    });
    return code;
  } finally {
    // Else it stays, with some 20 MB, and waits for more.
    await stop();
  }
}
