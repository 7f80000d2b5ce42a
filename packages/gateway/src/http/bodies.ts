/** Which bodies the door takes, how they are read, and how they reach the routes. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { parseJson } from '@millrace/core/json-scan';
import { Problem } from '@millrace/core/problem';
import type { Limits } from '../limits.ts';
import { type Hold, type Room, noRoom } from './room.ts';

/** Bytes as they came: a payload is stored as it was sent. Where bodies are signed, `signed` is the room for those that are. */
export function takeAnyBody(app: FastifyInstance, room: Room, signed: Room = room): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (request, _payload, done) => readBody(request, done));
  holdWhileAnswered(app, (request) => (request.signed === undefined ? room : signed));
}

export function takeJson(app: FastifyInstance, { limits, room }: { readonly limits: Limits; readonly room: Room }): void {
  app.addHook('onRoute', (route) => void (route.bodyLimit ??= limits.configurationBytes));
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(['application/json', 'application/merge-patch+json'], (request, _payload, done) =>
    readBody(request, (problem, body) => {
      if (problem !== null) return done(problem);
      try {
        done(null, body === undefined || body.length === 0 ? undefined : parseJson(body));
      } catch (error) {
        done(error as Problem);
      }
    }),
  );
  holdWhileAnswered(app, () => room);
  // A call without a body is a call with an empty one: what it must hold, its schema says.
  app.addHook('preValidation', (request, _reply, done) => {
    // One that says null is none of these.
    if (request.body === undefined) request.body = {};
    done();
  });
}

/** Whether something comes, or may come, behind the headers. */
export function hasBody({ headers }: FastifyRequest): boolean {
  const { 'content-length': length, 'transfer-encoding': encoding } = headers;
  return (length !== undefined && length !== '0') || encoding !== undefined;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Of a request that has a body: its part of the room for all bodies. */
    hold?: Hold;
  }
}

/** A body is let go when its request is answered: until then the request holds it, whatever became of its bytes. */
function holdWhileAnswered(app: FastifyInstance, roomFor: (request: FastifyRequest) => Room): void {
  app.addHook('preParsing', (request, reply: FastifyReply, payload, done) => {
    if (hasBody(request)) {
      const hold = roomFor(request).hold();
      request.hold = hold;
      // An answer that is cut off never finishes, one of a test never closes.
      reply.raw.once('finish', hold.end).once('close', hold.end);
      if (request.headers.expect !== undefined) reply.raw.writeContinue();
    }
    done(null, payload);
  });
}

/**
 * Not left to Fastify, which knows no bound for all bodies together. What is refused here is still coming: whoever answers
 * sees to the rest (closing.ts).
 */
function readBody({ raw, routeOptions, hold }: FastifyRequest, done: (problem: Problem | null, body?: Buffer) => void): void {
  const most = routeOptions.bodyLimit ?? Infinity;
  const length = Number(raw.headers['content-length'] ?? Number.NaN);
  if (length > most) return done(tooLarge(most));
  if (length > 0 && hold?.hasRoomFor(length) === false) return done(noRoom());
  const chunks: Buffer[] = [];
  let bytes = 0;

  function end(problem: Problem | null): void {
    raw.off('data', take).off('end', finish).off('error', leave);
    // Nobody is told of it any more, and it is no fault of ours.
    raw.on('error', () => undefined);
    if (problem !== null) return done(problem);
    done(null, Buffer.concat(chunks, bytes));
  }
  function take(chunk: Buffer): void {
    bytes += chunk.length;
    if (bytes > most) return end(tooLarge(most));
    if (hold?.add(chunk.length) === false) return end(noRoom());
    chunks.push(chunk);
  }
  function finish(): void {
    end(bytes === length || Number.isNaN(length) ? null : tooShort());
  }
  function leave(): void {
    end(tooShort());
  }
  raw.on('data', take).on('end', finish).on('error', leave);
}

const tooLarge = (most: number): Problem =>
  new Problem('payload_too_large', `the body has more than the ${most.toLocaleString('en')} bytes that are taken here`);

/** Also of a client that left: it does not hear it. */
const tooShort = (): Problem =>
  new Problem('invalid_request', 'the body is not as long as its Content-Length says', {
    advice: 'Count its bytes, not its characters, or leave the header to your HTTP client.',
  });

/** Payloads are kept as they were sent: what was compressed would be delivered so, or be taken for broken JSON. */
export function refuseCompressed(app: FastifyInstance): void {
  app.addHook('onRequest', (request, reply, done) => {
    const coding = request.headers['content-encoding']?.trim().toLowerCase();
    if (coding === undefined || coding === '' || coding === 'identity' || !hasBody(request)) return done();
    // RFC 9110, section 15.5.16.
    void reply.header('accept-encoding', 'identity');
    throw new Problem('unsupported_media_type', `the body is compressed (Content-Encoding: ${coding.slice(0, 40)})`, {
      advice: 'Send it uncompressed, without Content-Encoding.',
    });
  });
}
