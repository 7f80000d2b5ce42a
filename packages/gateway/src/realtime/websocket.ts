/** Sessions over WebSocket: `GET /v1/stream`, subprotocol `millrace.v1`. No compression: it cost 230 KB a connection and nine tenths of the speed. */
import type { FastifyInstance } from 'fastify';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { Problem } from '@millrace/core/problem';
import { type WebSocket, WebSocketServer } from 'ws';
import type { Limits } from '../limits.ts';
import type { Clock } from '../ports/clock.ts';
import type { SessionNeeds } from './session-needs.ts';
import { full, type Sessions } from './sessions.ts';
import type { Shared } from './messages.ts';
import { createOutlets } from './outlets.ts';
import { takenBytes } from './unsent.ts';

export const STREAM_PATH = '/v1/stream';
export const SUBPROTOCOL = 'millrace.v1';

interface Needs {
  readonly sessions: Sessions;
  readonly limits: Limits;
  readonly clock: Clock;
  /** Throws where this client may not even connect: a page of a foreign origin, a host that is none of ours. */
  readonly checkClient: (request: IncomingMessage) => void;
  readonly admitFor: (request: IncomingMessage) => SessionNeeds['admit'];
}

/**
 * Whether a request is to be upgraded. All others are answered as if they had not asked: many clients offer h2c with every request, and
 * an upgrade may always be ignored (RFC 9110, section 7.8).
 */
export function isStreamUpgrade({ url = '', headers }: IncomingMessage): boolean {
  return headers.upgrade?.toLowerCase() === 'websocket' && url.split('?')[0] === STREAM_PATH;
}

/** Our own check of a message's size answers with a reason; what is far beyond it `ws` closes itself (1009). */
const OVER_BYTES = 65_536;

export function websocketDoor(app: FastifyInstance, { sessions, limits, clock, checkClient, admitFor }: Needs): void {
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: limits.frameBytes + OVER_BYTES,
    handleProtocols: (offered) => (offered.has(SUBPROTOCOL) ? SUBPROTOCOL : false),
  });

  const outlets = createOutlets();

  /** What a connection is closed with may never be read: then it is cut. */
  function closeSoon(webSocket: WebSocket, code: number, reason: string): void {
    webSocket.close(code, reason);
    cutSoon(webSocket);
  }

  function cutSoon(webSocket: WebSocket): void {
    const timer = clock.after(limits.closeMs, () => webSocket.terminate());
    webSocket.once('close', timer.cancel);
  }

  app.server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', destroyed);
    try {
      mayUpgrade(request);
    } catch (error) {
      return refuse(socket, error as Problem);
    }
    server.handleUpgrade(request, socket, head, (webSocket) => serve(webSocket, socket, request));
  });

  function mayUpgrade(request: IncomingMessage): void {
    checkClient(request);
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((one) => one.trim());
    if (!offered.includes(SUBPROTOCOL))
      throw new Problem('invalid_request', `a stream speaks the subprotocol ${SUBPROTOCOL}`, {
        advice: `new WebSocket(url, '${SUBPROTOCOL}')`,
      });
    if (!sessions.hasRoom) throw full();
  }

  function serve(webSocket: WebSocket, socket: Duplex, request: IncomingMessage): void {
    const session = sessions.open(
      {
        send: (text) => webSocket.send(text),
        sendShared(shared) {
          // After the close frame nothing may come (RFC 6455, section 5.5.1).
          if (webSocket.readyState === OPEN) outlets.send(socket, framed(shared));
        },
        unsentBytes: () => socket.writableLength,
        takenBytes: () => takenBytes(socket as Socket),
        close: (code, reason) => closeSoon(webSocket, code, reason),
        hold: (isHeld) => (isHeld ? webSocket.pause() : webSocket.resume()),
        cut: () => (socket as Socket).destroySoon(),
      },
      admitFor(request),
      false,
    );
    webSocket.on('message', (data: Buffer, isBinary) => session.receive(isBinary ? NO_TEXT : data));
    webSocket.on('close', session.closed);
    // A frame that is none of the protocol's: `ws` closes with the code for it, and would wait half a minute for its answer.
    webSocket.on('error', () => cutSoon(webSocket));
    socket.on('drain', session.drained);
  }

  app.addHook('preClose', async () => {
    sessions.stop();
    server.close();
  });
}

/** Of no scope: one made where a socket is upgraded would keep its request for as long as the connection lasts. */
function destroyed(this: Duplex): void {
  this.destroy();
}

const OPEN = 1;
/** Binary messages are none of this protocol's: no JSON either. */
const NO_TEXT = new Uint8Array(0);

const FIN_TEXT = 0x81;
const SHORT_MAX = 125;
const MEDIUM_MAX = 65_535;

/**
 * A whole frame of a server (RFC 6455, section 5.2: not masked, so the same for everybody), made once. Beside `ws`, which writes its own
 * frames at once and whole as long as it compresses nothing.
 */
function framed(shared: Shared): Buffer {
  return (shared.framed ??= Buffer.concat([headOf(shared.bytes.length), shared.bytes]));
}

function headOf(length: number): Buffer {
  if (length <= SHORT_MAX) return Buffer.from([FIN_TEXT, length]);
  if (length <= MEDIUM_MAX) return Buffer.from([FIN_TEXT, 126, length >> 8, length & 0xff]);
  const head = Buffer.alloc(10);
  head[0] = FIN_TEXT;
  head[1] = 127;
  head.writeBigUInt64BE(BigInt(length), 2);
  return head;
}

function refuse(socket: Duplex, problem: Problem): void {
  const body = JSON.stringify(problem);
  const retry = problem.retryAfterMs === undefined ? '' : `retry-after: ${Math.ceil(problem.retryAfterMs / 1_000)}\r\n`;
  socket.end(
    `HTTP/1.1 ${problem.status} ${problem.code}\r\ncontent-type: application/problem+json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n${retry}connection: close\r\n\r\n${body}`,
  );
}
