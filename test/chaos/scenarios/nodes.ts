/** Three nodes over NATS and Postgres: killed, stopped, and with one of the two away, under load that never stops. */
import { judge } from '../judge.ts';
import { type BrokerName, type Nodes, openNodes } from '../nodes.ts';
import type { Outcome, Scenario } from '../scenario.ts';
import { pass } from '../waiting.ts';

const NODES = 3;
/** Between two blows: some come while the slots of the one before are still being taken. */
const RUNS_MS = { low: 200, high: 6_000 } as const;
const AWAY_MS = { low: 500, high: 4_000 } as const;
const OUTAGE_MS = 60_000;
const OUTAGE_QUICK_MS = 5_000;
/** Of twenty blows three are an outage, three an orderly stop. */
const OUTAGE_SHARE = 0.15;
const STOP_SHARE = 0.15;

export const nodes: Scenario = {
  name: 'nodes',
  what: 'three nodes over NATS and Postgres: kill -9, stops, brokers restarted and away for a minute',
  async run(plan): Promise<Outcome> {
    const world = await openNodes(`${plan.seed}/nodes`);
    if ('skipped' in world) return { skipped: world.skipped, breaches: [], notes: [] };
    const notes: string[] = [];
    try {
      await world.begin();
      const { random } = world;
      const outageMs = plan.quick ? OUTAGE_QUICK_MS : OUTAGE_MS;
      const long = new Map<number, BrokerName>([
        [Math.floor(plan.kills / 3), 'nats'],
        [Math.floor((2 * plan.kills) / 3), 'postgres'],
      ]);
      for (let n = 1; n <= plan.kills; n++) {
        await pass(random.int(RUNS_MS.low, RUNS_MS.high));
        const away = long.get(n);
        const what = away === undefined ? await blow(world) : await outage(world, away, outageMs);
        plan.say(`${n} of ${plan.kills}: ${what}; ${world.book.events.size} events, ${world.book.owed} deliveries owed`);
        if (away !== undefined)
          notes.push(`went on ${await untilProgress(world)} ms after ${away} was back from ${outageMs / 1_000} s`);
      }
      await world.up();
      const kept = await world.end();
      notes.push(`nodes told ${world.leasesLost} times that a lease or slots of theirs were lost`);
      const { breaches, figures } = judge({ book: world.book, kept, allowed: { perStop: 0, nodes: NODES } });
      return { breaches, notes, figures };
    } finally {
      await world.close();
    }
  },
};

async function blow(world: Nodes): Promise<string> {
  const { random } = world;
  const kind = random.next();
  const at = random.int(0, NODES - 1);
  if (kind < OUTAGE_SHARE)
    return outage(world, random.pick(['nats', 'postgres'] as const), random.int(AWAY_MS.low, AWAY_MS.high));
  if (kind < OUTAGE_SHARE + STOP_SHARE) {
    await world.stop(at);
    return `node ${at} stopped`;
  }
  await world.kill(at);
  return `node ${at} killed`;
}

async function outage(world: Nodes, name: BrokerName, ms: number): Promise<string> {
  await world.outage(name, ms);
  return `${name} away for ${(ms / 1_000).toFixed(1)} s`;
}

async function untilProgress({ book }: Nodes): Promise<number> {
  const { progress } = book;
  const since = performance.now();
  while (book.progress <= progress) await book.changed();
  return Math.round(performance.now() - since);
}
