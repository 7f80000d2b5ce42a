/**
 * Answers that nobody takes: a connection on whose answer nothing has moved for `answerMs` is cut off. It would hold the answer,
 * and its place among the connections, for as long as the client likes. A request that is still worked on, as a reader of
 * events that waits, has no answer yet, and a stream of lines whose answers are all read is owed none.
 */
import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import { Problem } from '@millrace/core/problem';
import type { Timer } from '../ports/clock.ts';
import { HTTP_BOUNDS } from './bounds.ts';
import { type Closing, connectionOf } from './closing.ts';
import type { Room } from './room.ts';

interface Progress {
  /** Bytes that the system has taken on the connection. */
  taken: number;
  /** Since when it is no more. */
  sinceMs: number;
}

export function cutUnread(app: FastifyInstance, { clock, limits }: Closing): void {
  /** Answers that have begun and not ended. */
  const open = new Map<ServerResponse, Progress>();
  let timer: Timer | undefined;

  function look(): void {
    timer = undefined;
    const nowMs = clock.monotonic();
    for (const [response, progress] of open) {
      const { socket } = response;
      const taken = socket === null ? progress.taken : socket.bytesWritten - socket.writableLength;
      if (taken !== progress.taken || response.writableLength === 0) Object.assign(progress, { taken, sinceMs: nowMs });
      else if (nowMs - progress.sinceMs >= limits.answerMs) socket?.destroy();
    }
    watch();
  }

  function watch(): void {
    if (open.size > 0) timer ??= clock.after(limits.lateCheckMs, look);
  }

  app.addHook('onSend', (request, { raw }, payload, done) => {
    if (connectionOf(request) !== undefined && !open.has(raw)) {
      open.set(raw, { taken: 0, sinceMs: clock.monotonic() });
      raw.once('close', () => void open.delete(raw));
      watch();
    }
    done(null, payload);
  });
  app.addHook('onClose', () => timer?.cancel());
}

/**
 * Of what is written at once nobody can tell how far it is: large answers go out piece by piece. They have a bound of all together,
 * for what only reads: of a change that was made the answer is given in any case. The last hook of a scope.
 */
export function answerInPieces(app: FastifyInstance, room: Room): void {
  app.addHook('onSend', (request, reply, payload, done) => {
    if (!isLarge(payload)) return done(null, payload);
    const bytes = typeof payload === 'string' ? Buffer.from(payload) : payload;
    const hold = room.hold();
    // What is bytes already is the same ones for everybody: it costs nothing to hold.
    if (payload !== bytes && !hold.add(bytes.length) && request.method === 'GET') return done(tooMuchUnread());
    reply.raw.once('finish', hold.end).once('close', hold.end);
    void reply.header('content-length', bytes.length);
    done(null, Readable.from(piecesOf(bytes), { objectMode: false, highWaterMark: HTTP_BOUNDS.answerPieceBytes }));
  });
}

function isLarge(payload: unknown): payload is string | Buffer {
  return (typeof payload === 'string' || Buffer.isBuffer(payload)) && payload.length > HTTP_BOUNDS.answerPieceBytes;
}

const tooMuchUnread = (): Problem =>
  new Problem('overloaded', 'large answers that their clients have not read yet fill the room there is for them', {
    retryAfterMs: 1_000,
    advice: 'Ask again, or for less: with a smaller limit.',
  });

function* piecesOf(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += HTTP_BOUNDS.answerPieceBytes)
    yield bytes.subarray(at, at + HTTP_BOUNDS.answerPieceBytes);
}
