/** The processes beside the one that measures, and what is asked of them. */
import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import type { Arrived, Expected } from './arrivals.ts';
import type { Cpu } from './cpu.ts';
import type { Setup, Verbs } from './gateway-process.ts';
import type { Load, Loaded } from './load.ts';
import { APP, ENVIRONMENT } from './rig.ts';

export interface Receiver {
  readonly url: string;
  /** One per port. */
  readonly urls: readonly string[];
  /** Resolves once it counts from zero; `arrived` then resolves when all is there. */
  expect(expected: Expected): Promise<{ readonly arrived: Promise<Arrived> }>;
  /** From now on it is noted when requests arrive; `times`: per port, on the machine's clock. */
  watch(): Promise<void>;
  times(): Promise<readonly (readonly number[])[]>;
  /** Connections are refused from then on. */
  goDown(): Promise<void>;
  goUp(): Promise<void>;
  close(): void;
}

export async function startReceiver(endpoints = 1): Promise<Receiver> {
  const child = startProcess('receiver.ts', [String(endpoints)]);
  const { ports } = await nextMessage<{ readonly ports: readonly number[] }>(child);
  const urls = ports.map((port) => `http://127.0.0.1:${port}/hook`);
  return {
    url: urls[0] ?? '',
    urls,
    async expect(expect) {
      await ask(child, { expect });
      return { arrived: nextMessage<Arrived>(child) };
    },
    watch: () => ask(child, 'watch'),
    times: () => ask(child, 'times'),
    goDown: () => ask(child, 'down'),
    goUp: () => ask(child, 'up'),
    close: () => child.disconnect(),
  };
}

export interface Generator {
  /** Opens the connections; `run` posts. */
  prepare(load: Load): Promise<{ run(): Promise<Loaded> }>;
  close(): void;
}

export function startGenerator(): Generator {
  const child = startProcess('generator.ts');
  return {
    async prepare(load) {
      await ask(child, load);
      return { run: () => ask(child, 'go') };
    },
    close: () => child.disconnect(),
  };
}

export interface GatewayProcess {
  /** Where events are published, and the key for it. */
  readonly events: string;
  readonly key: string;
  /** One question at a time. */
  ask<V extends keyof Verbs>(verb: V, of: Parameters<Verbs[V]>[0]): Promise<Awaited<ReturnType<Verbs[V]>>>;
  /** One webhook subscription of the app `shop`, signed. */
  subscribe(id: string, how: Subscribed): Promise<void>;
  cpu(): Promise<Cpu>;
  /** Resolves when the process has ended as it should. */
  stop(): Promise<void>;
}

export interface Subscribed {
  readonly topic: string;
  readonly url: string;
  readonly concurrency: number;
  readonly filter?: object;
}

export async function startGateway(setup: Setup): Promise<GatewayProcess> {
  const child = startProcess('gateway-process.ts', [JSON.stringify(setup)], profiling());
  const { port, key } = await nextMessage<{ readonly port: number; readonly key: string }>(child);
  const gateway: GatewayProcess = {
    events: `http://127.0.0.1:${port}/v1/events`,
    key,
    ask: (verb, of) => ask(child, { verb, of }),
    async subscribe(id, { topic, url, ...how }) {
      const spec = { app: APP, topics: [topic], deliver: { webhook: { url } }, ...how };
      await gateway.ask('subscribe', { environment: ENVIRONMENT, id, spec });
    },
    cpu: () => gateway.ask('cpu', undefined),
    async stop() {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.disconnect();
      await ended;
    },
  };
  return gateway;
}

/** The environment variable that bench.ts sets with --profile. */
export const PROFILE_VARIABLE = 'MILLRACE_BENCH_PROFILE';

/** Arguments of Node for whatever is a gateway. */
export function profiling(): string[] {
  const directory = process.env[PROFILE_VARIABLE];
  return directory === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${directory}`];
}

/** Starts a file of this folder in a fresh process. */
export function startProcess(file: string, args: readonly string[] = [], execArgv: readonly string[] = []): ChildProcess {
  return fork(join(import.meta.dirname, file), args, {
    execArgv: [...execArgv],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
}

function ask<T>(child: ChildProcess, message: object | string): Promise<T> {
  const answered = nextMessage<T>(child);
  child.send(message);
  return answered;
}

export function nextMessage<T>(child: ChildProcess): Promise<T> {
  return new Promise((resolve, reject) => {
    const ended = (): void => reject(new Error(`a process of the benchmark ended: ${child.spawnargs.join(' ')}`));
    child.once('exit', ended);
    child.once('message', (message) => {
      child.off('exit', ended);
      resolve(message as T);
    });
  });
}
