/** Publishing alone: how many events per second become durable, and how long the slowest publishers wait. */
import { join } from 'node:path';
import { runBenchmark } from './child.ts';
import { percentile, type Sample } from './figure.ts';
import { createRawTable } from './raw-table.ts';
import { openRig, PAYLOAD_BYTES, eventsOf, APP, ENVIRONMENT } from './rig.ts';

const PUBLISHERS = [1, 32, 512];

await runBenchmark('append', async ({ directory, quick }) => {
  const spanMs = quick ? 200 : 600;
  const rig = await openRig({ directory: join(directory, 'ours') });
  const raw = createRawTable(join(directory, 'raw.db'));

  async function ours(
    publishers: number,
  ): Promise<{ readonly waitsMs: number[]; readonly ms: number; readonly commits: number }> {
    const waitsMs: number[] = [];
    const appendsBefore = rig.counts.appends;
    const startedMs = performance.now();
    const publisher = async (): Promise<void> => {
      for (let nowMs = performance.now(); nowMs - startedMs < spanMs;) {
        await rig.gateway.publish({ environment: ENVIRONMENT, app: APP, events: eventsOf(1) });
        const endMs = performance.now();
        waitsMs.push(endMs - nowMs);
        nowMs = endMs;
      }
    };
    await Promise.all(Array.from({ length: publishers }, publisher));
    return { waitsMs, ms: performance.now() - startedMs, commits: rig.counts.appends - appendsBefore };
  }

  async function measure(publishers: number): Promise<Sample[]> {
    const { waitsMs, ms, commits } = await ours(publishers);
    const group = Math.max(1, Math.round(waitsMs.length / commits));
    const alone = raw.write(waitsMs.length, group);
    const name = `${publishers} publisher${publishers === 1 ? '' : 's'}`;
    return [
      { name, unit: 'events/s', ours: (waitsMs.length * 1_000) / ms, raw: (waitsMs.length * 1_000) / alone.ms },
      { name: `${name}, p99`, unit: 'ms', ours: percentile(waitsMs, 0.99), raw: percentile(alone.commitsMs, 0.99) },
      { name: `${name}, group`, unit: 'events per commit', ours: waitsMs.length / commits, raw: group },
    ];
  }

  return {
    method: [
      `${PAYLOAD_BYTES} bytes of payload, one event per publish() call, ${spanMs} ms per run and number of publishers in process; each publisher waits for its event to be durable before it sends the next.`,
      'Raw: as many rows of the same bytes written by node:sqlite alone, on the main thread, into a table of the same shape (WAL, synchronous FULL, 16 KiB pages), in transactions of the group size that ours had on average. Its p99 is that of a whole transaction.',
    ],
    async pass() {
      const samples: Sample[] = [];
      for (const publishers of PUBLISHERS) samples.push(...(await measure(publishers)));
      return samples;
    },
    async close() {
      raw.close();
      await rig.close();
    },
  };
});
