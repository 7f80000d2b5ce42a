/** One event for thousands of WebSockets. */
import { type Cpu, cpuBetween } from '../cpu.ts';
import { percentile, type Sample } from '../figure.ts';
import { requestOf } from '../load.ts';
import { openPosting, type Posting } from '../posting.ts';
import { PAYLOAD_BYTES, TOPIC } from '../rig.ts';
import { machineMs } from '../stamp.ts';
import type { Listeners } from './listeners.ts';
import type { Server } from './servers.ts';

export interface FanOut {
  readonly sockets: number;
  /** Of each kind of post. */
  readonly events: number;
}

interface Needs {
  readonly ours: Server;
  readonly raw: Server;
  readonly listeners: Listeners;
}

/** Events of one post. */
const KINDS = [
  { name: 'one at a time', events: 1 },
  { name: 'ten at a time', events: 10 },
] as const;
/** Of ours ÷ raw. */
const AIM = 0.7;
/** Rounds before those that count: of code that is not compiled yet, and of sockets that have not sent yet. */
const WARM_ROUNDS = 10;

interface Rounds {
  readonly perCpuSecond: number;
  /** From the post until the last has all of it. */
  readonly p50Ms: number;
  readonly messageBytes: number;
}

export const fanOutSaid = (all: readonly FanOut[]): string =>
  `Fan-out: ${all.map(({ sockets, events }) => `${events} events to each of ${sockets} WebSockets`).join(', ')}, payloads of ${PAYLOAD_BYTES} bytes, posted one, or ten as a batch, at a time, the next when all listeners have what was posted; listeners are sockets of one other process that count frames. Messages per CPU-second: of the server's whole process, publishing, storing with fsync and answering included. Raw: node:http and \`ws\` 8 with neither store nor protocol, that sends as many bytes to as many sockets, socket.send(buffer) for each; the gateway writes together what a socket gets in one turn, as the events of a batch are.`;

export async function measureFanOut({ ours, raw, listeners }: Needs, fan: FanOut): Promise<Sample[]> {
  const own = await roundsOf({ server: ours, listeners, fan });
  const bare = await roundsOf({ server: raw, listeners, fan, messageBytes: own[0]?.messageBytes ?? 0 });
  return KINDS.flatMap(({ name }, at) => {
    const [one, other] = [own[at] as Rounds, bare[at] as Rounds];
    const what = `1 → ${fan.sockets} sockets, ${name}`;
    return [
      { name: what, unit: 'messages per CPU-second', ours: one.perCpuSecond, raw: other.perCpuSecond, aim: AIM },
      { name: `${what}, until the last has it, p50`, unit: 'ms', ours: one.p50Ms, raw: other.p50Ms },
    ];
  });
}

interface Way {
  readonly server: Server;
  readonly listeners: Listeners;
  readonly fan: FanOut;
  /** What the raw limit sends: as much as the gateway did. */
  readonly messageBytes?: number;
}

async function roundsOf({ fan, ...way }: Way): Promise<Rounds[]> {
  const { server, listeners } = way;
  await listeners.open({ way: server.way('websocket'), count: fan.sockets, reads: 'counts' });
  const all: Rounds[] = [];
  for (const { events } of KINDS) {
    const rounds = await createRounds({ ...way, fan }, events);
    await rounds.go(WARM_ROUNDS);
    const before = await server.cpu();
    const { waitsMs, messageBytes } = await rounds.go(Math.ceil(fan.events / events));
    const messages = waitsMs.length * events * fan.sockets;
    const perCpuSecond = perSecond(messages, cpuBetween(before, await server.cpu()));
    all.push({ perCpuSecond, messageBytes, p50Ms: percentile(waitsMs, 0.5) });
    rounds.close();
  }
  await listeners.closeAll();
  return all;
}

/** The next post leaves when every socket has what the last one brought. */
async function createRounds({ server, listeners, fan, messageBytes = 0 }: Way, events: number) {
  const posting = await openPosting(server.events(events));
  const request = requestBytes(server, events, messageBytes);
  return {
    async go(count: number) {
      const { round } = await listeners.countBy(events * fan.sockets);
      const waitsMs: number[] = [];
      let arrived = { messageBytes };
      for (let done = 0; done < count; done++) {
        const startedMs = machineMs();
        const arriving = round();
        await posted(posting, request);
        arrived = await arriving;
        waitsMs.push(machineMs() - startedMs);
      }
      return { waitsMs, messageBytes: arrived.messageBytes };
    },
    close: posting.close,
  };
}

/** The gateway gets a batch of events, the raw limit the message that it sends as often. */
function requestBytes({ key, events }: Server, perPost: number, messageBytes: number): Buffer {
  const url = events(perPost);
  if (key !== undefined)
    return requestOf({ urls: [], form: 'batch', perRequest: perPost, connections: 1, topic: TOPIC, key }, url).bytes;
  const { host, pathname } = new URL(url);
  const body = 'x'.repeat(messageBytes);
  return Buffer.from(`POST ${pathname} HTTP/1.1\r\nhost: ${host}\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
}

async function posted(posting: Posting, request: Buffer): Promise<void> {
  const isGood = await new Promise<boolean>((resolve) => posting.post(request, resolve));
  if (!isGood) throw new Error('an event of the benchmark was refused');
}

const perSecond = (messages: number, { cpuMs }: Cpu): number => (messages * 1_000) / cpuMs;
