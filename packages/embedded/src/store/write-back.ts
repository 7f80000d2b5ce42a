/**
 * Writing back: pages of the write-ahead log return to state.db (SQLite calls it a checkpoint). Done by the commit that
 * makes the log long it holds everybody up for as long as the disk takes for 64 MB. So a thread of its own does it piece
 * by piece beside the commits; what is left over between two of them, where nobody writes, is so little that it costs a
 * few ms, and lets the log begin anew. (https://sqlite.org/wal.html, "Ckpt Performance", on a log that never ends.)
 */
import type { DatabaseSync } from 'node:sqlite';
import { Worker } from 'node:worker_threads';
import { isStorageError } from './faults.ts';

/** The one place that names the file. */
const WORKER = new URL('./write-back-worker.ts', import.meta.url);

/** Pages that are worth a piece: 8 MB. */
const PIECE_PAGES = 500;
/** From here on the log is to begin anew as soon as little is left: 32 MB. */
const LONG_PAGES = 2_000;
/** What the commit thread writes back by itself. */
const LITTLE_PAGES = PIECE_PAGES + 100;
/** Should the thread not keep up, or fail: from here on the commit thread does all, whatever it takes: 128 MB. */
const TOO_LONG_PAGES = 8_000;

export interface WriteBack {
  /** To be called between two transactions. */
  look(): void;
  /** Resolves when no connection but the caller's own is open. */
  close(): Promise<void>;
}

interface Pages {
  readonly log: number;
  readonly checkpointed: number;
}

export function openWriteBack(db: DatabaseSync, path: string): WriteBack {
  const count = db.prepare('PRAGMA main.wal_checkpoint(NOOP)');
  const write = db.prepare('PRAGMA main.wal_checkpoint(PASSIVE)');
  let worker: Worker | undefined;
  let isWorking = false;
  /** Not started again for every commit: only once the commit thread has done its work. */
  let hasFailed = false;
  /** After a failure nothing is tried before the log is so long. */
  let notBefore = 0;

  /** Not before there is something to do: a gateway at rest has one thread less. */
  function start(): Worker {
    const started = new Worker(WORKER, { workerData: path, name: 'millrace-write-back' });
    started.on('message', () => void (isWorking = false));
    // It can be done without for a while: when the log is too long the commit thread writes it back, and then another is started.
    started.on('error', () => undefined);
    started.on('exit', () => {
      if (worker === started) worker = undefined;
      hasFailed = true;
    });
    return started;
  }

  function writeBack(log: number): void {
    try {
      write.get();
      notBefore = 0;
      if (hasFailed) hasFailed = isWorking = false;
    } catch (error) {
      // Most likely the disk is full. What is in the log is safe where it is.
      if (!isStorageError(error)) throw error;
      notBefore = log + PIECE_PAGES;
    }
  }

  return {
    look() {
      const { log, checkpointed } = count.get() as unknown as Pages;
      const left = log - checkpointed;
      if (left < PIECE_PAGES && log < LONG_PAGES) return;
      if (log >= TOO_LONG_PAGES ? log >= notBefore : log >= LONG_PAGES && left < LITTLE_PAGES && !isWorking)
        return writeBack(log);
      if (isWorking || left < PIECE_PAGES) return;
      worker ??= start();
      isWorking = true;
      worker.postMessage('write');
    },
    async close() {
      if (worker === undefined) return;
      const exited = Promise.withResolvers<void>();
      worker.once('exit', () => exited.resolve());
      worker.postMessage('close');
      await exited.promise;
    },
  };
}
