/** The store thread as the thread that started it sees it: questions and answers, and one end for all when it dies. */
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { createCalls, problemFrom, type StoreCalls } from './calls.ts';
import type { Ready, Setup, Told } from './messages.ts';

/** The one place that names the file; the packed package has it as .js. */
const WORKER = new URL('./store/worker.ts', import.meta.url);

export interface StoreThread extends StoreCalls {
  readonly ready: Ready;
  /** Waits for all that was asked. Closing twice is safe. */
  close(): Promise<void>;
}

export interface StartedThread extends StoreThread {
  /** For another thread of this process: what `joinThread` is given there. */
  share(): MessagePort;
}

export interface ThreadOptions {
  readonly setup: Setup;
  readonly now: () => number;
  /** The thread died of what was no answer to anything. */
  readonly onFailure: (error: Error) => void;
}

/** Rejects with what opening the directory was refused for. */
export async function startThread({ setup, now, onFailure }: ThreadOptions): Promise<StartedThread> {
  const worker = new Worker(WORKER, { workerData: setup, name: 'millrace-store' });
  const calls = createCalls({ now, post: (question, transfer) => worker.postMessage(question, transfer) });
  const opened = Promise.withResolvers<Ready>();
  const exited = Promise.withResolvers<void>();
  let isOpen = false;
  let closing: Promise<void> | undefined;

  worker.on('message', (told: Told) => {
    if ('ready' in told) opened.resolve(told.ready);
    else if ('refused' in told) opened.reject(problemFrom(told.refused));
    else calls.take(told);
  });
  worker.on('error', (error) => {
    opened.reject(error);
    calls.end(error);
    if (isOpen) onFailure(error as Error);
  });
  worker.on('exit', () => {
    calls.end(undefined);
    exited.resolve();
  });

  async function closeAll(): Promise<void> {
    calls.refuse();
    // A thread that failed has nothing to close; it is as it would be after a crash.
    await calls.ask('close', null).catch(() => {});
    await exited.promise;
  }

  const ready = await opened.promise;
  isOpen = true;
  return {
    ready,
    ...calls,
    share() {
      const { port1, port2 } = new MessageChannel();
      // Where the thread has ended the port is closed with it, and whoever joins is told so.
      calls.ask('connect', port1, { transfer: [port1] }).catch(() => port1.close());
      return port2;
    },
    close: () => (closing ??= closeAll()),
  };
}
