/** The SDK as a page would load it: one script, compiled for what the oldest runtimes understand. */
import { build, type Format } from 'esbuild';

/** All of it, or what is named of it. */
export async function bundled(format: Format, imports?: string): Promise<string> {
  const what = imports === undefined ? '*' : `{ ${imports} }`;
  const { outputFiles } = await build({
    stdin: { contents: `export ${what} from './millrace.ts';`, resolveDir: new URL('..', import.meta.url).pathname },
    bundle: true,
    write: false,
    format,
    globalName: 'millrace',
    target: 'es2022',
    platform: 'neutral',
  });
  return outputFiles[0]?.text ?? '';
}
