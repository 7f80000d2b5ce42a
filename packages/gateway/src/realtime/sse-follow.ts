/** One ephemeral sub as a plain event stream (`GET /v1/sse`), for curl and small servers. */
import type { FastifyInstance, FastifyReply } from 'fastify';
import type { Caller } from '../http/access.ts';
import { REALTIME_CALLS } from '../http/openapi/realtime.ts';
import { cursorText, partOf } from './cursors.ts';
import type { Feeds, Opened, Sink, Wish } from './feeds.ts';
import type { Messages } from './messages.ts';
import { fromOf, topicsOf } from './sse-query.ts';
import { eventBytes, streamOf } from './sse-stream.ts';
import { createVisits, type Visit, type VisitNeeds } from './sse-visit.ts';

export interface FollowNeeds extends VisitNeeds {
  readonly feeds: () => Feeds;
  readonly messages: Messages;
  /** Throws where a page of this origin may not connect as this caller. */
  readonly mayBeHere: (origin: string | undefined, caller: Caller) => void;
}

export function followDoor(app: FastifyInstance, needs: FollowNeeds): void {
  const { feeds, messages, mayBeHere } = needs;
  const { enter, beat, hasRoom } = createVisits(needs);

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
  async function follow(reply: FastifyReply, caller: Caller, wish: Wish): Promise<void> {
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
    stream.raw.write(`id: ${opened.feed.cursors().join(',')}\n\n`);
    if (opened.gap !== undefined) sink.gap(opened.gap);
    stream.raw.on('drain', () => {
      visit.disarm('slow');
      if (!visit.isOver) opened.feed.pump();
    });
    beat(visit, stream);
    opened.begin();
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
