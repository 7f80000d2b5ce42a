/** Appends and reads of the log on NATS, beside the bare client. */
import { type Cpu, cpuNow, cpuSince } from '../cpu.ts';
import type { Sample } from '../figure.ts';
import { nextMessage, startProcess } from '../processes.ts';
import { entriesOf } from './entries.ts';
import { openOurs } from './ours.ts';
import type { Order } from './publisher.ts';
import { openRaw } from './raw.ts';
import type { Pipelining, Way } from './ways.ts';

const AIM = 0.7;
const IN_FLIGHT = 512;
const KINDS: readonly (Pipelining & { readonly name: string; readonly share: number })[] = [
  { name: 'append, 1 in flight', calls: 1, perCall: 1, share: 0.05 },
  { name: 'append, 32 in flight', calls: 32, perCall: 1, share: 0.5 },
  { name: `append, ${IN_FLIGHT} in flight`, calls: IN_FLIGHT, perCall: 1, share: 1 },
  { name: 'append, 5 calls of 100 in flight', calls: 5, perCall: 100, share: 1 },
];
const TAIL: Pipelining = { calls: IN_FLIGHT, perCall: 1 };
/** With a sync for each message the broker itself takes most of the time. */
const SYNCED_SHARE = 0.1;

interface Took extends Cpu {
  readonly ms: number;
}

export interface LogBench {
  measure(): Promise<Sample[]>;
  close(): Promise<void>;
}

export const LOG_SAID = [
  `Appends: how many events the broker has answered for per second. Ours: append() of the driver, which answers when its own tail has seen the event come back, as each carries its time in the log. Raw: publish() of the JetStream client of nats.js with the same headers and bodies, made beforehand, as many in flight; nobody reads them. "Append and tail": until all are answered and have come, ours through read() at every signal, raw by a push consumer with a callback that counts.`,
  `Tail: another process publishes with the bare client, ${IN_FLIGHT} in flight, as fast as it can, so the CPU of who follows says more than the rate. Read back: from the first event on, with nothing in memory; ours in pages of 512, raw by consume() of a pull consumer with twice as many on their way. Ours reads each message into an event; raw only counts them, or, where that is said, has the client read its place and headers. CPU is that of this process. 7 days of retention, a dedupe window of 2 minutes.`,
  'Durability: file storage, one replica, sync_interval as the server has it by default, 2 minutes: an answer means that the message is with the operating system. "Every message synced": on another server with sync_interval always, as durable as the embedded log is.',
];

export async function openLogBench(servers: string, synced: string, count: number): Promise<LogBench> {
  const [ours, raw] = [await openOurs(servers), await openRaw(servers)];
  const reading = await openRaw(servers, 'reading');
  const [oursSynced, rawSynced] = [await openOurs(synced), await openRaw(synced)];
  const publisher = startProcess('broker/publisher.ts', [servers]);
  await nextMessage(publisher);

  async function appends(way: Way, number: number, how: Pipelining): Promise<Took> {
    const timed = createTimed();
    await way.append(entriesOf(number), how, timed.start);
    const took = timed.end();
    await way.empty();
    return took;
  }

  async function appendsAndTail(way: Way): Promise<Took> {
    const timed = createTimed();
    const { came } = await way.follow(count);
    await way.append(entriesOf(count), TAIL, timed.start);
    await came;
    const took = timed.end();
    await way.empty();
    return took;
  }

  async function tails(way: Way, prefix: string): Promise<Took> {
    const timed = createTimed();
    const { came } = await way.follow(count);
    const begins = nextMessage(publisher);
    publisher.send({ prefix, count, inFlight: IN_FLIGHT } satisfies Order);
    await begins;
    timed.start();
    await came;
    return timed.end();
  }

  /** What the tail of before has left. */
  async function readsBack(way: Way): Promise<Took> {
    const timed = createTimed();
    const close = await way.readBack(count, timed.start);
    const took = timed.end();
    await close();
    await way.empty();
    return took;
  }

  async function pair(name: string, number: number, of: (way: Way, prefix: string) => Promise<Took>): Promise<Sample[]> {
    const [own, bare] = [await of(ours, 'ours'), await of(raw, 'counting')];
    return samplesOf(name, number, own, bare);
  }

  async function trio(name: string, of: (way: Way, prefix: string) => Promise<Took>): Promise<Sample[]> {
    const [own, bare, read] = [await of(ours, 'ours'), await of(raw, 'counting'), await of(reading, 'reading')];
    return [...samplesOf(name, count, own, bare), ...samplesOf(`${name}, raw reads each message`, count, own, read)];
  }

  return {
    async measure() {
      const samples: Sample[] = [];
      for (const { name, share, ...how } of KINDS)
        samples.push(...(await pair(name, count * share, (way) => appends(way, count * share, how))));
      samples.push(...(await pair('append and tail', count, appendsAndTail)));
      samples.push(...(await trio('tail', tails)), ...(await trio('read back', readsBack)));
      const number = count * SYNCED_SHARE;
      const [own, bare] = [await appends(oursSynced, number, TAIL), await appends(rawSynced, number, TAIL)];
      samples.push(...samplesOf(`append, ${IN_FLIGHT} in flight, every message synced`, number, own, bare));
      return samples;
    },
    async close() {
      publisher.disconnect();
      for (const way of [ours, raw, reading, oursSynced, rawSynced]) await way.close();
    },
  };
}

function createTimed() {
  let before = cpuNow();
  let startedMs = 0;
  return {
    start() {
      before = cpuNow();
      startedMs = performance.now();
    },
    end: (): Took => ({ ms: performance.now() - startedMs, ...cpuSince(before) }),
  };
}

function samplesOf(name: string, count: number, ours: Took, raw: Took): Sample[] {
  const perSecond = ({ ms }: Took): number => (count * 1_000) / ms;
  const micros = ({ cpuMs }: Took): number => (cpuMs * 1_000) / count;
  return [
    { name, unit: 'events/s', ours: perSecond(ours), raw: perSecond(raw), aim: AIM },
    { name: `${name}, CPU`, unit: 'µs per event', ours: micros(ours), raw: micros(raw) },
  ];
}
