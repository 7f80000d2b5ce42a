/** Where a gateway is reached: its port, which several workers of one process share, and what each of these has for itself. */
import { createServer, type Server, type Socket } from 'node:net';
import type { FastifyInstance, FastifyListenOptions } from 'fastify';
import type { Limits } from './limits.ts';
import type { StartOptions } from './options.ts';
import { StartRefused } from './refused.ts';

/** Ports tried after the default one. */
const PORTS_TRIED = 20;

type Place = Pick<StartOptions, 'host' | 'port'>;

/** In dev a default port that is taken is no reason to stop; one that was asked for is, and any that a proxy counts on. */
export async function listen(
  app: FastifyInstance,
  { host, port, portChosen, mode }: StartOptions,
  isShared: boolean,
): Promise<number> {
  for (let at = port; ; at++) {
    try {
      await app.listen(isShared ? ({ host, port: at, reusePort: true } as FastifyListenOptions) : { host, port: at });
      return (app.server.address() as { readonly port: number }).port;
    } catch (error) {
      const { code } = error as { readonly code?: unknown };
      if (code === 'EADDRINUSE' && mode === 'dev' && !portChosen && at < port + PORTS_TRIED) continue;
      throw refusalOf(error, { host, port: at });
    }
  }
}

function refusalOf(error: unknown, { host, port }: Place): unknown {
  const { code } = error as { readonly code?: unknown };
  switch (code) {
    case 'EADDRINUSE':
      return new StartRefused(
        `port ${port} of ${host} is taken`,
        'Stop what listens there, or choose another one: --port 0 takes any that is free.',
      );
    case 'EACCES':
      return new StartRefused(`port ${port} may not be used by this user`, 'Choose one above 1023: --port 4400.');
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return new StartRefused(`${host} is no address of this machine`, 'Use --host 127.0.0.1, or 0.0.0.0 for all.');
    case 'ENOTSUP':
    case 'EOPNOTSUPP':
      return new StartRefused(
        'this system can not share one port among several workers',
        'Start without --workers; or start several processes, each with a port of its own, over --log and --store.',
      );
    default:
      return error;
  }
}

/**
 * The port that workers will share, which is nobody's now: the system lets any process of this user share a port that is
 * shared, so another gateway that has it must be found out before. Another one that comes later finds out in the same way.
 */
export async function reservePort(place: Place): Promise<number> {
  const server = createServer();
  const port = await listenAt(server, place);
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function listenAt(server: Server, { host, port }: Place): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) => reject(refusalOf(error, { host, port }) as Error));
    server.listen({ host, port }, () => resolve((server.address() as { readonly port: number }).port));
  });
}

/** Where other nodes reach one worker, and nobody else of its process. */
export interface InsideDoor {
  readonly address: string;
  /** Whoever comes before that waits. */
  answerWith(app: FastifyInstance): void;
  close(): Promise<void>;
}

/**
 * Nodes of other machines must reach it, too: with a shared store it is the port and the number of the worker. Else all are in
 * this process, and any port of loopback does.
 */
export async function openInside(options: StartOptions, number: number, limits: Limits): Promise<InsideDoor> {
  const { host, port, store, advertise } = options;
  const place = store === undefined ? { host: '127.0.0.1', port: 0 } : { host, port: port + number };
  const server = createServer();
  server.maxConnections = limits.connections;
  const sockets = new Set<Socket>();
  let take = (_socket: Socket): void => undefined;
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    take(socket);
  });
  const at = await listenAt(server, place);
  return {
    address: advertise === undefined || store === undefined ? addressOf(place.host, at) : beside(advertise, number),
    answerWith(app) {
      // To the same server, so that all that guards it guards these connections.
      take = (socket) => void app.server.emit('connection', socket);
      for (const socket of sockets) take(socket);
    },
    async close() {
      const closed = new Promise<void>((resolve) => void server.close(() => resolve()));
      // The door is closed and the gateway has stopped by then: whoever still asks is told nothing by anybody.
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** `http://10.0.0.7:4400` is that of worker 2 at `http://10.0.0.7:4402`. */
function beside(advertise: string, number: number): string {
  const url = new URL(advertise);
  const port = url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port);
  return `${url.protocol}//${url.hostname}:${port + number}`;
}

export function addressOf(host: string, port: number): string {
  const reachable = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
  return `http://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`;
}
