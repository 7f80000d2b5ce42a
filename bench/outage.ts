/**
 * Ten endpoints get every event; one of them refuses connections for all of them. What that costs in state and memory, what
 * the nine others feel, and how long it takes to bring the tenth up to date. Every run has a fresh gateway and a twin run
 * in which nothing fails. With --long ten times as many events.
 */
import { readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Arrived } from './arrivals.ts';
import { runBenchmark } from './child.ts';
import type { Sample } from './figure.ts';
import { type GatewayProcess, type Receiver, startGateway, startGenerator, startReceiver } from './processes.ts';
import { ENVIRONMENT, PAYLOAD_BYTES, TOPIC } from './rig.ts';
import { CONCURRENCY, openRange, samplesOf } from './sending.ts';

const ENDPOINTS = 10;
const HEALTHY = ENDPOINTS - 1;
const EVENTS = 20_000;
const EVENTS_LONG = 200_000;
const EVENTS_QUICK = 2_000;
/** 5,000 deliveries per second: far enough from the limit that what the nine feel is no queue of everybody's. */
const BATCH = 10;
const BATCHES_PER_SECOND = 50;
const CONCURRENCY_EACH = 16;
const MB = 1024 * 1024;

interface Phase {
  readonly gateway: GatewayProcess;
  readonly directory: string;
  readonly nine: Arrived;
  readonly rssMb: number;
  readonly diskMb: number;
}

await runBenchmark('outage', async ({ directory, quick, long }) => {
  const count = quick ? EVENTS_QUICK : long ? EVENTS_LONG : EVENTS;
  const generator = startGenerator();
  const nine = await startReceiver(HEALTHY);
  const range = await openRange();
  const tenth: Receiver = range.receiver;
  // The raw sender stays from pass to pass, and is asked once per pass only: it must be warm for the first.
  await range.timeRaw(quick ? EVENTS_QUICK : EVENTS);

  /** All events, until the nine have them. */
  async function phase(name: string): Promise<Phase> {
    const own = join(directory, name);
    const gateway = await startGateway({ directory: own });
    for (const [at, url] of [...nine.urls, tenth.url].entries())
      await gateway.subscribe(`bench-${at}`, { topic: TOPIC, url, concurrency: at < HEALTHY ? CONCURRENCY_EACH : CONCURRENCY });
    const to = { urls: [gateway.events], key: gateway.key, topic: TOPIC };
    const load = { form: 'batch', perRequest: BATCH, connections: 4, requestsPerSecond: BATCHES_PER_SECOND } as const;
    const prepared = await generator.prepare({ ...to, ...load, count });
    const { arrived } = await nine.expect({ count, copies: HEALTHY });
    const { failures } = await prepared.run();
    if (failures > 0) throw new Error(`${failures} events of the benchmark were refused`);
    const there = await arrived;
    return {
      gateway,
      directory: own,
      nine: there,
      rssMb: await gateway.ask('rssMb', undefined),
      diskMb: bytesIn(own) / MB,
    };
  }

  async function drain(gateway: GatewayProcess): Promise<Sample[]> {
    await tenth.goUp();
    const { attempts } = await gateway.ask('counts', undefined);
    const timed = await range.time(
      count,
      async () => {
        await gateway.ask('resume', { environment: ENVIRONMENT, id: `bench-${HEALTHY}` });
        await gateway.ask('recorded', attempts + count);
      },
      gateway.cpu,
    );
    return samplesOf('drain of the tenth', timed, await range.timeRaw(count));
  }

  async function end({ gateway, directory: own }: Phase): Promise<void> {
    await gateway.stop();
    rmSync(own, { recursive: true, force: true });
  }

  return {
    ...(long ? { name: `outage of ${count} events` } : {}),
    method: [
      `${count} events of ${PAYLOAD_BYTES} bytes, ${BATCH * BATCHES_PER_SECOND} per second in batches of ${BATCH} at times fixed in advance, each for ${ENDPOINTS} subscriptions. Column ours: the tenth endpoint refuses connections; column raw: a twin run, as fresh, in which it answers. Latency is that of the nine others, from the time a batch was to leave until each delivery is there.`,
      'Parked: rows of the tenth in the ledger at the end of the outage. Data directory: all files, log included, at that moment (the outage has fewer attempts to record). Then the tenth answers again and its subscription is resumed: until it has all, beside the raw sender as in deliver.',
    ],
    warmUps: 0,
    async pass(run) {
      const calm = await phase(`calm-${run}`);
      await end(calm);
      await tenth.goDown();
      const outage = await phase(`outage-${run}`);
      const { parked, parkedBytes } = await outage.gateway.ask('health', { environment: ENVIRONMENT, id: `bench-${HEALTHY}` });
      const pair = (name: string, unit: string, of: (one: Phase) => number): Sample => ({
        name,
        unit,
        ours: of(outage),
        raw: of(calm),
      });
      const samples = [
        { name: 'parked', unit: 'rows', ours: parked },
        { name: 'parked', unit: 'KB of events they stand for', ours: parkedBytes / 1024 },
        pair('data directory', 'MB', ({ diskMb }) => diskMb),
        pair('resident memory', 'MB', ({ rssMb }) => rssMb),
        pair('the nine, p50', 'ms', (one) => one.nine.each?.p50Ms ?? Number.NaN),
        pair('the nine, p99', 'ms', (one) => one.nine.each?.p99Ms ?? Number.NaN),
        { name: 'the nine, duplicates', unit: 'deliveries', ours: outage.nine.duplicates },
        ...(await drain(outage.gateway)),
      ];
      await end(outage);
      return samples;
    },
    async close() {
      generator.close();
      nine.close();
      range.close();
    },
  };
});

function bytesIn(directory: string): number {
  let bytes = 0;
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) bytes += statSync(join(entry.parentPath, entry.name)).size;
  return bytes;
}
