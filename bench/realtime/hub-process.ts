/**
 * The raw limit, a process of its own: node:http and `ws` with nothing around them. What is posted goes as it is to all
 * WebSockets and all event streams, as often as the path says (`/3`), and nothing is stored. Given a file (argument: a Keeping as
 * JSON), a thread of its own writes each body to it before it goes on: the least that a gateway does which keeps events.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Worker } from 'node:worker_threads';
import { WebSocketServer } from 'ws';
import { answerQuestions } from './questions.ts';

export interface Keeping {
  readonly file: string;
  readonly durability: 'fsync' | 'relaxed';
}

const [, , argument] = process.argv;
const keep = argument === undefined ? undefined : startKeeping(JSON.parse(argument) as Keeping);
const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false });
const streams = new Set<ServerResponse>();

sockets.on('connection', (socket) => {
  socket.on('message', () => undefined);
  socket.send('{"op":"welcome"}');
});

function follow(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
  response.write('id: 0\n\n');
  streams.add(response);
  response.on('close', () => streams.delete(response));
}

async function publish(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  const body = Buffer.concat(parts);
  await keep?.(body);
  const times = Number(request.url?.slice(1));
  for (let time = 0; time < times; time++) broadcast(body);
  response.writeHead(202, { 'content-length': 0 });
  response.end();
}

/** One after the other, as they come back: the thread has but one queue. */
function startKeeping(keeping: Keeping): (body: Buffer) => Promise<void> {
  const thread = new Worker(new URL('./keeping-thread.ts', import.meta.url), { workerData: keeping });
  const waiting: (() => void)[] = [];
  thread.on('message', () => waiting.shift()?.());
  return (body) => {
    const copy = Uint8Array.from(body);
    thread.postMessage(copy, [copy.buffer]);
    return new Promise((resolve) => void waiting.push(resolve));
  };
}

function broadcast(body: Buffer): void {
  for (const socket of sockets.clients) socket.send(body, { binary: false });
  if (streams.size === 0) return;
  const event = `data: ${body.toString()}\n\n`;
  for (const stream of streams) stream.write(event);
}

const server = createServer((request, response) => {
  if (request.method === 'POST') void publish(request, response);
  else follow(response);
});
server.on('upgrade', (request, socket, head) => {
  sockets.handleUpgrade(request, socket, head, (webSocket) => sockets.emit('connection', webSocket, request));
});
server.listen(0, '127.0.0.1', 1_024, () => {
  process.send?.({ address: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
});
answerQuestions();
process.on('disconnect', () => process.exit());
