/** The first file of a worker thread: the gateway of one node, on the drivers there are. */
import { openStore } from './main.ts';
import { runWorker } from './workers/run.ts';

await runWorker(openStore);
