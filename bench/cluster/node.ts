/** One node of a cluster, a process of its own: started, asked, stopped and killed. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Cpu } from '../cpu.ts';
import { profiling, startProcess } from '../processes.ts';
import { machineMs } from '../stamp.ts';

export interface NodeSetup {
  readonly data: string;
  readonly nats: string;
  readonly postgres: string;
  /** Name of its stream and its schema: clusters on one server know nothing of each other. */
  readonly cluster: string;
  readonly port: number;
  readonly leaseMs: number;
}

export interface NodeStarted {
  readonly address: string;
  /** At the first start of a cluster. */
  readonly key?: string;
}

export interface SlotsTold {
  readonly slots: 'slots_taken' | 'slots_left' | 'slots_lost';
  /** How many it has. */
  readonly now: number;
  readonly atMs: number;
}

export interface ClusterNode {
  readonly address: string;
  readonly events: string;
  cpu(): Promise<Cpu>;
  rssMb(): Promise<number>;
  /** As at SIGTERM. Resolves when it has ended, with when it was asked to. */
  stop(): Promise<number>;
  /** kill -9. Resolves when it has ended, with when it was killed. */
  kill(): Promise<number>;
}

export interface Started {
  readonly node: ClusterNode;
  readonly key: string | undefined;
  /** When it took requests. */
  readonly atMs: number;
}

/** `onTold` hears of slots also before it is started. */
export async function startNode(setup: NodeSetup, onTold: (told: SlotsTold) => void): Promise<Started> {
  const child = startProcess('cluster/node-process.ts', [JSON.stringify(setup)], profiling());
  const answers: ((answer: unknown) => void)[] = [];
  const started = Promise.withResolvers<NodeStarted>();
  child.on('message', (message: SlotsTold | NodeStarted | { readonly answer: unknown }) => {
    if ('slots' in message) onTold(message);
    else if ('answer' in message) answers.shift()?.(message.answer);
    else started.resolve(message);
  });
  child.once('exit', (code, signal) => started.reject(new Error(`a node of the benchmark ended (${signal ?? code})`)));
  const { address, key } = await started.promise;

  function ask<T>(what: 'cpu' | 'rssMb'): Promise<T> {
    return new Promise((resolve) => {
      answers.push(resolve as (answer: unknown) => void);
      child.send(what);
    });
  }

  const node: ClusterNode = {
    address,
    events: `${address}/v1/events`,
    cpu: () => ask('cpu'),
    rssMb: () => ask('rssMb'),
    stop: () => ended(child, () => child.disconnect()),
    kill: () => ended(child, () => child.kill('SIGKILL')),
  };
  return { node, key, atMs: machineMs() };
}

async function ended(child: ChildProcess, how: () => void): Promise<number> {
  const exit = once(child, 'exit');
  const atMs = machineMs();
  how();
  await exit;
  return atMs;
}
