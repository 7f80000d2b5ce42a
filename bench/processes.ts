/** The processes beside the one that measures, and what is asked of them. */
import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';

export interface Receiver {
  readonly url: string;
  /** Resolves once it counts from zero; `arrived` then resolves at the `count`th request. */
  expect(count: number): Promise<{ readonly arrived: Promise<{ readonly bytes: number }> }>;
  close(): void;
}

export async function startReceiver(): Promise<Receiver> {
  const child = startProcess('receiver.ts');
  const { port } = await nextMessage<{ readonly port: number }>(child);
  return {
    url: `http://127.0.0.1:${port}/hook`,
    async expect(count) {
      const expecting = nextMessage(child);
      child.send({ expect: count });
      await expecting;
      return { arrived: nextMessage<{ readonly bytes: number }>(child) };
    },
    close: () => child.disconnect(),
  };
}

/** Starts a file of this folder in a fresh process. */
export function startProcess(file: string, args: readonly string[] = []): ChildProcess {
  return fork(join(import.meta.dirname, file), args, { execArgv: [], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
}

export function nextMessage<T>(child: ChildProcess): Promise<T> {
  return new Promise((resolve, reject) => {
    const ended = (): void => reject(new Error(`a process of the benchmark ended: ${child.spawnargs.join(' ')}`));
    child.once('exit', ended);
    child.once('message', (message) => {
      child.off('exit', ended);
      resolve(message as T);
    });
  });
}
