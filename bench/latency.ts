/** How long an event takes from its publisher to the receiver, at rates that are far from the limit. */
import { join } from 'node:path';
import type { Arrived, Latencies } from './arrivals.ts';
import { runBenchmark } from './child.ts';
import { type Cpu, cpuBetween } from './cpu.ts';
import type { Sample } from './figure.ts';
import type { Load } from './load.ts';
import { startGateway, startGenerator, startReceiver } from './processes.ts';
import { PAYLOAD_BYTES, TOPIC } from './rig.ts';
import { CONCURRENCY } from './sending.ts';

/** Per second, and for how long: the slow one longer, so that its p99 is more than its worst. */
const RATES = [
  { rate: 100, seconds: 6 },
  { rate: 1_000, seconds: 4 },
] as const;
const QUICK_SECONDS = 1;
const CONNECTIONS = 32;
const FIGURES: readonly (readonly [string, keyof Latencies])[] = [
  ['p50', 'p50Ms'],
  ['p95', 'p95Ms'],
  ['p99', 'p99Ms'],
];

await runBenchmark('latency', async ({ directory, quick }) => {
  const gateway = await startGateway({ directory: join(directory, 'ours') });
  const receiver = await startReceiver();
  const generator = startGenerator();
  await gateway.subscribe('bench', { topic: TOPIC, url: receiver.url, concurrency: CONCURRENCY });
  const ours = { urls: [gateway.events], key: gateway.key, topic: TOPIC, form: 'event' } as const;
  const raw = { urls: [receiver.url], form: 'payload' } as const;

  async function at(
    { rate, seconds }: (typeof RATES)[number],
    way: Pick<Load, 'urls' | 'form' | 'key' | 'topic'>,
  ): Promise<Arrived & Cpu & { readonly lateP99Ms: number; readonly count: number }> {
    const count = rate * (quick ? QUICK_SECONDS : seconds);
    const prepared = await generator.prepare({ ...way, connections: CONNECTIONS, requestsPerSecond: rate, count });
    const { arrived } = await receiver.expect({ count, copies: 1 });
    const before = await gateway.cpu();
    const { failures, lateP99Ms } = await prepared.run();
    if (failures > 0) throw new Error(`${failures} events of the benchmark were refused`);
    return { ...(await arrived), ...cpuBetween(before, await gateway.cpu()), lateP99Ms, count };
  }

  async function measure(kind: (typeof RATES)[number]): Promise<Sample[]> {
    const [own, straight] = [await at(kind, ours), await at(kind, raw)];
    const name = `${kind.rate}/s`;
    const each = (one: Arrived, figure: keyof Latencies): number => one.each?.[figure] ?? Number.NaN;
    return [
      ...FIGURES.map(([what, figure]) => ({
        name: `${name}, ${what}`,
        unit: 'ms',
        ours: each(own, figure),
        raw: each(straight, figure),
      })),
      { name: `${name}, the generator's own lateness, p99`, unit: 'ms', ours: own.lateP99Ms, raw: straight.lateP99Ms },
      { name: `${name}, CPU`, unit: 'µs per event', ours: (own.cpuMs * 1_000) / own.count },
    ];
  }

  return {
    method: [
      `Single events of ${PAYLOAD_BYTES} bytes at a fixed rate, ${RATES.map(({ rate, seconds }) => `${rate}/s for ${quick ? QUICK_SECONDS : seconds} s`).join(', ')}, over ${CONNECTIONS} connections. Times to send are fixed in advance and stand in the payload; a request that leaves late counts from when it should have left (no coordinated omission). Measured where the receiver has the whole request, on the clock that all processes of the machine share. fsync, signing and attempts on.`,
      'Raw: the same generator posts the same payloads straight to the receiver.',
    ],
    async pass() {
      const samples: Sample[] = [];
      for (const kind of RATES) samples.push(...(await measure(kind)));
      return samples;
    },
    async close() {
      generator.close();
      receiver.close();
      await gateway.stop();
    },
  };
});
