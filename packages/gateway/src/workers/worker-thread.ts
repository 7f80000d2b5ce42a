/** A worker as the main thread sees it, from its start to its end. */
import { Worker } from 'node:worker_threads';
import { StartRefused } from '../refused.ts';
import type { FromWorker, Setup, ToWorker } from './messages.ts';
import { errorOf } from './said.ts';

/** The one place that names the file; the packed package has it as .js. */
const WORKER = new URL('../worker.ts', import.meta.url);

export interface WorkerThread {
  readonly number: number;
  /** Rejects with why it can not start, or with what it ended by. */
  readonly ready: Promise<void>;
  /** Resolves with what it ended by; undefined where it was asked to. */
  readonly ended: Promise<Error | undefined>;
  post(message: ToWorker): void;
  /** Takes nothing new, lets what is under way end; then it ends. */
  stop(): Promise<void>;
  /** Ends it as a crash would. */
  terminate(): Promise<void>;
}

interface Needs {
  readonly setup: Setup;
  readonly onMessage: (message: FromWorker) => void;
}

export function startWorkerThread({ setup, onMessage }: Needs): WorkerThread {
  const { number, shared } = setup;
  const thread = new Worker(WORKER, {
    workerData: setup,
    transferList: shared === undefined ? [] : [shared],
    name: `millrace-worker-${number}`,
  });
  const ready = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<Error | undefined>();
  ready.promise.catch(() => undefined); // whoever waits for it is told
  let isStopping = false;
  let error: Error | undefined;

  thread.on('message', (message: FromWorker) => {
    if ('ready' in message) ready.resolve();
    else if ('refused' in message) fail(errorOf(message.refused));
    else if ('stopped' in message) void thread.terminate();
    else onMessage(message);
  });
  thread.on('error', (thrown) => (error ??= thrown instanceof Error ? thrown : new Error(String(thrown))));
  thread.on('exit', () => {
    error ??= isStopping ? undefined : new StartRefused(`worker ${number} has ended`, 'Look for what ended it before this line.');
    ready.reject(error ?? new Error(`worker ${number} was stopped`));
    ended.resolve(error);
  });

  function fail(refused: Error): void {
    error ??= refused;
    void thread.terminate();
  }

  return {
    number,
    ready: ready.promise,
    ended: ended.promise,
    post: (message) => thread.postMessage(message),
    async stop() {
      isStopping = true;
      // Also one that is not ready: it may have begun to send.
      thread.postMessage({ stop: true } satisfies ToWorker);
      await ended.promise;
    },
    async terminate() {
      await thread.terminate();
    },
  };
}
