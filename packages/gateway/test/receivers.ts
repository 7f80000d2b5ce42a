/** Endpoints for tests: real sockets on 127.0.0.1, polite and hostile. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import net from 'node:net';
import type { TestContext } from 'node:test';

export interface Received {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

export interface Receiver {
  readonly url: string;
  readonly requests: readonly Received[];
  /** Resolves with the request number `count` (from 1), now or when it comes. */
  request(count: number): Promise<Received>;
  /** Connections that were made so far. */
  connections(): number;
}

/** Answers 204, or as `answer` does; it gets the number of the request, from 1. */
export async function receiver(
  t: Pick<TestContext, 'after'>,
  answer: (response: ServerResponse, count: number) => void = (response) => void response.writeHead(204).end(),
): Promise<Receiver> {
  const requests: Received[] = [];
  const waiting = new Set<() => void>();
  let connections = 0;
  const server = createServer((request, response) => {
    void bytesOf(request).then((body) => {
      requests.push({ path: request.url ?? '', headers: request.headers as Record<string, string>, body });
      answer(response, requests.length);
      for (const wake of waiting) wake();
    });
  });
  server.on('connection', () => connections++);
  const url = await listen(t, server, () => server.closeAllConnections());
  return {
    url,
    requests,
    connections: () => connections,
    async request(count) {
      while (requests.length < count) await new Promise<void>((resolve) => waiting.add(resolve));
      return requests[count - 1] as Received;
    },
  };
}

/** Speaks no HTTP by itself: `talk` gets each socket, and the number of the connection from 1. */
export async function rawServer(
  t: Pick<TestContext, 'after'>,
  talk: (socket: net.Socket, count: number) => void,
): Promise<string> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket.on('error', () => undefined));
    talk(socket, sockets.size);
  });
  return listen(t, server, () => {
    for (const socket of sockets) socket.destroy();
  });
}

/** Calls back for every whole request that comes in on a socket, with its number from 1. */
export function onRequests(socket: net.Socket, answer: (count: number) => void): void {
  let text = '';
  let count = 0;
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1');
    for (let end = endOfRequest(text); end > 0; end = endOfRequest(text)) {
      text = text.slice(end);
      answer(++count);
    }
  });
}

function endOfRequest(text: string): number {
  const head = text.indexOf('\r\n\r\n');
  const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
  return head >= 0 && text.length >= head + 4 + length ? head + 4 + length : 0;
}

/** Listens on any port until the test has ended; its address without a path. */
export async function listen(
  t: Pick<TestContext, 'after'>,
  server: net.Server,
  cut: () => void = () => undefined,
): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(async () => {
    cut();
    server.close();
    await once(server, 'close');
  });
  return `http://127.0.0.1:${(server.address() as net.AddressInfo).port}`;
}

async function bytesOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}
