/** Several nodes over NATS and Postgres: throughput, a kill -9, slots that move, memory, and what it costs Postgres. */
import { randomBytes } from 'node:crypto';
import { runBenchmark } from './child.ts';
import { killSaid, openKill } from './cluster/kill.ts';
import { memorySaid, openMemory } from './cluster/memory.ts';
import { movesSaid, openMoves } from './cluster/moves.ts';
import { openThrough, THROUGH_SAID } from './cluster/through.ts';
import type { Sample } from './figure.ts';
import { KINDS_SAID } from './place.ts';
import { PAYLOAD_BYTES } from './rig.ts';
import { startServers } from './servers.ts';

/** The default, and the shortest that is sensible. */
const LEASE_MS = 10_000;
const LEASE_SHORT_MS = 2_000;

interface Part {
  /** Rounds before those that count. */
  readonly warmUps: number;
  open(): Promise<Opened>;
}

interface Opened {
  measure(): Promise<Sample[]>;
  close(): Promise<void>;
}

/** All its runs before the next part begins: nodes of one do not stand beside the figures of another. */
async function runsOf({ warmUps, open }: Part, count: number): Promise<Sample[][]> {
  const { measure, close } = await open();
  const runs: Sample[][] = [];
  for (let run = 1 - warmUps; run <= count; run++) runs.push(await measure());
  await close();
  return runs.slice(warmUps);
}

await runBenchmark('cluster', async ({ directory, quick, runs }) => {
  const servers = await startServers('nats', 'postgres');
  if ('skipped' in servers) return servers;
  const { nats = '', postgres = '' } = servers.urls;
  // One for all nodes; they are our children.
  process.env['MILLRACE_SECRET_KEY'] = randomBytes(32).toString('base64');
  const needs = { directory, nats, postgres };
  const count = quick ? 1_000 : 5_000;
  const moved = quick ? 50 : 1_000;
  const nodes = quick ? 2 : 3;
  const idle = { subscriptions: quick ? 100 : 10_000, nodes };
  const leases = quick ? [LEASE_SHORT_MS] : [LEASE_SHORT_MS, LEASE_MS];

  const parts: readonly Part[] = [
    { warmUps: quick ? 0 : 1, open: () => openThrough({ ...needs, leaseMs: LEASE_MS, quick }, count) },
    ...leases.map((leaseMs) => ({ warmUps: 0, open: () => openKill({ ...needs, leaseMs, nodes }) })),
    { warmUps: 0, open: () => openMoves({ ...needs, leaseMs: LEASE_SHORT_MS, subscriptions: moved, quick }) },
    { warmUps: 0, open: () => openMemory({ ...needs, leaseMs: LEASE_SHORT_MS, ...idle }) },
  ];
  const figures: Sample[][][] = [];
  for (const part of parts) figures.push(await runsOf(part, runs));

  return {
    method: [
      `Nodes are processes as \`millrace start\` runs them, less the screen; events of ${PAYLOAD_BYTES} bytes; a nats-server with file storage, one replica and its default sync_interval (2 minutes), Postgres with its default settings (fsync, synchronous_commit), both started empty for this benchmark. ${KINDS_SAID}`,
      ...THROUGH_SAID(count),
      killSaid(nodes),
      movesSaid(moved),
      memorySaid(idle),
    ],
    warmUps: 0,
    pass: async (run) => figures.flatMap((part) => part[run - 1] ?? []),
    close: () => servers.remove(),
  };
});
