/** Realtime: latency to a listener, fan-out to thousands of WebSockets, and what connections take of memory. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { runBenchmark } from './child.ts';
import type { Sample } from './figure.ts';
import { startGenerator } from './processes.ts';
import { fanOutSaid, measureFanOut } from './realtime/fan-out.ts';
import { createLatency, latencySaid, pacesOf } from './realtime/latency.ts';
import { checkOpenFiles, startListeners } from './realtime/listeners.ts';
import { measureIdle, measurePaused, memorySaid } from './realtime/memory.ts';
import { startOurs, startRaw } from './realtime/servers.ts';

await runBenchmark('realtime', async ({ directory, quick }) => {
  const paces = pacesOf(quick ? 1 : 4);
  const fans = [
    { sockets: 1_000, events: quick ? 30 : 200 },
    { sockets: 5_000, events: quick ? 10 : 50 },
  ];
  const sizes = { idle: quick ? 1_000 : 5_000, events: quick ? 10_000 : 100_000 };
  checkOpenFiles(Math.max(sizes.idle, ...fans.map(({ sockets }) => sockets)));

  const [fsync, relaxed, raw, keptSynced, kept] = await Promise.all([
    startOurs({ data: join(directory, 'fsync'), durability: 'fsync' }),
    startOurs({ data: join(directory, 'relaxed'), durability: 'relaxed' }),
    startRaw(),
    startRaw({ file: join(directory, 'kept-synced'), durability: 'fsync' }),
    startRaw({ file: join(directory, 'kept'), durability: 'relaxed' }),
  ]);
  const listeners = startListeners();
  const generator = startGenerator();
  const servers = { fsync, relaxed };
  const latency = createLatency({ servers, kept: { fsync: keptSynced, relaxed: kept }, raw, listeners, generator });

  return {
    method: [latencySaid(paces), fanOutSaid(fans), memorySaid(sizes)],
    async pass(run) {
      const samples: Sample[] = [];
      if (run < 1) await latency.warmUp();
      // What the run before has left for the disk is none of this one's.
      execFileSync('sync');
      for (const pace of paces) samples.push(...(await latency.measure(pace)));
      for (const fan of fans) samples.push(...(await measureFanOut({ ours: fsync, raw, listeners }, fan)));
      // Processes of their own, as fresh in the last run as in the first: there is nothing to warm.
      if (run < 1) return samples;
      const needs = { directory: join(directory, `run-${run}`), listeners, generator };
      return [...samples, ...(await measureIdle(needs, sizes)), ...(await measurePaused(needs, sizes))];
    },
    async close() {
      listeners.stop();
      generator.close();
      await Promise.all([fsync.stop(), relaxed.stop(), raw.stop(), keptSynced.stop(), kept.stop()]);
    },
    warmUps: quick ? 0 : 1,
  };
});
