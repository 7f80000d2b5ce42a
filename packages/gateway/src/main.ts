/** The process: `millrace start`. The only file that knows which drivers there are. */
import { enableCompileCache } from 'node:module';

// Before anything else is loaded: what was stripped of its types and compiled is kept, which halves the next start.
enableCompileCache();
const { run } = await import('./run.ts');

await run(process.argv.slice(2), {
  openStore: async (options) => {
    const { openEmbedded } = await import('@millrace/embedded');
    return openEmbedded(options);
  },
});
