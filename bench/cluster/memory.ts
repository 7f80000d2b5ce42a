/** What idle subscriptions take of a node's memory: those it works, and those it only knows of. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Sample } from '../figure.ts';
import { spreadOf } from '../figure.ts';
import { nextMessage, startProcess } from '../processes.ts';
import { TOPIC } from '../rig.ts';
import type { ClusterNode } from './node.ts';
import { createCluster, startCluster } from './nodes.ts';
import { subscribeMany } from './subscribe-many.ts';

const LOOKS = 10;
const LOOK_MS = 50;
/** Until what a start leaves behind is collected. */
const SETTLE_MS = 500;

interface Needs {
  readonly directory: string;
  readonly nats: string;
  readonly postgres: string;
  readonly leaseMs: number;
  readonly subscriptions: number;
  /** That share them. */
  readonly nodes: number;
}

export interface Memory {
  measure(): Promise<Sample[]>;
  close(): Promise<void>;
}

export const memorySaid = ({ subscriptions, nodes }: Pick<Needs, 'subscriptions' | 'nodes'>): string =>
  `Memory: the median of the resident set of freshly started nodes (every ${LOOK_MS} ms, ${LOOKS} times), without any forced garbage collection: a node without subscriptions, one that works ${subscriptions}, all idle, and ${nodes} nodes that share them, so that each knows all and works its part: the largest of the nodes. Raw: a Node process that has loaded the modules of a gateway and done nothing.`;

export async function openMemory({ subscriptions, nodes, ...needs }: Needs): Promise<Memory> {
  const none = { name: 'memory_none', count: 0 };
  const many = { name: 'memory_many', count: subscriptions };
  const kinds = [
    { name: 'a node without subscriptions', cluster: none, number: 1 },
    { name: `a node with ${subscriptions} idle subscriptions`, cluster: many, number: 1 },
    { name: `each of ${nodes} nodes that share ${subscriptions} idle subscriptions`, cluster: many, number: nodes },
  ];
  await Promise.all([none, many].map(prepare));

  async function prepare({ name, count }: typeof none): Promise<void> {
    const cluster = await startCluster({ ...needs, name }, 1);
    await cluster.ask(cluster.nodes[0]!, `PUT /v1/topics/${TOPIC}`, {});
    await subscribeMany(cluster, count, (n) => ({
      topics: [TOPIC],
      filter: { data: { tenant: [`tenant-${n}`] } },
      deliver: { webhook: { url: `https://app-${n}.example/hooks` } },
    }));
    // With an event newer than all of them, caught-up lanes leave nothing behind.
    await cluster.ask(cluster.nodes[0]!, 'POST /v1/events', { type: TOPIC, data: {} });
    await cluster.stop();
  }

  async function lookAt(name: string, count: number): Promise<number> {
    const cluster = createCluster({ ...needs, name });
    await Promise.all(Array.from({ length: count }, cluster.add));
    await cluster.balanced();
    await sleep(SETTLE_MS);
    const looks = await Promise.all(cluster.nodes.map(rssOf));
    await cluster.stop();
    return Math.max(...looks);
  }

  return {
    async measure() {
      const raw = await bareMb(needs.directory);
      const samples: Sample[] = [];
      for (const { name, cluster, number } of kinds)
        samples.push({ name, unit: 'MB', ours: await lookAt(cluster.name, number), raw });
      return samples;
    },
    close: async () => undefined,
  };
}

async function rssOf(node: ClusterNode): Promise<number> {
  const looks: number[] = [];
  for (let look = 0; look < LOOKS; look++) {
    await sleep(LOOK_MS);
    looks.push(await node.rssMb());
  }
  return spreadOf(looks).median;
}

async function bareMb(directory: string): Promise<number> {
  const child = startProcess('memory-process.ts', [JSON.stringify({ what: 'bare', directory })]);
  const { rssMb } = await nextMessage<{ readonly rssMb: number }>(child);
  return rssMb;
}
