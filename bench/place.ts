/** A gateway with all that is around it for a delivery: generator, receiver and a raw sender, each a process of its own. */
import type { Sample } from './figure.ts';
import type { Setup } from './gateway-process.ts';
import type { Load } from './load.ts';
import { type GatewayProcess, type Generator, startGateway, startGenerator } from './processes.ts';
import { TOPIC } from './rig.ts';
import { CONCURRENCY, openRange, type Range, samplesOf, type Timed } from './sending.ts';
import { addressedTo } from './stamp.ts';

/** What a subscription has by default; many of them have more in flight together than one with CONCURRENCY. */
export const CONCURRENCY_OF_MANY = 16;

/** How events are published. */
export interface Kind {
  readonly name: string;
  readonly load: Pick<Load, 'form' | 'perRequest' | 'connections'>;
  /** Of ours ÷ raw. */
  readonly aim: number;
}

export const SINGLE: Kind = { name: 'single', load: { form: 'event', connections: 32 }, aim: 0.4 };
export const BATCHES: Kind = { name: 'batches', load: { form: 'batch', perRequest: 100, connections: 4 }, aim: 0.6 };
export const KINDS_SAID = `Single: one event per POST /v1/events, ${SINGLE.load.connections} connections. Batches: ${BATCHES.load.perRequest} per request, ${BATCHES.load.connections} connections.`;

export interface Place {
  readonly gateway: GatewayProcess;
  readonly generator: Generator;
  readonly range: Range;
  through(kind: Kind, count: number): Promise<Timed>;
  close(): Promise<void>;
}

/** With one subscription per endpoint, all on one topic: by a filter each event is for one of them. */
export async function openPlace(setup: Setup, endpoints = 1): Promise<Place> {
  const gateway = await startGateway(setup);
  const generator = startGenerator();
  const range = await openRange({ endpoints, cpu: gateway.cpu });
  const concurrency = endpoints === 1 ? CONCURRENCY : CONCURRENCY_OF_MANY;
  for (const [at, url] of range.receiver.urls.entries()) {
    const filter = endpoints === 1 ? {} : { filter: addressedTo(at) };
    await gateway.subscribe(`bench-${at}`, { topic: TOPIC, url, concurrency, ...filter });
  }
  return {
    gateway,
    generator,
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

/** Single events and batches, the raw sender between them. */
export async function measureKinds({ range, through }: Place, of: string, count: number): Promise<Sample[]> {
  const [single, raw, batches] = [await through(SINGLE, count), await range.timeRaw(count), await through(BATCHES, count)];
  return [
    ...samplesOf(`${of}, ${SINGLE.name}`, single, raw, SINGLE.aim),
    ...samplesOf(`${of}, ${BATCHES.name}`, batches, raw, BATCHES.aim),
  ];
}
