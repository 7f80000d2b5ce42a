/** How fast slots move when a node joins or leaves. */
import { setTimeout as sleep } from 'node:timers/promises';
import { openLeases, openPostgres } from '@millrace/store-postgres';
import type { Sample } from '../figure.ts';
import { startGenerator, startReceiver } from '../processes.ts';
import { TOPIC } from '../rig.ts';
import { addressedTo, machineMs } from '../stamp.ts';
import { type Cluster, startCluster } from './nodes.ts';
import { subscribeMany } from './subscribe-many.ts';

const NODES = 2;
const SLOTS = 128;
/** What the third of three nodes has: the last one by name has no slot more. */
const PART = Math.floor(SLOTS / (NODES + 1));
/** Each is for one in so many subscriptions: far from what the machine can deliver, so that it is moves that are measured. */
const PER_SECOND = 2;
const ONE_IN = 10;
const RAW_ROUNDS = 10;
/** The load is there before the slots move. */
const BEFORE_MS = 500;

interface Needs {
  readonly directory: string;
  readonly nats: string;
  readonly postgres: string;
  readonly leaseMs: number;
  readonly subscriptions: number;
  /** Only with subscriptions. */
  readonly quick: boolean;
}

export interface Moves {
  measure(): Promise<Sample[]>;
  close(): Promise<void>;
}

export const movesSaid = (subscriptions: number): string =>
  `Slots that move: a third node joins two (from when it takes requests until each has its part), and leaves again (from when it is told to stop until the others have all). Without subscriptions, and with ${subscriptions} of them, while ${PER_SECOND} events per second are published, each for one in ${ONE_IN}. Nodes look every third of a lease, which is most of the time. Raw: the same number of slots taken and given back by the leases in Postgres alone, one call each. "Until balanced": beside the third of a lease.`;

export async function openMoves({ subscriptions, quick, ...needs }: Needs): Promise<Moves> {
  const { leaseMs, postgres } = needs;
  const start = (name: string): Promise<Cluster> => startCluster({ ...needs, name }, NODES);
  const [idle, busy] = [quick ? undefined : await start('moves_idle'), await start('moves_busy')];
  const receiver = await startReceiver();
  const generator = startGenerator();
  await busy.ask(busy.nodes[0]!, `PUT /v1/topics/${TOPIC}`, {});
  await subscribeMany(busy, subscriptions, (n) => ({
    topics: [TOPIC],
    filter: addressedTo(n % ONE_IN),
    deliver: { webhook: { url: receiver.url } },
  }));

  async function move(cluster: Cluster, of: string): Promise<Sample[]> {
    const raw = await rawMove(postgres);
    const { node, atMs } = await cluster.add();
    const joined = (await cluster.balanced()) - atMs;
    const leavesMs = await node.stop();
    const left = (await cluster.balanced()) - leavesMs;
    const samples = (what: string, ms: number, rawMs: number): Sample[] => [
      { name: `${of}, a node ${what}`, unit: 'slots moved per second', ours: (PART * 1_000) / ms, raw: (PART * 1_000) / rawMs },
      { name: `${of}, a node ${what}, until balanced`, unit: 'ms', ours: ms, raw: leaseMs / 3 },
    ];
    return [...samples('joins', joined, raw), ...samples('leaves', left, raw)];
  }

  /** Publishes as long as the work takes. */
  async function underLoad<Result>(work: () => Promise<Result>): Promise<Result> {
    let isOver = false;
    const load = { form: 'event', topic: TOPIC, key: busy.key(), connections: 8, spanMs: 2_000, endpoints: ONE_IN } as const;
    const publishing = (async () => {
      while (!isOver) {
        const prepared = await generator.prepare({ ...load, urls: [busy.nodes[0]!.events], requestsPerSecond: PER_SECOND });
        await prepared.run();
      }
    })();
    await sleep(BEFORE_MS);
    try {
      return await work();
    } finally {
      isOver = true;
      await publishing;
    }
  }

  return {
    async measure() {
      const alone = idle === undefined ? [] : await move(idle, 'no subscriptions');
      return [...alone, ...(await underLoad(() => move(busy, `${subscriptions} subscriptions`)))];
    },
    async close() {
      await idle?.stop();
      await busy.stop();
      generator.close();
      receiver.close();
    },
  };
}

/** How long it takes to take a part of the slots and to give it back, on the average, with nothing behind it. */
async function rawMove(url: string): Promise<number> {
  const at = { url, schema: 'moves_raw' };
  const store = await openPostgres(at);
  const leases = openLeases({ ...at, node: 'raw', address: 'http://127.0.0.1:1', leaseMs: 60_000 });
  const slots = Array.from({ length: PART }, (_, slot) => slot);
  await leases.renew(0);
  const startedMs = machineMs();
  for (let round = 0; round < RAW_ROUNDS; round++) {
    await leases.take(slots);
    await leases.release(slots);
  }
  const ms = (machineMs() - startedMs) / RAW_ROUNDS;
  await leases.leave();
  await leases.close();
  await store.close();
  return ms;
}
