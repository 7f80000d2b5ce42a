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

export const latencySaid = (paces: readonly Pace[]): string =>
  `Latency: single events of ${PAYLOAD_BYTES} bytes by POST over ${CONNECTIONS} connections at a fixed rate, ${paces.map(({ rate, seconds, durability }) => `${rate}/s for ${seconds} s with durability ${durability}`).join(', ')}, to one listener over WebSocket (millrace.v1) or a plain event stream, half a second of the same before it uncounted. Times to send are fixed in advance and stand in the payload; measured where the listener has the message, on the clock that all processes of the machine share. Raw: the same posts to node:http, which sends the body on over \`ws\` or as an event stream and stores nothing.`;

export async function measureLatency({ servers, raw, listeners, generator }: Needs, pace: Pace): Promise<Sample[]> {
  const samples: Sample[] = [];
  for (const transport of TRANSPORTS) {
    const own = await paced(servers[pace.durability], transport, pace);
    const bare = await paced(raw, transport, pace);
    const name = `${transport === 'sse' ? 'SSE' : 'WebSocket'}, ${pace.rate}/s, ${pace.durability}`;
    for (const [what, figure] of pace.figures)
      samples.push({ name: `${name}, ${what}`, unit: 'ms', ours: own[figure], raw: bare[figure] });
  }
  return samples;

  async function paced(server: Server, transport: Way['transport'], { rate, seconds }: Pace): Promise<Latencies> {
    await listeners.open({ way: server.way(transport), count: 1, reads: 'stamps' });
    await timed(server, { requestsPerSecond: rate, count: rate * HALF_S });
    const latencies = await timed(server, { requestsPerSecond: rate, count: rate * seconds });
    await listeners.closeAll();
    return latencies;
  }

  async function timed(server: Server, load: Pick<Load, 'requestsPerSecond'> & { readonly count: number }): Promise<Latencies> {
    const to = { urls: [server.events(1)], topic: TOPIC, ...(server.key === undefined ? {} : { key: server.key }) };
    const prepared = await generator.prepare({ ...to, ...load, form: 'event', connections: CONNECTIONS });
    const { came } = await listeners.expectStamps(load.count);
    const { failures } = await prepared.run();
    if (failures > 0) throw new Error(`${failures} events of the benchmark were refused`);
    return came;
  }
}
