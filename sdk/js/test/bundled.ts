/** The SDK as a page would load it: one script, compiled for what the oldest runtimes understand. */
import { build, type Format } from 'esbuild';

export async function bundled(format: Format): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [new URL('../millrace.ts', import.meta.url).pathname],
    bundle: true,
    write: false,
    format,
    globalName: 'millrace',
    target: 'es2022',
    platform: 'neutral',
  });
  return outputFiles[0]?.text ?? '';
}
