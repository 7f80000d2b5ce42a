/**
 * The store thread as further threads of the process see it, each over a port of its own. What one of them writes the others
 * hear, in the order in which it was written; commits of all share transactions.
 */
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import { createCalls, problemFrom } from './calls.ts';
import type { Ready, Told } from './messages.ts';
import type { StoreThread } from './thread.ts';

export interface JoinedThread extends StoreThread {
  /** What was told since it joined is taken in, and from now on all else: whoever wants to hear has said so by now. */
  begin(): void;
  /**
   * Takes in what has been told by now. Whoever was told of a change by the thread that made it finds it here after this call,
   * however much else waits in this thread's loop.
   */
  hear(): void;
}

interface Needs {
  readonly port: MessagePort;
  readonly now: () => number;
  /** The store has ended. */
  readonly onFailure: (error: Error) => void;
}

export async function joinThread({ port, now, onFailure }: Needs): Promise<JoinedThread> {
  const opened = Promise.withResolvers<Ready>();
  let unheard = new Int32Array(new SharedArrayBuffer(4));
  /** Messages that are there already come in one turn with the first: before anybody could listen. */
  let early: Told[] | undefined = [];
  let closing: Promise<void> | undefined;
  const calls = createCalls({
    now,
    post: (question, transfer) => port.postMessage(question, [...transfer]),
    heard: (bytes) => void Atomics.sub(unheard, 0, bytes),
  });

  function take(told: Told): void {
    if ('ready' in told) {
      if (told.unheard !== undefined) unheard = new Int32Array(told.unheard);
      opened.resolve(told.ready);
    } else if ('refused' in told) opened.reject(problemFrom(told.refused));
    else if (early !== undefined) early.push(told);
    else calls.take(told);
  }

  port.on('message', take);
  port.on('close', () => {
    const error = closing === undefined ? new Error('its thread has ended') : undefined;
    opened.reject(error);
    calls.end(error);
    if (error !== undefined) onFailure(error);
  });

  /** A thread that is being ended gets nothing instead of a message, in the moments in which it still runs. */
  function nextTold(): Told | undefined {
    return closing === undefined ? (receiveMessageOnPort(port)?.message as Told | undefined) : undefined;
  }

  async function closeAll(): Promise<void> {
    await calls.settled();
    calls.refuse();
    port.close();
  }

  const ready = await opened.promise;
  return {
    ready,
    ...calls,
    begin() {
      const told = early ?? [];
      early = undefined;
      for (const one of told) calls.take(one);
    },
    hear() {
      for (let told = nextTold(); told !== undefined; told = nextTold()) take(told);
    },
    close: () => (closing ??= closeAll()),
  };
}
