/** What benchmarks of deliveries share: a receiver, a raw sender beside us, and the figures of a pass. */
import type { ChildProcess } from 'node:child_process';
import { type Cpu, cpuBetween, cpuNow } from './cpu.ts';
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
  /** `work` has `count` requests arrive; it ends when nothing is left to do for them. `cpu`: of another process than usual. */
  time(count: number, work: () => Promise<void>, cpu?: () => Promise<Cpu>): Promise<Timed>;
  timeRaw(count: number): Promise<Timed>;
  close(): void;
}

export interface RangeOptions {
  /** Ports of the receiver; 1 without. */
  readonly endpoints?: number;
  /** Of the process that delivers, so far: this one's without. */
  readonly cpu?: () => Promise<Cpu>;
}

export async function openRange({ endpoints = 1, cpu = async () => cpuNow() }: RangeOptions = {}): Promise<Range> {
  const receiver = await startReceiver(endpoints);
  const sender = startProcess('raw-sender.ts');
  await nextMessage(sender);

  return {
    receiver,
    async time(count, work, cpuOf = cpu) {
      const { arrived } = await receiver.expect({ count });
      const cpuBefore = await cpuOf();
      const startedMs = performance.now();
      const worked = work();
      const { bytes } = await arrived;
      const ms = performance.now() - startedMs;
      await worked;
      return { count, ms, bytes, ...cpuBetween(cpuBefore, await cpuOf()) };
    },
    async timeRaw(count) {
      const { arrived } = await receiver.expect({ count });
      const startedMs = performance.now();
      const sent = post(sender, { urls: receiver.urls, count, concurrency: Math.max(CONCURRENCY, endpoints) });
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

export function samplesOf(name: string, ours: Timed, raw: Timed, aim?: number): Sample[] {
  return [
    { name, unit: 'events/s', ours: perSecond(ours), raw: perSecond(raw), ...(aim === undefined ? {} : { aim }) },
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
