/** Nodes over one NATS and one Postgres, and how they share the slots. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../../scripts/brokers/servers.ts';
import { machineMs } from '../stamp.ts';
import { type ClusterNode, startNode } from './node.ts';

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
const BALANCED_MS = 120_000;
const LOOK_MS = 1_000;

interface Needs {
  readonly directory: string;
  readonly name: string;
  readonly nats: string;
  readonly postgres: string;
  readonly leaseMs: number;
}

export function createCluster({ directory, name, leaseMs, ...servers }: Needs): Cluster {
  /** The nodes that are up, with how many slots each has, and since when. */
  const held = new Map<ClusterNode, { readonly now: number; readonly atMs: number }>();
  let told = Promise.withResolvers<void>();
  let key = '';
  let count = 0;

  async function add(): Promise<{ readonly node: ClusterNode; readonly atMs: number }> {
    const data = join(directory, `${name}-${++count}`);
    const has = { now: 0, atMs: 0 };
    const {
      key: own,
      atMs,
      ...started
    } = await startNode({ ...servers, data, cluster: name, port: await freePort(), leaseMs }, ({ now, atMs: toldMs }) => {
      Object.assign(has, { now, atMs: toldMs });
      told.resolve();
      told = Promise.withResolvers();
    });
    key ||= own ?? '';
    const forget = (): void => void held.delete(node);
    const node: ClusterNode = {
      ...started.node,
      stop: () => (forget(), started.node.stop()),
      kill: () => (forget(), started.node.kill()),
    };
    held.set(node, has);
    return { node, atMs };
  }

  function isBalanced(): boolean {
    const counts = Array.from(held.values(), ({ now }) => now);
    const least = Math.floor(SLOTS / counts.length);
    return counts.every((now) => now >= least && now <= least + 1) && counts.reduce((sum, now) => sum + now, 0) === SLOTS;
  }

  async function balanced(): Promise<number> {
    const untilMs = machineMs() + BALANCED_MS;
    while (!isBalanced()) {
      if (machineMs() > untilMs) throw new Error('the nodes of the benchmark do not share the slots');
      await Promise.race([told.promise, sleep(LOOK_MS)]);
    }
    return Math.max(...Array.from(held.values(), ({ atMs }) => atMs));
  }

  /** As a good client does: what is being moved to another node is asked for again. */
  async function ask({ address }: ClusterNode, route: string, json?: object): Promise<void> {
    const [method = '', path = ''] = route.split(' ');
    const headers = { authorization: `Bearer ${key}`, ...(json === undefined ? {} : { 'content-type': 'application/json' }) };
    const body = json === undefined ? {} : { body: JSON.stringify(json) };
    for (;;) {
      const response = await fetch(address + path, { method, headers, ...body });
      const text = await response.text();
      if (response.ok) return;
      if (response.status !== 503) throw new Error(`${route} of the benchmark was answered with ${response.status}: ${text}`);
      await sleep(Number(response.headers.get('retry-after')) * 1_000);
    }
  }

  return {
    name,
    leaseMs,
    get nodes() {
      return [...held.keys()];
    },
    add,
    key: () => key,
    balanced,
    ask,
    async stop() {
      for (const node of held.keys()) await node.stop();
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
