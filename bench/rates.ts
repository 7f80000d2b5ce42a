/** Events at a fixed rate, far from the limit: how long each takes to the receiver, through a gateway or straight. */
import type { Arrived, Latencies } from './arrivals.ts';
import { type Cpu, cpuBetween } from './cpu.ts';
import type { Load } from './load.ts';
import type { GatewayProcess, Generator, Receiver } from './processes.ts';
import { TOPIC } from './rig.ts';

export interface Rate {
  readonly rate: number;
  readonly seconds: number;
}

/** Per second, and for how long: the slow one longer, so that its p99 is more than its worst. */
const RATES: readonly Rate[] = [
  { rate: 100, seconds: 6 },
  { rate: 1_000, seconds: 4 },
];
const QUICK_SECONDS = 1;
const CONNECTIONS = 32;

export interface Paced extends Arrived, Cpu {
  readonly lateP99Ms: number;
  readonly count: number;
}

export interface Rates {
  readonly kinds: readonly Rate[];
  /** For the method. */
  readonly said: string;
  at(rate: Rate, gateway: GatewayProcess): Promise<Paced>;
  /** The generator posts to the receiver itself. */
  straightAt(rate: Rate): Promise<Paced>;
}

interface Needs {
  readonly generator: Generator;
  readonly receiver: Receiver;
  readonly quick: boolean;
}

export function createRates({ generator, receiver, quick }: Needs): Rates {
  const kinds = RATES.map(({ rate, seconds }) => ({ rate, seconds: quick ? QUICK_SECONDS : seconds }));

  async function paced(
    { rate, seconds }: Rate,
    way: Pick<Load, 'urls' | 'form' | 'key' | 'topic'>,
    cpu: () => Promise<Cpu>,
  ): Promise<Paced> {
    const count = rate * seconds;
    const prepared = await generator.prepare({ ...way, connections: CONNECTIONS, requestsPerSecond: rate, count });
    const { arrived } = await receiver.expect({ count, copies: 1 });
    const before = await cpu();
    const { failures, lateP99Ms } = await prepared.run();
    if (failures > 0) throw new Error(`${failures} events of the benchmark were refused`);
    return { ...(await arrived), ...cpuBetween(before, await cpu()), lateP99Ms, count };
  }

  return {
    kinds,
    said: `Single events at a fixed rate, ${kinds.map(({ rate, seconds }) => `${rate}/s for ${seconds} s`).join(', ')}, over ${CONNECTIONS} connections. Times to send are fixed in advance and stand in the payload; a request that leaves late counts from when it should have left (no coordinated omission). Measured where the receiver has the whole request, on the clock that all processes of the machine share.`,
    at: (rate, { events, key, cpu }) => paced(rate, { urls: [events], key, topic: TOPIC, form: 'event' }, cpu),
    straightAt: (rate) => paced(rate, { urls: [receiver.url], form: 'payload' }, async () => ({ cpuMs: 0, mainMs: 0 })),
  };
}

export function latencyOf(one: Arrived, figure: keyof Latencies): number {
  return one.each?.[figure] ?? Number.NaN;
}
