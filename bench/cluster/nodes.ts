/** Nodes over one NATS and one Postgres: started, asked, stopped and killed; and what Postgres knows of their slots. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../../scripts/brokers/servers.ts';
import type { Cpu } from '../cpu.ts';
import { startProcess } from '../processes.ts';
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

export interface Cluster {
  readonly name: string;
  readonly leaseMs: number;
  readonly nodes: readonly ClusterNode[];
  /** With when it took requests. */
  add(): Promise<{ readonly node: ClusterNode; readonly atMs: number }>;
  /** Of the admin: it counts at all nodes. */
  key(): string;
  /** Resolves when all slots are worked, each node having its part, with when the last one was taken. */
  balanced(): Promise<number>;
  ask(node: ClusterNode, route: string, json?: object): Promise<void>;
  stop(): Promise<void>;
}

const SLOTS = 128;
/** As for the busy: a cluster that has not found its balance by then never will. */
const BALANCED_MS = 60_000;

interface Needs {
  readonly directory: string;
  readonly name: string;
  readonly nats: string;
  readonly postgres: string;
  readonly leaseMs: number;
}

export function createCluster({ directory, name, leaseMs, ...servers }: Needs): Cluster {
  const nodes: ClusterNode[] = [];
  const held = new Map<ClusterNode, SlotsTold>();
  let told = Promise.withResolvers<void>();
  let key = '';
  let count = 0;

  async function add() {
    const data = join(directory, `${name}-${++count}`);
    const setup: NodeSetup = { ...servers, data, cluster: name, port: await freePort(), leaseMs };
    const child = startProcess('cluster/node-process.ts', [JSON.stringify(setup)]);
    const early: SlotsTold[] = [];
    const answers: ((answer: unknown) => void)[] = [];
    const started = Promise.withResolvers<NodeStarted>();
    let hear = (one: SlotsTold): void => void early.push(one);
    child.on('message', (message: SlotsTold | NodeStarted | { readonly answer: unknown }) => {
      if ('slots' in message) hear(message);
      else if ('answer' in message) answers.shift()?.(message.answer);
      else started.resolve(message);
    });
    child.once('exit', (code, signal) => started.reject(new Error(`a node of the benchmark ended (${signal ?? code})`)));
    const { address, key: own } = await started.promise;
    key ||= own ?? '';
    const ask = <T>(what: 'cpu' | 'rssMb'): Promise<T> =>
      new Promise((resolve) => {
        answers.push(resolve as (answer: unknown) => void);
        child.send(what);
      });
    const node: ClusterNode = {
      address,
      events: `${address}/v1/events`,
      cpu: () => ask('cpu'),
      rssMb: () => ask('rssMb'),
      stop: () => end(node, child, () => child.disconnect()),
      kill: () => end(node, child, () => child.kill('SIGKILL')),
    };
    hear = (one) => {
      held.set(node, one);
      told.resolve();
      told = Promise.withResolvers();
    };
    nodes.push(node);
    const atMs = machineMs();
    for (const one of early) hear(one);
    return { node, atMs };
  }

  async function end(node: ClusterNode, child: ChildProcess, how: () => void): Promise<number> {
    nodes.splice(nodes.indexOf(node), 1);
    held.delete(node);
    const ended = once(child, 'exit');
    const atMs = machineMs();
    how();
    await ended;
    return atMs;
  }

  function isBalanced(): boolean {
    const counts = nodes.map((node) => held.get(node)?.now ?? 0);
    const least = Math.floor(SLOTS / nodes.length);
    return counts.every((now) => now >= least && now <= least + 1) && counts.reduce((sum, now) => sum + now, 0) === SLOTS;
  }

  async function balanced(): Promise<number> {
    const untilMs = machineMs() + BALANCED_MS;
    while (!isBalanced()) {
      if (machineMs() > untilMs) throw new Error('the nodes of the benchmark do not share the slots');
      await Promise.race([told.promise, sleep(1_000)]);
    }
    return Math.max(...nodes.map((node) => held.get(node)?.atMs ?? 0));
  }

  return {
    name,
    leaseMs,
    nodes,
    add,
    key: () => key,
    balanced,
    async ask({ address }, route, json) {
      const [method = '', path = ''] = route.split(' ');
      const headers = { authorization: `Bearer ${key}`, ...(json === undefined ? {} : { 'content-type': 'application/json' }) };
      const body = json === undefined ? {} : { body: JSON.stringify(json) };
      const response = await fetch(address + path, { method, headers, ...body });
      const text = await response.text();
      if (!response.ok) throw new Error(`${route} of the benchmark was answered with ${response.status}: ${text}`);
    },
    async stop() {
      for (const node of nodes.slice()) await node.stop();
    },
  };
}

/** So many nodes, sharing the slots. */
export async function startCluster(needs: Needs, nodes: number): Promise<Cluster> {
  const cluster = createCluster(needs);
  // The first makes schema, stream and key.
  await cluster.add();
  await Promise.all(Array.from({ length: nodes - 1 }, cluster.add));
  await cluster.balanced();
  return cluster;
}
