/**
 * Sessions over server-sent events (WHATWG HTML, section 9.2) and POST, for where a WebSocket does not get through; and, for curl and small
 * servers, one ephemeral sub as a plain event stream. Authorization is a header here as everywhere: what stands in an address ends in logs.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { Problem } from '@millrace/core/problem';
import { checkPattern } from '@millrace/core/topic';
import { type Caller, mayUseTopics } from '../http/access.ts';
import { takeAnyBody } from '../http/bodies.ts';
import { HTTP_BOUNDS } from '../http/bounds.ts';
import { REALTIME_CALLS } from '../http/openapi/realtime.ts';
import type { Room } from '../http/room.ts';
import type { Limits } from '../limits.ts';
import { cursorText, partOf } from './cursors.ts';
import type { Feeds, Sink } from './feeds.ts';
import { FRAME_BOUNDS } from './frames.ts';
import { eventJson, type Shared } from './messages.ts';
import type { Session, SessionNeeds } from './session.ts';
import { full, type Sessions } from './sessions.ts';

interface Needs {
  readonly sessions: Sessions;
  readonly feeds: () => Feeds;
  readonly room: Room;
  readonly limits: Limits;
  readonly admitFor: (request: FastifyRequest['raw']) => SessionNeeds['admit'];
}

interface Open {
  readonly session: Session;
  /** Of the key or token that opened it: nobody else speaks in it. */
  readonly key: string;
}

const HEAD = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-store',
  // Proxies that hold an answer back until it ends would hold it for ever (nginx).
  'x-accel-buffering': 'no',
} as const;
const ALLOW = ['publish', 'subscribe'] as const;

export async function sseDoor(app: FastifyInstance, { sessions, feeds, room, limits, admitFor }: Needs): Promise<void> {
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
        if (found === undefined || found.key !== request.caller.key)
          throw new Problem('not_found', 'there is no such session', { advice: 'It ended with its stream: open another one.' });
        found.session.receive(bodyOf(request));
        return reply.code(202).send({});
      },
    );
  });

  function begin(request: FastifyRequest, reply: FastifyReply): void {
    const stream = streamOf(reply);
    let lastCursor: string | undefined;
    const session = sessions.open(
      {
        send: (text) => stream.write(text, lastCursor),
        sendShared(shared) {
          lastCursor = shared.cursor;
          stream.write(textOf(shared), lastCursor);
        },
        get unsentBytes() {
          return stream.raw.writableLength;
        },
        close: () => void stream.raw.end(),
      },
      admitFor(request.raw),
    );
    open.set(session.id, { session, key: request.caller.key });
    stream.raw.on('drain', session.drained);
    stream.raw.on('close', () => {
      open.delete(session.id);
      session.closed();
    });
    session.receive(bodyOf(request));
    request.hold?.end();
  }

  app.get<{ Querystring: { topics?: string; from?: string } }>(
    '/v1/sse',
    { config: { allow: ['subscribe'], takes: 'tokens' }, schema: REALTIME_CALLS.follow },
    async (request, reply) => {
      const { caller, query, headers } = request;
      const topics = topicsOf(caller, query.topics ?? '');
      const from = fromOf(query.from, headers['last-event-id']);
      if (!sessions.hasRoom) throw full();
      return follow(reply, { environment: caller.environment, app: caller.app, topics, from });
    },
  );

  /** As fast as it is read: what is unsent is the only bound. */
  async function follow(reply: FastifyReply, wish: Parameters<Feeds['open']>[0]): Promise<void> {
    const all = feeds();
    const to: { stream?: Stream } = {};
    const sink: Sink = {
      take(record) {
        if (to.stream === undefined || to.stream.raw.writableLength > limits.unsentBytes) return false;
        to.stream.write(eventJson(record).toString(), cursorText(partOf(all.log, record.shard), record));
        return true;
      },
      gap: (gap) => to.stream?.write(JSON.stringify(gap), undefined, 'gap'),
    };
    const { feed, gap, begin: start } = await all.open(wish, sink);
    const { raw } = (to.stream = streamOf(reply));
    // Where it stands before the first event, for a client that loses the connection until then.
    raw.write(`id: ${feed.cursors.join(',')}\n\n`);
    if (gap !== undefined) sink.gap(gap);
    raw.on('drain', feed.pump);
    raw.on('close', feed.close);
    followers.add(raw);
    raw.once('close', () => followers.delete(raw));
    start();
  }

  const followers = new Set<ServerResponse>();
  app.addHook('preClose', async () => {
    for (const response of followers) response.end();
  });
}

interface Stream {
  readonly raw: ServerResponse;
  write(text: string, id: string | undefined, event?: string): void;
}

/** The answer is ours from here on: no hook of the door touches it. */
function streamOf(reply: FastifyReply): Stream {
  // What lets a page of another origin read it.
  const headers = reply.getHeaders() as OutgoingHttpHeaders;
  const { raw } = reply.hijack();
  raw.writeHead(200, { ...headers, ...HEAD });
  raw.flushHeaders();
  return {
    raw,
    write(text, id, event) {
      // JSON may be written over several lines: each is a line of data.
      const lines = text.replace(/\r\n?|\n/g, '\ndata: ');
      raw.write(`${event === undefined ? '' : `event: ${event}\n`}${id === undefined ? '' : `id: ${id}\n`}data: ${lines}\n\n`);
    },
  };
}

const textOf = (shared: Shared): string => (shared.text ??= shared.bytes.toString());

const EMPTY = new Uint8Array(0);
const bodyOf = ({ body }: FastifyRequest): Uint8Array => (body as Uint8Array | undefined) ?? EMPTY;

function topicsOf(caller: Caller, text: string): readonly string[] {
  const topics = text.split(',').map((one) => one.trim());
  if (text === '' || topics.length > FRAME_BOUNDS.topics)
    throw new Problem('invalid_topic', `topics are 1 to ${FRAME_BOUNDS.topics} patterns with commas between them`, {
      pointer: '/query/topics',
    });
  for (const topic of topics) checkPattern(topic, '/query/topics');
  mayUseTopics(caller, topics, '/query/topics');
  return topics;
}

function fromOf(from: string | undefined, lastEventId: string | string[] | undefined): 'latest' | 'last' | { cursors: string[] } {
  if (typeof lastEventId === 'string' && lastEventId !== '')
    return { cursors: lastEventId.slice(0, HTTP_BOUNDS.lastEventIdChars).split(',') };
  if (from === undefined || from === 'latest' || from === 'last') return from ?? 'latest';
  throw new Problem('invalid_request', 'from is latest or last; where you were says the header Last-Event-ID', {
    pointer: '/query/from',
  });
}
