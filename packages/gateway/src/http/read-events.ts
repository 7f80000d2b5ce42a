/** `GET /v1/events`: the log, read by people and tools; in pages, or waiting for what comes. */
import type { FastifyInstance } from 'fastify';
import { encodeStructured } from '@millrace/core/cloud-events-http';
import { Problem } from '@millrace/core/problem';
import { checkPattern } from '@millrace/core/topic';
import type { EventPage, ReadCursor } from '../api.ts';
import type { Limits } from '../limits.ts';
import type { LogRecord } from '../ports/log.ts';
import { mayUseTopics } from './access.ts';
import { timeOf } from './answers.ts';
import type { RouteNeeds } from './app.ts';
import { HTTP_BOUNDS } from './bounds.ts';
import { EVENT_CALLS } from './openapi/events.ts';
import { cursorTo, limitOf, placeOf } from './paging.ts';
import { fromOf } from './subscription-settings.ts';

interface EventsQueryString {
  readonly topics?: string;
  readonly from?: string;
  readonly cursor?: string;
  readonly limit?: string;
  readonly waitMs?: string;
}

export function readEventRoutes(app: FastifyInstance, { gateway, limits, ownTurn }: RouteNeeds): void {
  const stopping = new AbortController();
  // Whoever waits must not hold up the end.
  app.addHook('preClose', async () => stopping.abort());

  app.get<{ Querystring: EventsQueryString }>(
    '/v1/events',
    { config: { allow: ['subscribe'], takes: 'tokens' }, schema: EVENT_CALLS.read },
    async ({ caller, query }, reply) => {
      const topics = topicsOf(query);
      mayUseTopics(caller, topics, '/query/topics');
      const cursor = cursorIn(query);
      const gone = new AbortController();
      reply.raw.once('close', () => gone.abort());
      const page = await gateway.events.read(
        {
          environment: caller.environment,
          ...(caller.admin ? {} : { app: caller.app }),
          topics,
          limit: limitOf(query),
          waitMs: waitOf(query, limits),
          ...(query.from === undefined ? {} : { from: fromOf(query.from, '/query/from') }),
          ...(cursor === undefined ? {} : { cursor }),
        },
        AbortSignal.any([stopping.signal, gone.signal]),
      );
      // Megabytes are written here: one reader at a time, and others in between.
      await ownTurn();
      return reply.type('application/json').send(bodyOf(page));
    },
  );
}

function topicsOf({ topics = '>' }: EventsQueryString): readonly string[] {
  const patterns = topics.split(',').map((pattern) => pattern.trim());
  if (patterns.length > HTTP_BOUNDS.readTopics)
    throw new Problem('invalid_topic', `at most ${HTTP_BOUNDS.readTopics} topic patterns`, { pointer: '/query/topics' });
  for (const pattern of patterns) checkPattern(pattern, '/query/topics');
  return patterns;
}

function waitOf({ waitMs = '0' }: EventsQueryString, { readWaitMs }: Limits): number {
  const ms = /^\d{1,5}$/.test(waitMs) ? Number(waitMs) : Number.NaN;
  if (ms <= readWaitMs) return ms;
  throw new Problem('invalid_request', `waitMs is a whole number from 0 to ${readWaitMs}`, {
    pointer: '/query/waitMs',
  });
}

/** Log, time, then shards and positions in turn. */
function cursorIn(query: EventsQueryString): ReadCursor | undefined {
  const place = placeOf(query, ['string', 'number', 'string']);
  if (place === undefined) return undefined;
  const [log, timeMs, places] = place as readonly [string, number, string];
  const pairs = places === '' ? [] : places.split('\n').map((line) => line.split('\t') as [string, string]);
  return { log, timeMs, positions: Object.fromEntries(pairs) };
}

function textOf({ log, timeMs, positions }: ReadCursor): string {
  return cursorTo([
    log,
    timeMs,
    Object.entries(positions)
      .map((pair) => pair.join('\t'))
      .join('\n'),
  ]);
}

/** Payloads stand in it byte for byte. */
function bodyOf({ records, cursor, atEnd, gap }: EventPage): string {
  const data = records.map(lineOf).join(',');
  const rest = JSON.stringify({ cursor: textOf(cursor), atEnd, ...(gap === undefined ? {} : { gap }) });
  return `{"data":[${data}],${rest.slice(1)}`;
}

function lineOf({ event, shard, position, timeMs }: LogRecord): string {
  const rest = JSON.stringify({ shard, position, appendedAt: timeOf(timeMs) });
  return `{"event":${Buffer.from(encodeStructured(event)).toString()},${rest.slice(1)}`;
}
