/** How long an event takes from its publisher to one that listens. */
import type { Latencies } from '../arrivals.ts';
import type { Sample } from '../figure.ts';
import type { Load } from '../load.ts';
import type { Generator } from '../processes.ts';
import { PAYLOAD_BYTES, TOPIC } from '../rig.ts';
import type { Listeners } from './listeners.ts';
import type { Server, Way } from './servers.ts';

export interface Pace {
  readonly rate: number;
  readonly seconds: number;
  readonly durability: 'fsync' | 'relaxed';
  readonly figures: readonly (readonly [string, keyof Latencies])[];
}

interface Needs {
  readonly servers: Readonly<Record<Pace['durability'], Server>>;
  readonly raw: Server;
  /** As `raw`, but a thread keeps each event in a file before it goes on. */
  readonly kept: Readonly<Record<Pace['durability'], Server>>;
  readonly listeners: Listeners;
  readonly generator: Generator;
}

const ALL: Pace['figures'] = [
  ['p50', 'p50Ms'],
  ['p95', 'p95Ms'],
  ['p99', 'p99Ms'],
];

/** The slow one is what somebody sees who works with it alone. */
export const pacesOf = (seconds: number): readonly Pace[] => [
  { rate: 1_000, seconds, durability: 'fsync', figures: ALL },
  { rate: 100, seconds, durability: 'relaxed', figures: [['p50 (aim: below 1 ms)', 'p50Ms']] },
];
const TRANSPORTS: readonly Way['transport'][] = ['websocket', 'sse'];
const CONNECTIONS = 32;
const HALF_S = 0.5;
/** The slow pace alone would measure code that is not compiled yet: a gateway that has run for a minute has had more. Less than the credit of a listener. */
const WARM_EVENTS = 9_000;
const WARM_RATE = 1_500;

export const latencySaid = (paces: readonly Pace[]): string =>
  `Latency: single events of ${PAYLOAD_BYTES} bytes by POST over ${CONNECTIONS} connections at a fixed rate, ${paces.map(({ rate, seconds, durability }) => `${rate}/s for ${seconds} s with durability ${durability}`).join(', ')}, to one listener over WebSocket (millrace.v1) or a plain event stream, half a second of the same before it uncounted, and before all of them ${WARM_EVENTS} at ${WARM_RATE}/s to each server and transport. Times to send are fixed in advance and stand in the payload; measured where the listener has the message, on the clock that all processes of the machine share. Raw: the same posts to node:http, which sends the body on over \`ws\` or as an event stream and stores nothing. In the lines “beside one that keeps” it hands each body to a thread first, which writes what has arrived to a file, with one fdatasync where the durability is fsync, and hands it back.`;

export interface Latency {
  /** Until all is compiled; counts for nothing. */
  warmUp(events?: number): Promise<void>;
  measure(pace: Pace): Promise<Sample[]>;
}

export function createLatency({ servers, raw, kept, listeners, generator }: Needs): Latency {
  async function warmUp(events = WARM_EVENTS): Promise<void> {
    for (const server of new Set([...Object.values(servers), ...Object.values(kept), raw]))
      for (const transport of TRANSPORTS)
        await listening(server, transport, () => timed(server, { requestsPerSecond: WARM_RATE, count: events }));
  }

  async function measure(pace: Pace): Promise<Sample[]> {
    const samples: Sample[] = [];
    for (const transport of TRANSPORTS) {
      const own = await paced(servers[pace.durability], transport, pace);
      const bare = await paced(raw, transport, pace);
      const keeping = await paced(kept[pace.durability], transport, pace);
      const name = `${transport === 'sse' ? 'SSE' : 'WebSocket'}, ${pace.rate}/s, ${pace.durability}`;
      for (const [what, figure] of pace.figures) {
        samples.push({ name: `${name}, ${what}`, unit: 'ms', ours: own[figure], raw: bare[figure] });
        samples.push({ name: `${name}, ${what}, beside one that keeps`, unit: 'ms', ours: own[figure], raw: keeping[figure] });
      }
    }
    return samples;
  }

  async function paced(server: Server, transport: Way['transport'], { rate, seconds }: Pace): Promise<Latencies> {
    return listening(server, transport, async () => {
      await timed(server, { requestsPerSecond: rate, count: rate * HALF_S });
      return timed(server, { requestsPerSecond: rate, count: rate * seconds });
    });
  }

  async function listening<T>(server: Server, transport: Way['transport'], work: () => Promise<T>): Promise<T> {
    await listeners.open({ way: server.way(transport), count: 1, reads: 'stamps' });
    const found = await work();
    await listeners.closeAll();
    return found;
  }

  async function timed(server: Server, load: Pick<Load, 'requestsPerSecond'> & { readonly count: number }): Promise<Latencies> {
    const to = { urls: [server.events(1)], topic: TOPIC, ...(server.key === undefined ? {} : { key: server.key }) };
    const prepared = await generator.prepare({ ...to, ...load, form: 'event', connections: CONNECTIONS });
    const { came } = await listeners.expectStamps(load.count);
    const { failures } = await prepared.run();
    if (failures > 0) throw new Error(`${failures} events of the benchmark were refused`);
    return came;
  }

  return { warmUp, measure };
}
