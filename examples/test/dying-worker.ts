/** `node dying-worker.ts inbox.db`: claims, begins to work, and never ends: somebody kills it. */
import { openSqliteInbox } from '../1-express-receiver/inbox-sqlite.ts';
import { startWorker } from '../1-express-receiver/worker.ts';

const WORK_MS = 1_000;

startWorker({
  inbox: openSqliteInbox(process.argv[2] ?? ''),
  workMs: WORK_MS,
  work: ({ id }) => {
    console.log(`works on ${id}`);
    return new Promise(() => undefined);
  },
});
