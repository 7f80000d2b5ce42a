/** Realtime: latency to a listener, fan-out to thousands of WebSockets, and what connections take of memory. */
import { join } from 'node:path';
import { runBenchmark } from './child.ts';
import type { Sample } from './figure.ts';
import { startGenerator } from './processes.ts';
import { fanOutSaid, measureFanOut } from './realtime/fan-out.ts';
import { latencySaid, measureLatency, pacesOf } from './realtime/latency.ts';
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

  const [fsync, relaxed, raw] = await Promise.all([
    startOurs({ data: join(directory, 'fsync'), durability: 'fsync' }),
    startOurs({ data: join(directory, 'relaxed'), durability: 'relaxed' }),
    startRaw(),
  ]);
  const listeners = startListeners();
  const generator = startGenerator();

  return {
    method: [latencySaid(paces), fanOutSaid(fans), memorySaid(sizes)],
    async pass(run) {
      const samples: Sample[] = [];
      for (const pace of paces)
        samples.push(...(await measureLatency({ servers: { fsync, relaxed }, raw, listeners, generator }, pace)));
      for (const fan of fans) samples.push(...(await measureFanOut({ ours: fsync, raw, listeners }, fan)));
      // Processes of their own, as fresh in the last run as in the first: there is nothing to warm.
      if (run < 1) return samples;
      const needs = { directory: join(directory, `run-${run}`), listeners, generator };
      return [...samples, ...(await measureIdle(needs, sizes)), ...(await measurePaused(needs, sizes))];
    },
    async close() {
      listeners.stop();
      generator.close();
      await Promise.all([fsync.stop(), relaxed.stop(), raw.stop()]);
    },
    warmUps: quick ? 0 : 1,
  };
});
