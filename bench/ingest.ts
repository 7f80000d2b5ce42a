/** Publishing over HTTP: how many events per second are taken and durable, and how long their publishers wait. */
import { join } from 'node:path';
import { runBenchmark } from './child.ts';
import { type Cpu, cpuBetween } from './cpu.ts';
import type { Sample } from './figure.ts';
import type { Load, Loaded } from './load.ts';
import { type GatewayProcess, nextMessage, startGateway, startGenerator, startProcess, startReceiver } from './processes.ts';
import { PAYLOAD_BYTES, TOPIC } from './rig.ts';

const BATCH = 100;
const CEILING_CONNECTIONS = 32;
const LOADS: readonly { readonly name: string; readonly load: Pick<Load, 'form' | 'connections' | 'perRequest'> }[] = [
  ...[1, 32, 256].map((connections) => ({
    name: `${connections} connection${connections === 1 ? '' : 's'}`,
    load: { form: 'event' as const, connections },
  })),
  { name: `batches of ${BATCH}, 4 connections`, load: { form: 'batch', connections: 4, perRequest: BATCH } },
];

await runBenchmark('ingest', async ({ directory, quick }) => {
  const spanMs = quick ? 400 : 1_000;
  const generator = startGenerator();
  const ours = await startGateway({ directory: join(directory, 'ours') });
  const hollow = await startGateway({ directory: join(directory, 'hollow'), hollow: true });
  const bare = startProcess('bare-server.ts');
  const { port } = await nextMessage<{ readonly port: number }>(bare);
  const receiver = await startReceiver();

  async function into(gateway: GatewayProcess, load: (typeof LOADS)[number]['load']): Promise<Loaded & Cpu> {
    const prepared = await generator.prepare({ ...load, urls: [gateway.events], key: gateway.key, topic: TOPIC, spanMs });
    const before = await gateway.cpu();
    const loaded = await prepared.run();
    if (loaded.failures > 0) throw new Error(`${loaded.failures} events of the benchmark were refused`);
    return { ...loaded, ...cpuBetween(before, await gateway.cpu()) };
  }

  async function measure({ name, load }: (typeof LOADS)[number]): Promise<Sample[]> {
    const [own, raw] = [await into(ours, load), await into(hollow, load)];
    const sample = (what: string, unit: string, of: (one: Loaded & Cpu) => number): Sample => ({
      name: `${name}${what}`,
      unit,
      ours: of(own),
      raw: of(raw),
    });
    return [
      sample('', 'events/s', perSecond),
      sample(', p99', 'ms', ({ p99Ms }) => p99Ms),
      sample(', CPU', 'µs per event', ({ cpuMs, events }) => (cpuMs * 1_000) / events),
      sample(', CPU of the main thread', 'µs per event', ({ mainMs, events }) => (mainMs * 1_000) / events),
    ];
  }

  /** What the generator reaches against a server that does nothing. */
  async function ceiling(name: string, url: string): Promise<Sample> {
    const load = { urls: [url], form: 'payload', connections: CEILING_CONNECTIONS, spanMs } as const;
    const prepared = await generator.prepare(load);
    return {
      name: `generator against ${name}, ${CEILING_CONNECTIONS} connections`,
      unit: 'requests/s',
      ours: perSecond(await prepared.run()),
    };
  }

  return {
    method: [
      `${PAYLOAD_BYTES} bytes of JSON per event, POST /v1/events, ${spanMs} ms per run and kind; each connection waits for its 202 before it posts again. The gateway is a process of its own (embedded log, fsync, no subscription), the generator another, on plain sockets.`,
      'Raw: the very same server (same keys, parsing, answers), with a gateway behind it that says at once that every event is stored. CPU is that of the gateway process. The last rows say what the generator can do by itself: against node:http that answers 202, and against the receiver of the other benchmarks.',
    ],
    warmUps: quick ? 1 : 3,
    async pass() {
      const samples: Sample[] = [];
      for (const load of LOADS) samples.push(...(await measure(load)));
      samples.push(await ceiling('node:http', `http://127.0.0.1:${port}/`), await ceiling('the receiver', receiver.url));
      return samples;
    },
    async close() {
      generator.close();
      bare.disconnect();
      receiver.close();
      await Promise.all([ours.stop(), hollow.stop()]);
    },
  };
});

function perSecond({ events, ms }: Loaded): number {
  return (events * 1_000) / ms;
}
