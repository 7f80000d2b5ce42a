/** The whole way through one, two, three nodes, and what it costs Postgres. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import type { Cpu } from '../cpu.ts';
import type { Sample } from '../figure.ts';
import { BATCHES, CONCURRENCY_OF_MANY, type Kind, SINGLE } from '../place.ts';
import { type Generator, startGenerator } from '../processes.ts';
import { TOPIC } from '../rig.ts';
import { openRange, type Range, samplesOf, type Timed } from '../sending.ts';
import { addressedTo } from '../stamp.ts';
import { type Cluster, startCluster } from './nodes.ts';

const NODES_MAX = 3;
/** Starting a node takes more than a second of a busy machine. */
const NODES_MAX_QUICK = 2;
/** Each node has as many, whether there are one, two or three of them. */
export const ENDPOINTS = 12;
/** A session of Postgres that has nothing to do tells how many transactions it had ten seconds later. */
const TOLD_MS = 11_000;
const TOLD_QUICK_MS = 1_500;

interface Needs {
  readonly directory: string;
  readonly nats: string;
  readonly postgres: string;
  readonly leaseMs: number;
  readonly quick: boolean;
}

export interface Through {
  measure(): Promise<Sample[]>;
  close(): Promise<void>;
}

interface Commits {
  /** All transactions, also those that only read. */
  readonly all: number;
  /** Those that wrote. */
  readonly writing: number;
}

export const THROUGH_SAID = (count: number): string[] => [
  `Throughput: ${count} events per run and kind, spread over the nodes' doors, for ${ENDPOINTS} subscriptions made at the nodes in turn, each event for one of them by a filter, ${CONCURRENCY_OF_MANY} deliveries at once each; from the first request until the receiver has all. Every node reads the whole log and delivers what is of its own slots. CPU is that of all nodes together. Raw: the raw sender as in end-to-end, with nothing beside it. **All nodes, NATS, Postgres, generator and receiver share the cores of this machine: more nodes have no more of it, so this shows what a node more costs, not what it brings.**`,
  `Commits: difference of xact_commit of the database, from before ${count} deliveries in batches through as many nodes as there are at most until ${TOLD_MS / 1_000} s after them, as idle sessions tell late; what all nodes that are up commit when they are idle (leases, and whatever else) was measured once, for as long, and is taken off. Of these, those that wrote: by pg_current_xact_id().`,
];

export async function openThrough({ quick, ...needs }: Needs, count: number): Promise<Through> {
  const generator = startGenerator();
  const range = await openRange({ endpoints: ENDPOINTS });
  const sql = new Client({ connectionString: needs.postgres });
  await sql.connect();
  const clusters: Cluster[] = [];
  for (let nodes = 1; nodes <= (quick ? NODES_MAX_QUICK : NODES_MAX); nodes++) {
    const cluster = await startCluster({ ...needs, name: `through_${nodes}` }, nodes);
    await subscribe(cluster, range);
    clusters.push(cluster);
  }

  function through(cluster: Cluster, { load }: Kind): Promise<Timed> {
    const { nodes } = cluster;
    const cpu = async (): Promise<Cpu> => sumOf(await Promise.all(nodes.map((node) => node.cpu())));
    return timed({ cluster, generator, range, count, load }, cpu);
  }

  /** What is told late is of what is measured, and all of it. */
  const told = (): Promise<void> => sleep(quick ? TOLD_QUICK_MS : TOLD_MS);

  /** Per millisecond, of all nodes that are up. */
  async function idleRate(): Promise<Commits> {
    await told();
    const [before, startedMs] = [await commitsNow(sql), performance.now()];
    await told();
    const { all, writing } = differenceOf(before, await commitsNow(sql));
    const ms = performance.now() - startedMs;
    return { all: all / ms, writing: writing / ms };
  }

  const idle = await idleRate();

  async function commitsOf(cluster: Cluster): Promise<Sample[]> {
    await told();
    const [before, startedMs] = [await commitsNow(sql), performance.now()];
    await through(cluster, BATCHES);
    await told();
    const busy = differenceOf(before, await commitsNow(sql));
    const ms = performance.now() - startedMs;
    const per = (of: keyof Commits): number => ((busy[of] - idle[of] * ms) * 1_000) / count;
    return [
      { name: 'Postgres, commits', unit: 'per 1,000 deliveries', ours: per('all') },
      { name: 'Postgres, commits that write', unit: 'per 1,000 deliveries', ours: per('writing') },
      { name: 'Postgres, commits of an idle node', unit: 'per second', ours: (idle.all * 1_000) / nodesOf(clusters) },
    ];
  }

  return {
    async measure() {
      const samples: Sample[] = [];
      for (const cluster of clusters) {
        const { length } = cluster.nodes;
        const name = `${length} node${length === 1 ? '' : 's'}`;
        const [single, raw, batches] = [
          await through(cluster, SINGLE),
          await range.timeRaw(count),
          await through(cluster, BATCHES),
        ];
        samples.push(...samplesOf(`${name}, single`, single, raw), ...samplesOf(`${name}, batches`, batches, raw));
      }
      return [...samples, ...(await commitsOf(clusters.at(-1) as Cluster))];
    },
    async close() {
      for (const cluster of clusters) await cluster.stop();
      generator.close();
      range.close();
      await sql.end();
    },
  };
}

async function subscribe(cluster: Cluster, { receiver }: Range): Promise<void> {
  const { nodes, ask } = cluster;
  await ask(nodes[0]!, `PUT /v1/topics/${TOPIC}`, {});
  for (const [at, url] of receiver.urls.entries())
    await ask(nodes[at % nodes.length]!, `PUT /v1/subscriptions/bench-${at}`, {
      topics: [TOPIC],
      filter: addressedTo(at),
      deliver: { webhook: { url } },
      concurrency: CONCURRENCY_OF_MANY,
    });
}

async function timed(
  {
    cluster,
    generator,
    range,
    count,
    load,
  }: {
    readonly cluster: Cluster;
    readonly generator: Generator;
    readonly range: Range;
    readonly count: number;
    readonly load: Kind['load'];
  },
  cpu: () => Promise<Cpu>,
): Promise<Timed> {
  const urls = cluster.nodes.map(({ events }) => events);
  // A closed loop spreads its events over all connections, whatever they lead to.
  const connections = Math.ceil(load.connections / urls.length);
  const prepared = await generator.prepare({
    ...load,
    urls,
    connections,
    key: cluster.key(),
    topic: TOPIC,
    endpoints: ENDPOINTS,
    count,
  });
  const work = async (): Promise<void> => {
    const { failures } = await prepared.run();
    if (failures > 0) throw new Error(`${failures} events of the benchmark were refused`);
  };
  return range.time(count, work, cpu);
}

function nodesOf(clusters: readonly Cluster[]): number {
  return clusters.reduce((sum, { nodes }) => sum + nodes.length, 0);
}

function sumOf(all: readonly Cpu[]): Cpu {
  return all.reduce((sum, { cpuMs, mainMs }) => ({ cpuMs: sum.cpuMs + cpuMs, mainMs: sum.mainMs + mainMs }));
}

async function commitsNow(sql: Client): Promise<Commits> {
  const { rows } = await sql.query<Record<'all' | 'writing', string>>(
    `SELECT xact_commit AS "all", pg_snapshot_xmax(pg_current_snapshot())::text AS writing FROM pg_stat_database WHERE datname = current_database()`,
  );
  return { all: Number(rows[0]?.all), writing: Number(rows[0]?.writing) };
}

function differenceOf(before: Commits, after: Commits): Commits {
  return { all: after.all - before.all, writing: after.writing - before.writing };
}
