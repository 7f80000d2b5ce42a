/** The gateway and its raw limit as the parts of this benchmark see them: where one publishes, how one listens, what one asks. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Cpu } from '../cpu.ts';
import { nextMessage, profiling, startProcess } from '../processes.ts';
import { TOPIC } from '../rig.ts';
import type { GatewaySetup, GatewayStarted } from './gateway-process.ts';
import type { Keeping } from './hub-process.ts';
import type { Question } from './questions.ts';

/** How a listener comes in. */
export interface Way {
  readonly transport: 'websocket' | 'sse';
  readonly port: number;
  /** The whole head of its request. */
  readonly head: string;
  /** What it then sends, over WebSocket. */
  readonly hello?: string;
  /** Messages over WebSocket until it listens. */
  readonly greetings: number;
  /** Whether it is pinged by messages, as in `millrace.v1`. */
  readonly isPinged: boolean;
}

export interface Server {
  /** Where `times` copies are published by one post (`times`: of the raw limit; the gateway gets a batch). */
  events(times: number): string;
  readonly key: string | undefined;
  way(transport: Way['transport'], credit?: number): Way;
  cpu(): Promise<Cpu>;
  /** After a garbage collection. */
  rssMb(): Promise<number>;
  /** Resolves when its process has ended. */
  stop(): Promise<void>;
}

/** As much as a client may give. */
export const CREDIT = 10_000;
const COLLECTING = ['--expose-gc'];

export async function startOurs(setup: GatewaySetup): Promise<Server> {
  const child = startProcess('realtime/gateway-process.ts', [JSON.stringify(setup)], [...COLLECTING, ...profiling()]);
  const { address, key } = await nextMessage<GatewayStarted>(child);
  const { host, port } = new URL(address);
  await declare(address, key);
  const hello = { op: 'hello', v: 1, token: key };
  const sub = { op: 'sub', sub: 1, topics: [TOPIC] };
  return {
    ...asked(child),
    events: () => `${address}/v1/events`,
    key,
    way: (transport, credit = CREDIT) => ({
      transport,
      port: Number(port),
      head:
        transport === 'websocket'
          ? upgradeOf(host, '/v1/stream', 'sec-websocket-protocol: millrace.v1\r\n')
          : `GET /v1/sse?topics=${TOPIC} HTTP/1.1\r\nhost: ${host}\r\nauthorization: Bearer ${key}\r\n\r\n`,
      hello: JSON.stringify([hello, { ...sub, credit }]),
      // welcome and subed
      greetings: 2,
      isPinged: true,
    }),
  };
}

/** Without `keeping` it keeps nothing of what it sends on. */
export async function startRaw(keeping?: Keeping): Promise<Server> {
  const child = startProcess('realtime/hub-process.ts', keeping === undefined ? [] : [JSON.stringify(keeping)], COLLECTING);
  const { address } = await nextMessage<{ readonly address: string }>(child);
  const { host, port } = new URL(address);
  return {
    ...asked(child),
    events: (times) => `${address}/${times}`,
    key: undefined,
    way: (transport) => ({
      transport,
      port: Number(port),
      head: transport === 'websocket' ? upgradeOf(host, '/', '') : `GET / HTTP/1.1\r\nhost: ${host}\r\n\r\n`,
      greetings: 1,
      isPinged: false,
    }),
  };
}

/** So that no figure has the first event of a topic in it. */
async function declare(address: string, key: string): Promise<void> {
  const { ok, status } = await fetch(`${address}/v1/topics/${TOPIC}`, {
    method: 'PUT',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: '{}',
  });
  if (!ok) throw new Error(`the topic of the benchmark was answered with ${status}`);
}

/** The key is the one of RFC 6455, section 1.3: nobody here looks at what it is answered with. */
function upgradeOf(host: string, path: string, more: string): string {
  return `GET ${path} HTTP/1.1\r\nhost: ${host}\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n${more}\r\n`;
}

function asked(child: ChildProcess): Pick<Server, 'cpu' | 'rssMb' | 'stop'> {
  return {
    cpu: () => ask<Cpu>(child, 'cpu' satisfies Question),
    rssMb: () => ask<number>(child, 'rssMb' satisfies Question),
    async stop() {
      const ended = once(child, 'exit');
      child.disconnect();
      await ended;
    },
  };
}

/** One question at a time. */
export function ask<T>(child: ChildProcess, question: object | string): Promise<T> {
  const answered = nextMessage<T>(child);
  child.send(question);
  return answered;
}
