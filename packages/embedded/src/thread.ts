/** The store thread as the main side sees it: questions and answers, and one end for all when it dies. */
import { Worker } from 'node:worker_threads';
import type { Transferable } from 'node:worker_threads';
import { Problem } from '@millrace/core/problem';
import type { Answer, CallName, Calls, Ready, Setup, Told } from './messages.ts';
import { partOf } from './parts.ts';

/** The one place that names the file; the packed package has it as .js. */
const WORKER = new URL('./store/worker.ts', import.meta.url);

export interface StoreThread {
  readonly ready: Ready;
  /** Rejects with a Problem; with `log_unavailable` or `ledger_unavailable` at once when the thread has ended. */
  ask<Name extends CallName>(call: Name, value: Calls[Name][0], transfer?: readonly Transferable[]): Promise<Calls[Name][1]>;
  onRemoved(listener: (through: number) => void): void;
  /** Waits for all that was asked. Closing twice is safe. */
  close(): Promise<void>;
}

interface Waiting {
  readonly call: CallName;
  resolve(value: unknown): void;
  reject(problem: Problem): void;
}

export interface ThreadOptions {
  readonly setup: Setup;
  readonly now: () => number;
  /** The thread died of what was no answer to anything. */
  readonly onFailure: (error: Error) => void;
}

/** Rejects with what opening the directory was refused for. */
export async function startThread({ setup, now, onFailure }: ThreadOptions): Promise<StoreThread> {
  const worker = new Worker(WORKER, { workerData: setup, name: 'millrace-store' });
  const waiting = new Map<number, Waiting>();
  const opened = Promise.withResolvers<Ready>();
  const exited = Promise.withResolvers<void>();
  let removed: (through: number) => void = () => {};
  let asked = 0;
  let ended: { readonly cause: unknown } | undefined;
  let isOpen = false;
  let closing: Promise<void> | undefined;

  worker.on('message', (told: Told) => {
    if ('answers' in told) for (const answer of told.answers) settle(answer);
    else if ('ready' in told) opened.resolve(told.ready);
    else if ('refused' in told) opened.reject(problemFrom(told.refused));
    else removed(told.removedThrough);
  });
  worker.on('error', (error) => {
    opened.reject(error);
    end(error);
    if (isOpen) onFailure(error as Error);
  });
  worker.on('exit', () => {
    end(undefined);
    exited.resolve();
  });

  function settle(answer: Answer): void {
    const { resolve, reject } = waiting.get(answer.number)!;
    waiting.delete(answer.number);
    if ('problem' in answer) reject(problemFrom(answer.problem));
    else resolve(answer.value);
  }

  function end(cause: unknown): void {
    ended ??= { cause };
    for (const { call, reject } of waiting.values()) reject(unavailable(call));
    waiting.clear();
  }

  function unavailable(call: CallName): Problem {
    const cause = ended?.cause;
    const why = cause === undefined ? 'is closed' : `has failed: ${(cause as Error).message}`;
    return new Problem(`${partOf(call)}_unavailable`, `The embedded store ${why}`, { cause });
  }

  function ask<Name extends CallName>(
    call: Name,
    value: Calls[Name][0],
    transfer: readonly Transferable[] = [],
  ): Promise<Calls[Name][1]> {
    if (ended !== undefined || (closing !== undefined && call !== 'close')) return Promise.reject(unavailable(call));
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const number = ++asked;
    waiting.set(number, { call, resolve, reject });
    worker.postMessage({ number, call, nowMs: now(), value }, transfer);
    return promise as Promise<Calls[Name][1]>;
  }

  async function closeAll(): Promise<void> {
    // A thread that failed has nothing to close; it is as it would be after a crash.
    await ask('close', null).catch(() => {});
    await exited.promise;
  }

  const ready = await opened.promise;
  isOpen = true;
  return {
    ready,
    ask,
    onRemoved: (listener) => void (removed = listener),
    close: () => (closing ??= closeAll()),
  };
}

function problemFrom({
  code,
  message,
  advice,
}: {
  readonly code: Problem['code'];
  readonly message: string;
  readonly advice: string | undefined;
}): Problem {
  return new Problem(code, message, advice === undefined ? {} : { advice });
}
