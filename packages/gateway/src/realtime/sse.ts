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
import type { Clock, Timer } from '../ports/clock.ts';
import { cursorText, partOf } from './cursors.ts';
import type { Feed, Feeds, Opened, Sink } from './feeds.ts';
import { FRAME_BOUNDS } from './frame-reader.ts';
import type { Messages } from './messages.ts';
import type { Session } from './session.ts';
import type { SessionNeeds } from './session-needs.ts';
import { full, type Sessions } from './sessions.ts';

interface Needs {
  readonly sessions: Sessions;
  readonly feeds: () => Feeds;
  readonly messages: Messages;
  readonly room: Room;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly admitFor: (request: FastifyRequest['raw']) => SessionNeeds['admit'];
  /** Throws where a page of this origin may not connect as this caller. */
  readonly mayBeHere: (origin: string | undefined, caller: Caller) => void;
  /** When the caller's right ends, wall time. */
  readonly expiresMsOf: (caller: Caller) => number | undefined;
}

interface Open {
  readonly session: Session;
  readonly opener: Caller;
}

/** A plain stream of events, from before its feed is open until after its connection is gone. */
interface Visit {
  feed?: Feed;
  stream?: Stream;
  /** Why it was ended, by us. */
  refused?: Problem;
  isOver: boolean;
  /** Each once at a time; all end with the visit. */
  arm(name: 'life' | 'heartbeat' | 'slow', delayMs: number, work: () => void): void;
  disarm(name: 'slow'): void;
  leave(): void;
}

const HEAD = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-store',
  // Proxies that hold an answer back until it ends would hold it for ever (nginx).
  'x-accel-buffering': 'no',
} as const;
const ALLOW = ['publish', 'subscribe'] as const;

export async function sseDoor(app: FastifyInstance, needs: Needs): Promise<void> {
  const { sessions, feeds, messages, room, clock, limits, admitFor, mayBeHere, expiresMsOf } = needs;
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
        get unsentBytes() {
          return stream.raw.writableLength;
        },
        close: stream.end,
      },
      admitFor(request.raw),
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

  app.get<{ Querystring: { topics?: string; from?: string } }>(
    '/v1/sse',
    { config: { allow: ['subscribe'], takes: 'tokens' }, schema: REALTIME_CALLS.follow },
    async (request, reply) => {
      const { caller, query, headers } = request;
      mayBeHere(headers.origin, caller);
      const topics = topicsOf(caller, query.topics ?? '');
      const from = fromOf(query.from, headers['last-event-id']);
      await follow(reply, caller, { environment: caller.environment, app: caller.app, topics, from });
    },
  );

  /** As fast as it is read: what is unsent is the only bound. */
  async function follow(reply: FastifyReply, caller: Caller, wish: Parameters<Feeds['open']>[0]): Promise<void> {
    const all = feeds();
    const visit = enter(reply.raw, caller);
    const sink = sinkOf(visit, all.log);
    let opened: Opened;
    try {
      opened = await all.open(wish, sink);
    } catch (error) {
      visit.leave();
      throw error;
    }
    visit.feed = opened.feed;
    if (visit.isOver) return goneBefore(visit, reply);
    const stream = (visit.stream = streamOf(reply, needs));
    // Where it stands before the first event, for a client that loses the connection until then.
    stream.raw.write(`id: ${opened.feed.cursors.join(',')}\n\n`);
    if (opened.gap !== undefined) sink.gap(opened.gap);
    stream.raw.on('drain', () => {
      visit.disarm('slow');
      if (!visit.isOver) opened.feed.pump();
    });
    beat(visit, stream);
    opened.begin();
  }

  /** Counted from now on: what is slow to open would else be as many as one likes. */
  function enter(raw: ServerResponse, caller: Caller): Visit {
    const timers = new Map<string, Timer>();
    const disarm = (name: string): void => {
      timers.get(name)?.cancel();
      timers.delete(name);
    };
    const end = (problem: Problem): void => {
      visit.refused ??= problem;
      visit.leave();
      visit.stream?.end();
    };
    const exit = sessions.enter({ caller, end });
    const visit: Visit = {
      isOver: false,
      arm(name, delayMs, work) {
        if (visit.isOver || timers.has(name)) return;
        const fire = (): void => {
          timers.delete(name);
          work();
        };
        timers.set(name, clock.after(delayMs, fire));
      },
      disarm,
      leave() {
        visit.isOver = true;
        for (const name of timers.keys()) disarm(name);
        visit.feed?.close();
        exit();
      },
    };
    // The client may go while the feed is being opened, or have gone while it was found out who asks.
    raw.once('close', visit.leave);
    if (raw.destroyed) visit.leave();
    const expiresMs = expiresMsOf(caller);
    if (expiresMs !== undefined) live(visit, expiresMs - clock.now() + limits.tokenGraceMs, end);
    return visit;
  }

  /** The clock waits for a day at most, and a key may live for years. */
  function live(visit: Visit, leftMs: number, end: (problem: Problem) => void): void {
    const untilMs = clock.monotonic() + leftMs;
    const look = (): void => {
      const nowMs = clock.monotonic();
      if (nowMs >= untilMs) end(new Problem('unauthorized', 'the token or key has expired'));
      else visit.arm('life', untilMs - nowMs, look);
    };
    look();
  }

  /** A comment, for proxies that cut what is silent. Where much is unsent already it would say nothing new. */
  function beat(visit: Visit, stream: Stream): void {
    visit.arm('heartbeat', limits.heartbeatMs, () => {
      if (stream.raw.writableLength <= limits.unsentBytes) stream.raw.write(':\n\n');
      beat(visit, stream);
    });
  }

  /** While it is too much, nothing more is sent; where it lasts too long, the connection is cut. */
  function hasRoom(visit: Visit, { raw }: Stream): boolean {
    if (raw.writableLength <= limits.unsentBytes) return true;
    visit.arm('slow', limits.slowMs, () => {
      // Of what is less than the system's own mark no 'drain' tells.
      if (raw.writableLength <= limits.unsentBytes) visit.feed?.pump();
      else raw.destroy();
    });
    return false;
  }

  function sinkOf(visit: Visit, log: string): Sink {
    return {
      take(record) {
        const { stream } = visit;
        if (stream === undefined || visit.isOver) return false;
        if (!hasRoom(visit, stream)) return false;
        const shared = messages.event(record);
        stream.send((shared.streamed ??= eventBytes(shared.bytes.toString(), cursorText(partOf(log, record.shard), record))));
        // Also where it was the last for a while.
        hasRoom(visit, stream);
        return true;
      },
      gap: (gap) => visit.stream?.write(JSON.stringify(gap), undefined, 'gap'),
    };
  }
}

