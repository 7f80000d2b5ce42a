/** What `deliver` and `drain` share: a receiver, a raw sender beside us, and the figures of a pass. */
import type { ChildProcess } from 'node:child_process';
import type { Sample } from './figure.ts';
import { nextMessage, type Receiver, startProcess, startReceiver } from './processes.ts';
import type { Order, Sent } from './raw-sender.ts';

export const CONCURRENCY = 64;

export interface Timed {
  readonly count: number;
  readonly ms: number;
  /** Of the whole process, store thread included. */
  readonly cpuMs: number;
  readonly bytes: number;
}

export interface Range {
  readonly receiver: Receiver;
  /** `work` has `count` requests arrive; it ends when nothing is left to do for them. */
  time(count: number, work: () => Promise<void>): Promise<Timed>;
  timeRaw(count: number): Promise<Timed>;
  close(): void;
}

export async function openRange(): Promise<Range> {
  const receiver = await startReceiver();
  const sender = startProcess('raw-sender.ts');
  await nextMessage(sender);

  return {
    receiver,
    async time(count, work) {
      const { arrived } = await receiver.expect(count);
      const cpuBefore = process.cpuUsage();
      const startedMs = performance.now();
      const worked = work();
      const { bytes } = await arrived;
      const ms = performance.now() - startedMs;
      await worked;
      const { user, system } = process.cpuUsage(cpuBefore);
      return { count, ms, cpuMs: (user + system) / 1_000, bytes };
    },
    async timeRaw(count) {
      const { arrived } = await receiver.expect(count);
      const startedMs = performance.now();
      const sent = post(sender, { url: receiver.url, count, concurrency: CONCURRENCY });
      const { bytes } = await arrived;
      const ms = performance.now() - startedMs;
      return { count, ms, bytes, ...(await sent) };
    },
    close() {
      sender.disconnect();
      receiver.close();
    },
  };
}

function post(sender: ChildProcess, order: Order): Promise<Sent> {
  const sent = nextMessage<Sent>(sender);
  sender.send(order);
  return sent;
}

export function samplesOf(name: string, ours: Timed, raw: Timed, aim: number): Sample[] {
  return [
    { name, unit: 'events/s', ours: perSecond(ours), raw: perSecond(raw), aim },
    { name: `${name}, CPU`, unit: 'µs per event', ours: cpuMicros(ours), raw: cpuMicros(raw) },
    { name: `${name}, on the wire`, unit: 'bytes per request', ours: ours.bytes / ours.count, raw: raw.bytes / raw.count },
  ];
}

const perSecond = ({ count, ms }: Timed): number => (count * 1_000) / ms;
const cpuMicros = ({ count, cpuMs }: Timed): number => (cpuMs * 1_000) / count;
