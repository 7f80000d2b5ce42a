/** The thread that writes pages back (write-back.ts): beside the commits, never in their way. */
import { DatabaseSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';
import { isStorageError } from './faults.ts';

const db = new DatabaseSync(workerData as string);
db.exec('PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON; PRAGMA wal_autocheckpoint = 0;');
const write = db.prepare('PRAGMA wal_checkpoint(PASSIVE)');

parentPort!.on('message', (wish: 'write' | 'close') => {
  if (wish === 'close') {
    db.close();
    parentPort!.close();
    return;
  }
  try {
    write.get();
  } catch (error) {
    // Most likely the disk is full: what could not be written back stays in the log, and the next piece tries it again.
    if (!isStorageError(error)) throw error;
  }
  parentPort!.postMessage('written');
});