/** Where there is still somebody to tell, why; else there is nothing to answer. */
function goneBefore({ feed, refused }: Visit, reply: FastifyReply): void {
  feed?.close();
  if (refused !== undefined) throw refused;
  void reply.hijack();
}

/**
 * Who opened a session speaks in it, and whom it last came in as: by its own token, as tokens of one key are handed to many. A
 * client whose header stays what it was goes on after an `auth`, for as long as that token is good.
 */
const maySpeak = (caller: Caller, { session, opener }: Open): boolean =>
  isSame(caller, opener) || (session.caller !== undefined && isSame(caller, session.caller));

const isSame = (one: Caller, other: Caller): boolean =>
  one.environment === other.environment && one.key === other.key && one.token?.id === other.token?.id;

interface Stream {
  readonly raw: ServerResponse;
  write(text: string, id: string | undefined, event?: string): void;
  /** As it is, made by `eventBytes`. */
  send(bytes: Buffer): void;
  /** What was written is still sent, for as long as a connection stays for its client to read the end. */
  end(): void;
}

/** The answer is ours from here on: no hook of the door touches it. */
function streamOf(reply: FastifyReply, { clock, limits }: Pick<Needs, 'clock' | 'limits'>): Stream {
  // What lets a page of another origin read it.
  const headers = reply.getHeaders() as OutgoingHttpHeaders;
  const { raw } = reply.hijack();
  raw.writeHead(200, { ...headers, ...HEAD });
  raw.flushHeaders();
  function send(bytes: Buffer): void {
    // After the end it would be an error that nobody hears.
    if (!raw.writableEnded) raw.write(bytes);
  }
  return {
    raw,
    write: (text, id, event) => send(eventBytes(text, id, event)),
    send,
    end() {
      if (raw.writableEnded || raw.destroyed) return;
      const timer = clock.after(limits.closeMs, () => raw.destroy());
      raw.once('close', timer.cancel);
      raw.end();
    },
  };
}

/** JSON may be written over several lines: each is a line of data. */
function eventBytes(text: string, id: string | undefined, event?: string): Buffer {
  const lines = text.replace(/\r\n?|\n/g, '\ndata: ');
  return Buffer.from(
    `${event === undefined ? '' : `event: ${event}\n`}${id === undefined ? '' : `id: ${id}\n`}data: ${lines}\n\n`,
  );
}

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
