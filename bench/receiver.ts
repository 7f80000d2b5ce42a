/**
 * The receiver, a process of its own: HTTP/1.1 with keep-alive, counts requests and answers 200. It looks for nothing but
 * the ends of requests, and for stamps where it is asked to: what is measured is the sender, and node:http would be busier
 * than what it measures. Argument: at how many ports it listens (1).
 */
import { createServer, type Server, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { createArrivals } from './arrivals.ts';
import type { Expected } from './arrivals.ts';
import { machineMs } from './stamp.ts';

const ANSWER = Buffer.from('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
const HEAD_END = Buffer.from('\r\n\r\n');
const LENGTH = /\r\ncontent-length: (\d+)/i;

let arrivals = createArrivals({ count: Infinity });
/** Per port, when each request arrived; where it is asked for. */
let times: number[][] | undefined;
const sockets = new Set<Socket>();

/** Requests come one at a time per connection, in one piece or in a few. */
function serve(socket: Socket, port: number): void {
  let held: Buffer | undefined;
  socket.setNoDelay(true);
  sockets.add(socket);
  socket.on('close', () => sockets.delete(socket));
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk: Buffer) => {
    held = held === undefined ? chunk : Buffer.concat([held, chunk]);
    for (let sizes = sizesOf(held); sizes !== undefined && held.length >= sizes.whole; sizes = sizesOf(held)) {
      socket.write(ANSWER);
      times?.[port]?.push(machineMs());
      const arrived = arrivals.take(held, sizes.head, sizes.whole);
      if (arrived !== undefined) process.send?.(arrived);
      if (held.length === sizes.whole) {
        held = undefined;
        return;
      }
      held = held.subarray(sizes.whole);
    }
  });
}

/** Of the first request; undefined while its head is not there. */
function sizesOf(held: Buffer): { readonly head: number; readonly whole: number } | undefined {
  const headEnd = held.indexOf(HEAD_END);
  if (headEnd < 0) return undefined;
  const length = LENGTH.exec(held.toString('latin1', 0, headEnd))?.[1];
  const head = headEnd + HEAD_END.length;
  return { head, whole: head + Number(length ?? 0) };
}

function listen(port: number, at: number): Promise<Server> {
  return new Promise((resolve) => {
    const server = createServer((socket) => serve(socket, at)).listen(port, '127.0.0.1', 1_024, () => resolve(server));
  });
}

const portOf = (server: Server): number => (server.address() as AddressInfo).port;

let servers = await Promise.all(Array.from({ length: Number(process.argv[2] ?? 1) }, (_, at) => listen(0, at)));
const ports = servers.map(portOf);

/** From now on connections are refused. */
function goDown(): void {
  for (const server of servers) server.close();
  for (const socket of sockets) socket.destroy();
  servers = [];
}

process.on('message', (asked: { readonly expect: Expected } | 'down' | 'up' | 'watch' | 'times') => {
  if (asked === 'times') return void process.send?.(times);
  if (asked === 'down') goDown();
  else if (asked === 'watch') times = ports.map(() => []);
  else if (asked !== 'up') arrivals = createArrivals(asked.expect);
  if (asked !== 'up') process.send?.('done');
  else
    void Promise.all(ports.map(listen)).then((all) => {
      servers = all;
      process.send?.('done');
    });
});
process.on('disconnect', () => process.exit());
process.send?.({ ports });
