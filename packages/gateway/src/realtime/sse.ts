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

interface Needs extends FollowNeeds {
  readonly room: Room;
  readonly admitFor: (request: FastifyRequest['raw']) => SessionNeeds['admit'];
}

interface Open {
  readonly session: Session;
  readonly opener: Caller;
}

const ALLOW = ['publish', 'subscribe'] as const;

export async function sseDoor(app: FastifyInstance, needs: Needs): Promise<void> {
  const { sessions, room, limits, admitFor } = needs;
  const open = new Map<string, Open>();

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
        found.session.receive(bodyOf(request));
        return reply.code(202).send({});
      },
    );
  });

  function begin(request: FastifyRequest, reply: FastifyReply): void {
    const stream = streamOf(reply, needs);
    let lastCursor: string | undefined;
    const session = sessions.open(
      {
        send: (text) => stream.write(text, lastCursor),
        sendShared(shared) {
          lastCursor = shared.cursor;
          stream.send((shared.streamed ??= eventBytes(shared.bytes.toString(), shared.cursor)));
        },
        unsentBytes: () => stream.raw.writableLength,
        close: stream.end,
      },
      admitFor(request.raw),
      true,
    );
    open.set(session.id, { session, opener: request.caller });
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

const EMPTY = new Uint8Array(0);
const bodyOf = ({ body }: FastifyRequest): Uint8Array => (body as Uint8Array | undefined) ?? EMPTY;
