/** `/v1/topics/{topic}/rejects`: what clients of the broker wrote to a topic and can not be an event. */
import type { FastifyInstance } from 'fastify';
import { checkTopic } from '@millrace/core/topic';
import type { RejectCursor, RejectPage } from '../api.ts';
import { type Caller, mayActFor, mayUseTopics } from './access.ts';
import { timeOf } from './answers.ts';
import type { RouteNeeds } from './app.ts';
import { HTTP_BOUNDS } from './bounds.ts';
import { TOPIC_CALLS } from './openapi/topics.ts';
import { cursorTo, limitOf, type PageQuery, placeOf } from './paging.ts';

type Asked = { Params: { topic: string }; Querystring: PageQuery };

const decoder = new TextDecoder();

export function rejectRoutes(app: FastifyInstance, { gateway, directory }: RouteNeeds): void {
  const read = { allow: ['subscribe', 'manage'] } as const;

  app.get<Asked>(
    '/v1/topics/:topic/rejects',
    { config: read, schema: TOPIC_CALLS.rejects },
    async ({ caller, params, query }) => {
      const { topic } = params;
      checkTopic(topic, '/topic');
      mayUseTopics(caller, [topic], '/topic');
      const cursor = cursorIn(query);
      const page = await gateway.rejects.read({
        environment: caller.environment,
        topic,
        limit: limitOf(query),
        ...(cursor === undefined ? {} : { cursor }),
      });
      return shown(page, await maySeeBytes(caller, topic));
    },
  );

  /** For whom an event was, its headers would have said: of one that is none the bytes are the topic's owner's alone. */
  async function maySeeBytes(caller: Caller, topic: string): Promise<boolean> {
    if (caller.admin) return true;
    const declared = await directory.get('topic', caller.environment, topic);
    return declared !== undefined && mayActFor(caller, declared.value.owner);
  }
}

function shown({ records, throughMs, next }: RejectPage, withBytes: boolean): object {
  const data = records.map(({ shard, position, timeMs, event: { data: bytes = new Uint8Array() }, rejected }) => ({
    shard,
    position,
    appendedAt: timeOf(timeMs),
    ...rejected,
    bytes: bytes.length,
    ...(withBytes ? { begins: decoder.decode(bytes.subarray(0, HTTP_BOUNDS.rejectBytes)) } : {}),
  }));
  return { data, next: next === undefined ? null : textOf(next), through: timeOf(throughMs) };
}

function textOf({ timeMs, shard, position, windowMs }: RejectCursor): string {
  return cursorTo([timeMs, shard, position, windowMs]);
}

function cursorIn(query: PageQuery): RejectCursor | undefined {
  const place = placeOf(query, ['number', 'string', 'string', 'number']);
  if (place === undefined) return undefined;
  const [timeMs, shard, position, windowMs] = place as readonly [number, string, string, number];
  return { timeMs, shard, position, windowMs: Math.max(1, windowMs) };
}
