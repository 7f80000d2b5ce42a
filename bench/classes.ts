/** Whether an `interactive` topic feels a flood on a `bulk` one. */
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import type { Arrived, Latencies } from './arrivals.ts';
import { runBenchmark } from './child.ts';
import type { Sample } from './figure.ts';
import type { Loaded } from './load.ts';
import { type Generator, startGateway, startGenerator, startReceiver } from './processes.ts';
import { ENVIRONMENT, PAYLOAD_BYTES } from './rig.ts';
import { CONCURRENCY } from './sending.ts';

const AIM = 1.2;
const INTERACTIVE = 'chat.said';
const BULK = 'rows.exported';
const PER_SECOND = 50;
const FLOOD = { form: 'batch', perRequest: 100, connections: 4 } as const;
/** Until the flood is a flood, and how long it goes on when everything was sent. */
const LEAD_MS = 500;

await runBenchmark('classes', async ({ directory, quick }) => {
  const seconds = quick ? 2 : 8;
  const count = PER_SECOND * seconds;
  const gateway = await startGateway({
    directory: join(directory, 'ours'),
    topics: [
      { name: INTERACTIVE, latency: 'interactive' },
      { name: BULK, latency: 'bulk' },
    ],
  });
  const [receiver, straightReceiver, bulkReceiver] = [await startReceiver(), await startReceiver(), await startReceiver()];
  const [generator, straight, flood] = [startGenerator(), startGenerator(), startGenerator()];
  const own = { urls: [gateway.events], key: gateway.key } as const;
  await gateway.subscribe('interactive', { topic: INTERACTIVE, url: receiver.url, concurrency: CONCURRENCY });

  /** Through the gateway and, at the same time, past it: what the machine alone does to a request. */
  async function fewBeside(): Promise<{ readonly ours: Arrived; readonly machine: Arrived }> {
    const rate = { connections: 8, requestsPerSecond: PER_SECOND, count };
    const prepared = [
      await generator.prepare({ ...own, ...rate, form: 'event', topic: INTERACTIVE }),
      await straight.prepare({ ...rate, urls: [straightReceiver.url], form: 'payload' }),
    ];
    const expected = { count, copies: 1 };
    const [ours, machine] = [await receiver.expect(expected), await straightReceiver.expect(expected)];
    const [loaded] = await Promise.all(prepared.map((one) => one.run()));
    if (loaded === undefined || loaded.failures > 0) throw new Error('an event of the benchmark was refused');
    return { ours: await ours.arrived, machine: await machine.arrived };
  }

  /** What is still undelivered at its end is forgotten: a flood is longer than what there is time to deliver. */
  async function flooded<T>(
    work: () => Promise<T>,
  ): Promise<{ readonly result: T; readonly loaded: Loaded; readonly delivered: number }> {
    const named = { environment: ENVIRONMENT, id: 'bulk' };
    await gateway.subscribe('bulk', { topic: BULK, url: bulkReceiver.url, concurrency: CONCURRENCY });
    const load = { ...own, ...FLOOD, topic: BULK, spanMs: 2 * LEAD_MS + seconds * 1_000 };
    const prepared = await flood.prepare(load);
    const before = await gateway.ask('counts', undefined);
    const flooding = prepared.run();
    await setTimeout(LEAD_MS);
    const result = await work();
    const loaded = await flooding;
    const { attempts } = await gateway.ask('counts', undefined);
    await gateway.ask('unsubscribe', named);
    return { result, loaded, delivered: ((attempts - before.attempts - count) * 1_000) / loaded.ms };
  }

  return {
    method: [
      `Single events of ${PAYLOAD_BYTES} bytes on a topic of class interactive, ${PER_SECOND}/s for ${seconds} s at times fixed in advance, from then until the receiver has them: alone (column raw) and beside a flood (column ours) on a topic of class bulk with another subscription and endpoint: batches of ${FLOOD.perRequest} over ${FLOOD.connections} connections, as many as the gateway takes, delivered meanwhile, ${CONCURRENCY} at once.`,
      'At the same time another generator posts at the same rate straight to a receiver of its own: what sharing two cores with the flood costs by itself.',
    ],
    async pass() {
      const alone = await fewBeside();
      const { result: beside, loaded, delivered } = await flooded(fewBeside);
      return [
        ...figures('interactive', beside.ours.each, alone.ours.each, AIM),
        ...figures('past the gateway', beside.machine.each, alone.machine.each),
        { name: 'bulk, accepted meanwhile', unit: 'events/s', ours: (loaded.events * 1_000) / loaded.ms },
        { name: 'bulk, delivered meanwhile', unit: 'events/s', ours: delivered },
      ];
    },
    async close() {
      for (const one of [generator, straight, flood] satisfies Generator[]) one.close();
      for (const one of [receiver, straightReceiver, bulkReceiver]) one.close();
      await gateway.stop();
    },
  };
});

function figures(name: string, beside: Latencies | undefined, alone: Latencies | undefined, aim?: number): Sample[] {
  const sample = (what: string, figure: keyof Latencies): Sample => ({
    name: `${name}, ${what}`,
    unit: 'ms',
    ours: beside?.[figure] ?? Number.NaN,
    raw: alone?.[figure] ?? Number.NaN,
  });
  return [sample('p50', 'p50Ms'), { ...sample('p99', 'p99Ms'), ...(aim === undefined ? {} : { aim }) }];
}
