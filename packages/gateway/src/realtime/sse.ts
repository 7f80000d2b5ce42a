/**
 * Sessions over server-sent events and POST, for where a WebSocket does not get through; plain streams stand beside them
 * (sse-follow.ts). Authorization is a header here as everywhere: what stands in an address ends in logs.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Problem } from '@millrace/core/problem';
import type { Caller } from '../http/access.ts';
import { takeAnyBody } from '../http/bodies.ts';
import { REALTIME_CALLS } from '../http/openapi/realtime.ts';
import type { Room } from '../http/room.ts';
import type { Session } from './session.ts';
import type { SessionNeeds } from './session-needs.ts';
import { full } from './sessions.ts';
import { type FollowNeeds, followDoor } from './sse-follow.ts';
import { eventBytes, streamOf } from './sse-stream.ts';
import { takenBytes } from './unsent.ts';

interface Needs extends FollowNeeds {
  readonly room: Room;
  readonly admitFor: (request: FastifyRequest['raw']) => SessionNeeds['admit'];
}

interface Open {
  readonly session: Session;
  readonly unsentBytes: () => number;
  readonly opener: Caller;
}

const ALLOW = ['publish', 'subscribe'] as const;

export async function sseDoor(app: FastifyInstance, needs: Needs): Promise<void> {
  const { sessions, room, limits, admitFor } = needs;
  const open = new Map<string, Open>();
  /**
   * What a sub sends alone stays within: what is unsent, and the message that went over it. Most clients end a session that is answered
   * with 429, and who reads slowly would else be ended by its own acks.
   */
  const unreadBytes = limits.unsentBytes + limits.frameBytes;

  await app.register(async (scope) => {
    takeAnyBody(scope, room);
    const schema = REALTIME_CALLS.open;
    scope.post(
      '/v1/sse',
      { config: { allow: ALLOW, takes: 'tokens' }, schema, bodyLimit: limits.frameBytes },
      (request, reply) => {
        if (!sessions.hasRoom) throw full();
        begin(request, reply);
      },
    );
    scope.post<{ Params: { session: string } }>(
      '/v1/sse/:session',
      { config: { allow: ALLOW, takes: 'tokens' }, schema: REALTIME_CALLS.say, bodyLimit: limits.frameBytes },
      async (request, reply) => {
        const found = open.get(request.params.session);
        if (found === undefined || !maySpeak(request.caller, found))
          throw new Problem('not_found', 'there is no such session', { advice: 'It ended with its stream: open another one.' });
        if (found.unsentBytes() > unreadBytes) throw unread();
        found.session.receive(bodyOf(request));
        return reply.code(202).send({});
      },
    );
  });

  function begin(request: FastifyRequest, reply: FastifyReply): void {
    const stream = streamOf(reply, needs);
    const unsentBytes = (): number => stream.raw.writableLength;
    let lastCursor: string | undefined;
    const session = sessions.open(
      {
        send: (text) => stream.write(text, lastCursor),
        sendShared(shared) {
          lastCursor = shared.cursor;
          stream.send((shared.streamed ??= eventBytes(shared.bytes.toString(), shared.cursor)));
        },
        unsentBytes,
        takenBytes: () => takenBytes(stream.raw.socket),
        close: stream.end,
      },
      admitFor(request.raw),
      true,
    );
    open.set(session.id, { session, unsentBytes, opener: request.caller });
    stream.raw.on('drain', session.drained);
    const closed = (): void => {
      open.delete(session.id);
      session.closed();
    };
    stream.raw.on('close', closed);
    // The client may have gone while its body was worked on: then no 'close' comes any more.
    if (stream.raw.destroyed) closed();
    session.receive(bodyOf(request));
    request.hold?.end();
  }

  followDoor(app, needs);
}

/**
 * Who opened a session speaks in it, and whom it last came in as: by its own token, as tokens of one key are handed to many. A
 * client whose header stays what it was goes on after an `auth`, for as long as that token is good.
 */
function maySpeak(caller: Caller, { session, opener }: Open): boolean {
  const now = session.caller();
  return isSame(caller, opener) || (now !== undefined && isSame(caller, now));
}

const isSame = (one: Caller, other: Caller): boolean =>
  one.environment === other.environment && one.key === other.key && one.token?.id === other.token?.id;

/** A request can not be left waiting in the network, as a message of a WebSocket is: each holds its body meanwhile. */
const unread = (): Problem =>
  new Problem('too_many_requests', 'what the session was answered is not read', {
    retryAfterMs: 1_000,
    advice: 'Read the stream, and send these frames again.',
  });

const EMPTY = new Uint8Array(0);
const bodyOf = ({ body }: FastifyRequest): Uint8Array => (body as Uint8Array | undefined) ?? EMPTY;
