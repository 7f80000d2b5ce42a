/** The door over real sockets, with both ends of each connection in the test's hands. */
import { once } from 'node:events';
import net from 'node:net';
import type { TestContext } from 'node:test';
import { createHandClock, type HandClock } from '../../../test/clock.ts';
import { type World, world } from '../../../test/world.ts';
import type { HttpNeeds } from '../app.ts';
import { limitsOf } from '../../limits.ts';
import type { Clock } from '../../ports/clock.ts';
import { systemClock } from '../../system-clock.ts';

export interface Connection {
  readonly socket: net.Socket;
  /** The gateway's end. */
  readonly inside: net.Socket;
  /** That end is closed, however. */
  readonly closed: Promise<void>;
  write(text: string): void;
  /** All that comes until the gateway ends it. Throws where the connection was reset. */
  all(): Promise<string>;
  /** All that came so far, when it matches. */
  until(pattern: RegExp): Promise<string>;
}

export interface Door extends World {
  /** Moves what the door itself waits for; everything else goes by the real clock. */
  readonly hand: HandClock;
  connect(): Promise<Connection>;
  /** The head of a request by the admin, up to and with the empty line. */
  head(route: string, headers?: Readonly<Record<string, string | number>>): string;
}

export type DoorOptions = Pick<HttpNeeds, 'onUnsent'>;

export async function openDoor(
  t: TestContext,
  limits: Readonly<Record<string, number>> = {},
  options: DoorOptions = {},
): Promise<Door> {
  const hand = createHandClock();
  const clock: Clock = {
    ...systemClock,
    monotonic: hand.monotonic,
    // The next turn of the event loop comes by itself.
    after: (delayMs, callback) => (delayMs === 0 ? systemClock : hand).after(delayMs, callback),
  };
  const sockets = new Set<net.Socket>();
  // Before the app is closed, which waits for its clients.
  t.after(() => sockets.forEach((socket) => socket.destroy()));
  const made = await world(t, { ...options, clock, limits: limitsOf(limits) });
  await made.app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = made.app.server.address() as net.AddressInfo;

  return {
    ...made,
    hand,
    head(route, headers = {}) {
      const all = { host: 'x', authorization: `Bearer ${made.admin}`, ...headers };
      const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
      return `${route} HTTP/1.1\r\n${lines.join('')}\r\n`;
    },
    async connect() {
      const accepted = once(made.app.server, 'connection');
      const socket = net.connect({ port, host: '127.0.0.1' }).setEncoding('utf8');
      sockets.add(socket);
      const [inside] = (await accepted) as [net.Socket];
      const closed = new Promise<void>((resolve) => inside.once('close', () => resolve()));
      let text = '';
      let error: Error | undefined;
      let wake = (): void => undefined;
      socket.on('error', (one) => void (error = one));
      socket.on('close', () => wake());
      const start = (): void => {
        if (socket.listenerCount('data') > 0) return;
        socket.on('data', (chunk) => {
          text += String(chunk);
          wake();
        });
        socket.resume();
      };
      const until = async (isThere: () => boolean): Promise<string> => {
        start();
        while (!isThere() && !socket.closed) await new Promise<void>((resolve) => (wake = resolve));
        if (error !== undefined) throw error;
        return text;
      };
      return {
        socket,
        inside,
        closed,
        write: (what) => void socket.write(what),
        all: () => until(() => false),
        until: async (pattern) => {
          const found = await until(() => pattern.test(text));
          if (!pattern.test(found)) throw new Error(`the connection ended with ${found.slice(0, 500)}`);
          return found;
        },
      };
    },
  };
}

/** Lets the event loop turn until something is so that nobody tells of. */
export async function turnsUntil(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise(setImmediate);
}
