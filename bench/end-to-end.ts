/** The whole way: published over HTTP, stored, delivered to a webhook; to one endpoint, and to one of a hundred. */
import { join } from 'node:path';
import { runBenchmark } from './child.ts';
import type { Sample } from './figure.ts';
import type { Load } from './load.ts';
import { startGateway, startGenerator } from './processes.ts';
import { PAYLOAD_BYTES, TOPIC } from './rig.ts';
import { CONCURRENCY, openRange, type Range, samplesOf, type Timed } from './sending.ts';
import { addressedTo } from './stamp.ts';

const ENDPOINTS = 100;
/** What a subscription has by default; 100 of them have more in flight together than one with CONCURRENCY. */
const CONCURRENCY_OF_MANY = 16;

interface Kind {
  readonly name: string;
  readonly load: Pick<Load, 'form' | 'perRequest' | 'connections'>;
  /** Of ours ÷ raw. */
  readonly aim: number;
}

const SINGLE: Kind = { name: 'single', load: { form: 'event', connections: 32 }, aim: 0.4 };
const BATCHES: Kind = { name: 'batches', load: { form: 'batch', perRequest: 100, connections: 4 }, aim: 0.6 };

interface Place {
  readonly range: Range;
  through(kind: Kind, count: number): Promise<Timed>;
  close(): Promise<void>;
}

/** A gateway with one subscription per endpoint, all on one topic: by a filter each event is for one of them. */
async function openPlace(directory: string, endpoints: number): Promise<Place> {
  const gateway = await startGateway({ directory });
  const generator = startGenerator();
  const range = await openRange({ endpoints, cpu: gateway.cpu });
  const concurrency = endpoints === 1 ? CONCURRENCY : CONCURRENCY_OF_MANY;
  for (const [at, url] of range.receiver.urls.entries()) {
    const filter = endpoints === 1 ? {} : { filter: addressedTo(at) };
    await gateway.subscribe(`bench-${at}`, { topic: TOPIC, url, concurrency, ...filter });
  }
  return {
    range,
    async through({ load }, count) {
      const { attempts } = await gateway.ask('counts', undefined);
      const to = { urls: [gateway.events], key: gateway.key, topic: TOPIC };
      const prepared = await generator.prepare({ ...load, ...to, endpoints, count });
      return range.time(count, async () => {
        const { failures } = await prepared.run();
        if (failures > 0) throw new Error(`${failures} events of the benchmark were refused`);
        await gateway.ask('recorded', attempts + count);
      });
    },
    async close() {
      range.close();
      generator.close();
      await gateway.stop();
    },
  };
}

await runBenchmark('end-to-end', async ({ directory, quick }) => {
  const count = quick ? 4_000 : 12_000;
  const one = await openPlace(join(directory, 'one'), 1);
  const many = await openPlace(join(directory, 'many'), ENDPOINTS);

  async function measure({ range, through }: Place, of: string): Promise<Sample[]> {
    const [single, raw, batches] = [await through(SINGLE, count), await range.timeRaw(count), await through(BATCHES, count)];
    return [
      ...samplesOf(`${of}, ${SINGLE.name}`, single, raw, SINGLE.aim),
      ...samplesOf(`${of}, ${BATCHES.name}`, batches, raw, BATCHES.aim),
    ];
  }

  return {
    method: [
      `${count} events of ${PAYLOAD_BYTES} bytes per run and kind, from the first request to the gateway until the receiver has all. Single: one event per POST /v1/events, ${SINGLE.load.connections} connections. Batches: ${BATCHES.load.perRequest} per request, ${BATCHES.load.connections} connections. Generator, gateway and receiver are processes of their own; fsync, signing and attempts on.`,
      `1 endpoint: one subscription, ${CONCURRENCY} deliveries at once. ${ENDPOINTS} endpoints: as many ports and subscriptions on one topic, each event for one of them by an equality filter on its data, ${CONCURRENCY_OF_MANY} deliveries at once each.`,
      'Raw: as in deliver, over as many connections, at least one per endpoint. CPU is that of the gateway process, and of the raw sender.',
    ],
    warmUps: quick ? 1 : 3,
    async pass() {
      return [...(await measure(one, '1 endpoint')), ...(await measure(many, `${ENDPOINTS} endpoints`))];
    },
    async close() {
      await Promise.all([one.close(), many.close()]);
    },
  };
});
