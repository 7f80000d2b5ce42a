/**
 * `POST /v1/pull`: the long poll of `millrace.v1` (spec/protocol.md, section 4). A call is a session of one breath: it says what came of earlier
 * deliveries, asks for more, and is answered once. Nothing is kept between two calls but what is out with a client until it is acked.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { IncomingMessage } from 'node:http';
import type { Caller } from '../http/access.ts';
import { takeAnyBody } from '../http/bodies.ts';
import { REALTIME_CALLS } from '../http/openapi/realtime.ts';
import type { Room } from '../http/room.ts';
import { answerInPieces } from '../http/unread.ts';
import { closeCodeOf } from './close-codes.ts';
import { type CallNeeds, createPullCall } from './pull-call.ts';
import { readPull } from './pull-frames.ts';
import { bytesOf } from './pull-here.ts';
import { PULL_PATH } from './pull-there.ts';
import { createVisits, type Visit, type VisitsNeeds } from './pull-visit.ts';

interface Needs extends CallNeeds, VisitsNeeds {
  /** For bodies. */
  readonly room: Room;
  /** Throws where a page of this origin may not connect as this caller. */
  readonly mayBeHere: (origin: string | undefined, caller: Caller) => void;
  /** Whether another node asks, for a client of its own. */
  readonly isRelayed: (request: IncomingMessage) => boolean;
}

const EMPTY = new Uint8Array(0);

export async function pullDoor(app: FastifyInstance, needs: Needs): Promise<void> {
  const { room, answers, limits, mayBeHere, isRelayed } = needs;
  const visits = createVisits(needs);
  const answerCall = createPullCall(needs);

  async function pull(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const { caller, headers, body } = request;
    mayBeHere(headers.origin, caller);
    const call = readPull((body as Uint8Array | undefined) ?? EMPTY, limits.pullWaitMs);
    // Who waits holds no room that others need for theirs.
    request.hold?.end();
    const credentials = headers.authorization ?? '';
    const visit = visits.enter(reply.raw, { caller, credentials, isRelayed: isRelayed(request.raw) });
    const parts = await answerCall(call, visit);
    visit.handOver(parts);
    if (visit.isGone) return reply.hijack();
    const frames = [...parts.flatMap((part) => part.frames), ...byeOf(visit)];
    return reply.type('application/json').header('cache-control', 'no-store').send(listOf(frames));
  }

  await app.register(async (scope) => {
    takeAnyBody(scope, room);
    answerInPieces(scope, answers);
    scope.post(
      PULL_PATH,
      { config: { allow: ['subscribe'], takes: 'tokens' }, schema: REALTIME_CALLS.pull, bodyLimit: limits.frameBytes },
      (request, reply) => pull(request, reply),
    );
  });
}

/** Where it was not the client who ended it. */
function byeOf({ refused }: Visit): Buffer[] {
  return refused === undefined ? [] : [bytesOf({ op: 'bye', code: closeCodeOf(refused), reason: refused.code })];
}

/** What another node answered stands in it as it is: several frames, or none. */
function listOf(frames: readonly Buffer[]): Buffer {
  const parts = frames.filter(({ length }) => length > 0).flatMap((frame, at) => (at === 0 ? [frame] : [COMMA, frame]));
  return Buffer.concat([OPEN, ...parts, CLOSE]);
}

const OPEN = Buffer.from('[');
const COMMA = Buffer.from(',');
const CLOSE = Buffer.from(']');
