/** How long nothing is delivered after a kill -9 of a node: for each subscription that it worked. */
import { setTimeout as sleep } from 'node:timers/promises';
import { percentile, type Sample, spreadOf } from '../figure.ts';
import { startGenerator, startReceiver } from '../processes.ts';
import { TOPIC } from '../rig.ts';
import { type Cluster, startCluster } from './nodes.ts';

const PER_NODE = 8;
const PER_SECOND = 50;
/** All is as it always is before the kill. */
const BEFORE_MS = 1_000;
/** Those who are left look every third of a lease whether slots are free; and some room to begin anew. */
const AFTER_LEASES = 1.7;
const AFTER_MS = 3_000;

interface Needs {
  readonly directory: string;
  readonly nats: string;
  readonly postgres: string;
  readonly leaseMs: number;
  readonly nodes: number;
}

export interface Kill {
  measure(): Promise<Sample[]>;
  close(): Promise<void>;
}

export const killSaid = (nodes: number): string =>
  `kill -9: ${nodes} nodes with ${PER_NODE} subscriptions each, every one of which gets ${PER_SECOND} events per second, published through the nodes that stay. For each subscription whose slot was at the killed node, from the kill to the first delivery after it; beside it, as raw, the lease time (leaseMs), which the others must wait out. Of the subscriptions of the other nodes, the longest time without a delivery.`;

export async function openKill(needs: Needs): Promise<Kill> {
  const { leaseMs, nodes } = needs;
  const cluster = await startCluster({ ...needs, name: `kill_${leaseMs}` }, nodes);
  const generator = startGenerator();
  const receiver = await startReceiver(nodes * PER_NODE);
  const name = `kill -9, lease of ${leaseMs} ms`;
  await cluster.ask(cluster.nodes[0]!, `PUT /v1/topics/${TOPIC}`, {});

  /** Made at a node, it is of one of the node's slots. Those of before are of whom the slots went to since. */
  async function subscribe(run: number): Promise<void> {
    for (const [at, url] of receiver.urls.entries()) {
      const node = cluster.nodes[Math.floor(at / PER_NODE)]!;
      if (run > 1) await cluster.ask(node, `DELETE /v1/subscriptions/bench-${run - 1}-${at}`);
      await cluster.ask(node, `PUT /v1/subscriptions/bench-${run}-${at}`, { topics: [TOPIC], deliver: { webhook: { url } } });
    }
  }

  async function publish(spanMs: number): Promise<{ run(): Promise<unknown> }> {
    const urls = cluster.nodes.slice(0, -1).map(({ events }) => events);
    const load = { form: 'event', topic: TOPIC, key: cluster.key(), connections: 8, spanMs } as const;
    // An open loop posts to each: together they make the rate.
    return generator.prepare({ ...load, urls, requestsPerSecond: PER_SECOND / urls.length });
  }

  let runs = 0;
  return {
    async measure() {
      // In the place of the one that was killed.
      while (cluster.nodes.length < nodes) await cluster.add();
      await cluster.balanced();
      await subscribe(++runs);
      const prepared = await publish(BEFORE_MS + AFTER_LEASES * leaseMs + AFTER_MS);
      await receiver.watch();
      const publishing = prepared.run();
      await sleep(BEFORE_MS);
      const killedMs = await (cluster.nodes.at(-1) as Cluster['nodes'][number]).kill();
      await publishing;
      const times = await receiver.times();
      const gone = times.slice(-PER_NODE).map((own) => own.find((ms) => ms > killedMs + IN_FLIGHT_MS));
      const waits = gone.map((ms) => (ms ?? Infinity) - killedMs);
      const silences = times.slice(0, -PER_NODE).map(longestSilence);
      return [
        { name: `${name}: first delivery after it, median`, unit: 'ms', ours: percentile(waits, 0.5), raw: leaseMs },
        { name: `${name}: first delivery after it, longest`, unit: 'ms', ours: spreadOf(waits).max, raw: leaseMs },
        { name: `${name}: silence of the others, longest`, unit: 'ms', ours: spreadOf(silences).max },
      ];
    },
    async close() {
      generator.close();
      await cluster.stop();
      receiver.close();
    },
  };
}

/** What the killed one had sent may be read here a moment later. */
const IN_FLIGHT_MS = 50;

function longestSilence(times: readonly number[]): number {
  return Math.max(...times.slice(1).map((ms, at) => ms - (times[at] ?? ms)));
}
