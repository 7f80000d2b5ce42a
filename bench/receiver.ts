/**
 * The receiver, a process of its own: HTTP/1.1 with keep-alive, counts requests and answers 200. It looks for nothing but
 * the ends of requests, so that what is measured is the sender: node:http would be busier than what it measures.
 */
import { createServer, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';

const ANSWER = Buffer.from('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
const HEAD_END = Buffer.from('\r\n\r\n');
const LENGTH = /\r\ncontent-length: (\d+)/i;

let requests = 0;
let bytes = 0;
let expected = Infinity;

function count(): void {
  if (++requests === expected) process.send?.({ requests, bytes });
}

/** Requests come one at a time per connection, in one piece or in a few. */
function serve(socket: Socket): void {
  let held: Buffer | undefined;
  socket.setNoDelay(true);
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    held = held === undefined ? chunk : Buffer.concat([held, chunk]);
    for (let size = sizeOf(held); size !== undefined && held.length >= size; size = sizeOf(held)) {
      socket.write(ANSWER);
      count();
      if (held.length === size) {
        held = undefined;
        return;
      }
      held = held.subarray(size);
    }
  });
}

/** Of the first request, head and body; undefined while its head is not there. */
function sizeOf(held: Buffer): number | undefined {
  const headEnd = held.indexOf(HEAD_END);
  if (headEnd < 0) return undefined;
  const length = LENGTH.exec(held.toString('latin1', 0, headEnd))?.[1];
  return headEnd + HEAD_END.length + Number(length ?? 0);
}

const server = createServer(serve).listen(0, '127.0.0.1', 1_024, () => {
  process.send?.({ port: (server.address() as AddressInfo).port });
});
process.on('message', ({ expect }: { readonly expect: number }) => {
  requests = bytes = 0;
  expected = expect;
  process.send?.({ expecting: expect });
});
process.on('disconnect', () => process.exit());
