/** The process: `millrace start`. The only file that knows which drivers there are. */
import { openEmbedded } from '@millrace/embedded';
import { run } from './run.ts';

await run(process.argv.slice(2), { openStore: openEmbedded });
