/**
 * Many listeners in a process of their own: sockets, and as much of WebSocket and of event streams as counting needs. A
 * client of `ws` for each would take more of the machine than the server that is measured.
 */
import { connect, type Socket } from 'node:net';
import { type Arrivals, createArrivals } from '../arrivals.ts';
import { PAYLOAD_BYTES } from '../rig.ts';
import { afterHead, framesOf, type Incoming, stampsOf } from './incoming.ts';
import type { Asked, Opening } from './listeners.ts';
import type { Way } from './servers.ts';

/** Of all sockets: what comes is looked at at once. */
const buffer = Buffer.alloc(65_536);
/** The gateway has bounds of its own for those of whom it does not know yet who they are. */
const AT_ONCE = 64;

const sockets = new Set<Socket>();
let arrived = 0;
let every = Infinity;
/** Of the last event's whole message. */
let messageBytes = 0;
let arrivals: Arrivals = createArrivals({ count: Infinity });

function note(bytes: number): void {
  messageBytes = bytes;
  if (++arrived < every) return;
  arrived -= every;
  process.send?.({ messageBytes });
}

function noteStamp(bytes: Buffer, at: number): void {
  const all = arrivals.take(bytes, at, PAYLOAD_BYTES);
  if (all !== undefined) process.send?.(all.each);
}

/** Resolves when the server has begun to send to it. */
function listen({ way, reads }: Opening): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({
      port: way.port,
      host: '127.0.0.1',
      noDelay: true,
      onread: {
        buffer,
        callback(count) {
          take(buffer.subarray(0, count));
          return true;
        },
      },
    });
    const ready = (): void => {
      if (reads === 'nothing') socket.pause();
      resolve();
    };
    const answered = answeredBy(way, socket, reject);
    const take =
      way.transport === 'websocket' ? afterHead(answered, messages(way, reads, socket, ready)) : events(answered, ready);
    sockets.add(socket);
    socket.on('connect', () => socket.write(way.head));
    socket.on('error', reject);
    // One that reads nothing is let go, as it should be.
    socket.on('close', () => {
      if (sockets.delete(socket) && reads !== 'nothing') throw new Error('a listener of the benchmark was let go');
    });
  });
}

function answeredBy({ transport, hello }: Way, socket: Socket, reject: (error: Error) => void): (head: string) => void {
  return (head) => {
    if (!/^HTTP\/1.1 (101|200) /.test(head)) reject(new Error(`a listener of the benchmark was answered with ${head}`));
    else if (transport === 'websocket' && hello !== undefined) socket.write(frameOf(hello));
  };
}

/** Whatever is smaller than an event is about the conversation. */
function messages({ greetings, isPinged }: Way, reads: Opening['reads'], socket: Socket, ready: () => void): Incoming {
  let greeted = 0;
  const count = framesOf((bytes) => {
    if (bytes >= PAYLOAD_BYTES) {
      if (reads === 'counts') note(bytes);
    } else if (greeted === greetings && isPinged) socket.write(PONG);
    else if (++greeted === greetings) ready();
  });
  if (reads !== 'stamps') return count;
  const stamps = stampsOf(noteStamp);
  return (chunk) => (greeted < greetings ? count(chunk) : stamps(chunk));
}

/** The first thing on a stream is where it stands. */
function events(answered: (head: string) => void, ready: () => void): Incoming {
  const stamps = stampsOf(noteStamp);
  let isReady = false;
  return afterHead(answered, (chunk) => {
    if (isReady) return stamps(chunk);
    isReady = chunk.includes('id: ');
    if (isReady) ready();
  });
}

const FIN_TEXT = 0x81;
const MASKED = 0x80;

/** Of a client: masked, with a mask that changes nothing. */
function frameOf(text: string): Buffer {
  const payload = Buffer.from(text);
  const { length } = payload;
  const head = length < 126 ? [FIN_TEXT, MASKED | length] : [FIN_TEXT, MASKED | 126, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([...head, 0, 0, 0, 0]), payload]);
}

const PONG = frameOf('{"op":"pong"}');

async function open(opening: Opening): Promise<void> {
  let left = opening.count;
  const opener = async (): Promise<void> => {
    while (left-- > 0) await listen(opening);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, opener));
}

async function close(): Promise<void> {
  const all = [...sockets];
  sockets.clear();
  await Promise.all(all.map((socket) => new Promise((resolve) => socket.once('close', resolve).destroy())));
}

process.on('message', (asked: Asked) => {
  const done = (): void => void process.send?.('done');
  if (asked === 'close') return void close().then(done);
  if ('open' in asked) return void open(asked.open).then(done);
  if ('every' in asked) [arrived, every] = [0, asked.every];
  else arrivals = createArrivals({ count: asked.stamps, copies: 1 });
  done();
});
process.on('disconnect', () => process.exit());
