/** What a connection takes that does nothing, and what one takes that does not take what is for it. */
import { join } from 'node:path';
import type { Sample } from '../figure.ts';
import type { Generator } from '../processes.ts';
import { PAYLOAD_BYTES, TOPIC } from '../rig.ts';
import type { Listeners, Opening } from './listeners.ts';
import { LOOK_MS } from './questions.ts';
import { type Server, startOurs, startRaw } from './servers.ts';

export interface Sizes {
  readonly idle: number;
  readonly events: number;
}

interface Needs {
  /** Of this run alone. */
  readonly directory: string;
  readonly listeners: Listeners;
  readonly generator: Generator;
}

const PER_REQUEST = 100;
const CONNECTIONS = 4;
/** Of ours ÷ raw, at most. */
const IDLE_AIM = 2;
const FLAT_AIM = 1.1;

export const memorySaid = ({ idle, events }: Sizes): string =>
  `Memory: of fresh processes, the median of the resident set (every ${LOOK_MS} ms) after forced garbage collections. Idle connections: the difference that ${idle} WebSockets make, each said hello and has one sub, divided by them; raw: as many that \`ws\` has taken, with one handler each. Paused consumers: a gateway before and after ${events} events of ${PAYLOAD_BYTES} bytes, while one WebSocket has a sub without credit, or one with all credit that reads nothing (it is let go when that has lasted); raw: the same events without any consumer. Most of what grows is the ring of the last events, up to 64 MB.`;

export async function measureIdle({ directory, listeners }: Needs, { idle }: Sizes): Promise<Sample[]> {
  const kb = async (server: Server): Promise<number> => {
    const before = await server.rssMb();
    await listeners.open({ way: server.way('websocket'), count: idle, reads: 'counts' });
    const after = await server.rssMb();
    await listeners.closeAll();
    await server.stop();
    return ((after - before) * 1_024) / idle;
  };
  const ours = await kb(await startOurs({ data: join(directory, 'idle'), durability: 'fsync' }));
  const raw = await kb(await startRaw());
  return [{ name: `${idle} idle connections (aim: at most)`, unit: 'KB each', ours, raw, aim: IDLE_AIM }];
}

interface Seen {
  readonly beforeMb: number;
  readonly afterMb: number;
}

export async function measurePaused(needs: Needs, { events }: Sizes): Promise<Sample[]> {
  const raw = await seenWith(needs, events, 'none');
  const samples: Sample[] = [];
  for (const [consumer, said] of CONSUMERS) {
    const ours = await seenWith(needs, events, consumer);
    samples.push(
      { name: `a consumer that ${said}, before`, unit: 'MB', ours: ours.beforeMb, raw: raw.beforeMb },
      {
        name: `a consumer that ${said}, after ${events} events (aim: at most)`,
        unit: 'MB',
        ours: ours.afterMb,
        raw: raw.afterMb,
        aim: FLAT_AIM,
      },
    );
  }
  return samples;
}

const CONSUMERS = [
  ['without-credit', 'gives no credit'],
  ['without-reading', 'does not read'],
] as const;

async function seenWith(
  { directory, listeners, generator }: Needs,
  events: number,
  consumer: 'none' | (typeof CONSUMERS)[number][0],
): Promise<Seen> {
  const server = await startOurs({ data: join(directory, consumer), durability: 'fsync' });
  const opening: Omit<Opening, 'way'> = { count: 1, reads: consumer === 'without-credit' ? 'counts' : 'nothing' };
  if (consumer === 'without-credit') await listeners.open({ ...opening, way: server.way('websocket', 0) });
  if (consumer === 'without-reading') await listeners.open({ ...opening, way: server.way('websocket') });
  const beforeMb = await server.rssMb();
  await publish(server, generator, events);
  const afterMb = await server.rssMb();
  await listeners.closeAll();
  await server.stop();
  return { beforeMb, afterMb };
}

async function publish(server: Server, generator: Generator, count: number): Promise<void> {
  const load = { form: 'batch', perRequest: PER_REQUEST, connections: CONNECTIONS, topic: TOPIC, count } as const;
  const prepared = await generator.prepare({ ...load, urls: [server.events(1)], key: server.key ?? '' });
  const { failures } = await prepared.run();
  if (failures > 0) throw new Error(`${failures} events of the benchmark were refused`);
}
