/** One event for a hundred subscriptions, and a thousand publishers at once. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import type { Arrived } from './arrivals.ts';
import { runBenchmark } from './child.ts';
import type { Sample } from './figure.ts';
import type { Load, Loaded } from './load.ts';
import { type GatewayProcess, startGateway, startGenerator } from './processes.ts';
import { PAYLOAD_BYTES, TOPIC } from './rig.ts';
import { openRange, samplesOf } from './sending.ts';

const SUBSCRIPTIONS = 100;
/** What a subscription has by default. */
const CONCURRENCY = 16;
/** Slow enough that an event's copies are out before the next one comes. */
const EVENTS_PER_SECOND = 20;
const BATCH = 10;
const PUBLISHERS = 1_000;
/** A process's own files, sockets to ask it, and what Node keeps open. */
const OTHER_FILES = 100;

checkOpenFiles(PUBLISHERS + OTHER_FILES);

await runBenchmark('fan', async ({ directory, quick }) => {
  const events = quick ? 50 : 200;
  const spanMs = quick ? 500 : 1_500;
  const generator = startGenerator();
  const out = await startGateway({ directory: join(directory, 'out') });
  const into = await startGateway({ directory: join(directory, 'in') });
  const hollow = await startGateway({ directory: join(directory, 'hollow'), hollow: true });
  const range = await openRange({ endpoints: SUBSCRIPTIONS, cpu: out.cpu });
  const { receiver } = range;
  for (const [at, url] of receiver.urls.entries())
    await out.subscribe(`bench-${at}`, { topic: TOPIC, url, concurrency: CONCURRENCY });
  const to = ({ events: url, key }: GatewayProcess) => ({ urls: [url], key, topic: TOPIC });

  async function asFastAsItCan(): Promise<Sample[]> {
    const count = events * SUBSCRIPTIONS;
    const { attempts } = await out.ask('counts', undefined);
    const load = { ...to(out), form: 'batch', perRequest: BATCH, connections: 1, count: events } as const;
    const prepared = await generator.prepare(load);
    const ours = await range.time(count, async () => {
      withoutFailures(await prepared.run());
      await out.ask('recorded', attempts + count);
    });
    return samplesOf(`1 → ${SUBSCRIPTIONS}`, ours, await range.timeRaw(count)).map((sample) =>
      sample.unit === 'events/s'
        ? { ...sample, unit: 'deliveries/s' }
        : { ...sample, unit: sample.unit.replace('event', 'delivery') },
    );
  }

  async function atLeisure(way: Pick<Load, 'urls' | 'form' | 'key' | 'topic'>, connections: number): Promise<Arrived> {
    const load = { ...way, connections, count: events, requestsPerSecond: EVENTS_PER_SECOND };
    const prepared = await generator.prepare(load);
    const { arrived } = await receiver.expect({ count: events, copies: SUBSCRIPTIONS });
    withoutFailures(await prepared.run());
    return arrived;
  }

  async function lastOfAll(): Promise<Sample[]> {
    const ours = await atLeisure({ ...to(out), form: 'event' }, 4);
    const raw = await atLeisure({ urls: receiver.urls, form: 'payload' }, 2);
    const name = `1 → ${SUBSCRIPTIONS} at ${EVENTS_PER_SECOND}/s, last delivery of an event`;
    return (['p50Ms', 'p99Ms'] as const).map((figure) => ({
      name: `${name}, ${figure.slice(0, 3)}`,
      unit: 'ms',
      ours: ours.last?.[figure] ?? Number.NaN,
      raw: raw.last?.[figure] ?? Number.NaN,
    }));
  }

  async function manyPublishers(): Promise<Sample[]> {
    const publish = async (gateway: GatewayProcess): Promise<Loaded> =>
      (await generator.prepare({ ...to(gateway), form: 'event', connections: PUBLISHERS, spanMs })).run();
    const [ours, raw] = [await publish(into), await publish(hollow)];
    const sample = (what: string, unit: string, of: (one: Loaded) => number): Sample => ({
      name: `${PUBLISHERS} → 1${what}`,
      unit,
      ours: of(ours),
      raw: of(raw),
    });
    return [
      sample('', 'events/s', (one) => (one.events * 1_000) / one.ms),
      sample(', p99', 'ms', ({ p99Ms }) => p99Ms),
      { name: `${PUBLISHERS} → 1, failures`, unit: 'events', ours: ours.failures },
    ];
  }

  return {
    method: [
      `Fan-out: ${events} events of ${PAYLOAD_BYTES} bytes per run, ${BATCH} per publish, each for ${SUBSCRIPTIONS} subscriptions with a port each and ${CONCURRENCY} deliveries at once each; until the receiver has all. Raw: as in end-to-end. Then ${EVENTS_PER_SECOND} single events per second, sent at times fixed in advance, from then until the last of their ${SUBSCRIPTIONS} deliveries is there. Raw: the generator posts to all ports itself.`,
      `Fan-in: ${PUBLISHERS} connections, each publishes single events and waits for its answer, for ${spanMs} ms. Raw: the same server without a log.`,
    ],
    async pass() {
      return [...(await asFastAsItCan()), ...(await lastOfAll()), ...(await manyPublishers())];
    },
    async close() {
      range.close();
      generator.close();
      await Promise.all([out.stop(), into.stop(), hollow.stop()]);
    },
  };
});

function withoutFailures({ failures }: Loaded): void {
  if (failures > 0) throw new Error(`${failures} events of the benchmark were refused`);
}

function checkOpenFiles(needed: number): void {
  const limit = execFileSync('/bin/sh', ['-c', 'ulimit -n']).toString().trim();
  if (limit !== 'unlimited' && Number(limit) < needed)
    throw new Error(`${PUBLISHERS} publishers need ${needed} open files per process, \`ulimit -n\` is ${limit}: raise it`);
}
