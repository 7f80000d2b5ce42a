/** What `deliver` and `drain` share: a receiver, a raw sender beside us, and the figures of a pass. */
import type { ChildProcess } from 'node:child_process';
import { type Cpu, cpuNow, cpuSince } from './cpu.ts';
import type { Sample } from './figure.ts';
import { nextMessage, type Receiver, startProcess, startReceiver } from './processes.ts';
import type { Order } from './raw-sender.ts';

export const CONCURRENCY = 64;

export interface Timed extends Cpu {
  readonly count: number;
  readonly ms: number;
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
      const cpuBefore = cpuNow();
      const startedMs = performance.now();
      const worked = work();
      const { bytes } = await arrived;
      const ms = performance.now() - startedMs;
      await worked;
      return { count, ms, bytes, ...cpuSince(cpuBefore) };
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

function post(sender: ChildProcess, order: Order): Promise<Cpu> {
  const sent = nextMessage<Cpu>(sender);
  sender.send(order);
  return sent;
}

export function samplesOf(name: string, ours: Timed, raw: Timed, aim: number): Sample[] {
  return [
    { name, unit: 'events/s', ours: perSecond(ours), raw: perSecond(raw), aim },
    { name: `${name}, CPU`, unit: 'µs per event', ours: micros(ours, ours.cpuMs), raw: micros(raw, raw.cpuMs) },
    {
      name: `${name}, CPU of the main thread`,
      unit: 'µs per event',
      ours: micros(ours, ours.mainMs),
      raw: micros(raw, raw.mainMs),
    },
    { name: `${name}, on the wire`, unit: 'bytes per request', ours: ours.bytes / ours.count, raw: raw.bytes / raw.count },
  ];
}

const perSecond = ({ count, ms }: Timed): number => (count * 1_000) / ms;
const micros = ({ count }: Timed, ms: number): number => (ms * 1_000) / count;
