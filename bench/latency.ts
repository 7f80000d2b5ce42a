/** How long an event takes from its publisher to the receiver, at rates that are far from the limit. */
import { join } from 'node:path';
import type { Latencies } from './arrivals.ts';
import { runBenchmark } from './child.ts';
import type { Sample } from './figure.ts';
import { startGateway, startGenerator, startReceiver } from './processes.ts';
import { createRates, latencyOf, type Rate } from './rates.ts';
import { PAYLOAD_BYTES, TOPIC } from './rig.ts';
import { CONCURRENCY } from './sending.ts';

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
  const rates = createRates({ generator, receiver, quick });

  async function measure(kind: Rate): Promise<Sample[]> {
    const [own, straight] = [await rates.at(kind, gateway), await rates.straightAt(kind)];
    const name = `${kind.rate}/s`;
    return [
      ...FIGURES.map(([what, figure]) => ({
        name: `${name}, ${what}`,
        unit: 'ms',
        ours: latencyOf(own, figure),
        raw: latencyOf(straight, figure),
      })),
      { name: `${name}, the generator's own lateness, p99`, unit: 'ms', ours: own.lateP99Ms, raw: straight.lateP99Ms },
      { name: `${name}, CPU`, unit: 'µs per event', ours: (own.cpuMs * 1_000) / own.count },
    ];
  }

  return {
    method: [
      `${rates.said} Payloads of ${PAYLOAD_BYTES} bytes; fsync, signing and attempts on.`,
      'Raw: the same generator posts the same payloads straight to the receiver.',
    ],
    async pass() {
      const samples: Sample[] = [];
      for (const kind of rates.kinds) samples.push(...(await measure(kind)));
      return samples;
    },
    async close() {
      generator.close();
      receiver.close();
      await gateway.stop();
    },
  };
});
