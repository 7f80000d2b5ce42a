/** The first file of a worker thread: the gateway of one node, on the drivers there are. */
import { enableCompileCache } from 'node:module';

// A thread has no part in what the main thread keeps of compiled code; before anything else is loaded, as there.
enableCompileCache();
const [{ openStore }, { runWorker }] = await Promise.all([import('./main.ts'), import('./workers/run.ts')]);
await runWorker(openStore);
