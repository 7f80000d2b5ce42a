/** `/v1/topics`: what may be published. Everybody with a key may read them; an app changes those it owns. */
import type { FastifyInstance } from 'fastify';
import { Problem } from '@millrace/core/problem';
import { checkTopic } from '@millrace/core/topic';
import type { Topic, Versioned } from '../ports/directory.ts';
import { type Caller, mayActFor, mayUseTopics, SCOPES } from './access.ts';
import { checkConditions, checkMatch, etagOf } from './answers.ts';
import type { RouteNeeds } from './app.ts';
import { TOPIC_CALLS } from './openapi/topics.ts';
import { cursorTo, limitOf, type PageQuery, placeOf } from './paging.ts';
import { showTopic, topicOf, type TopicSettings } from './topic-settings.ts';

type Named = { Params: { topic: string } };

export function topicRoutes(app: FastifyInstance, { directory, clock, limits }: RouteNeeds): void {
  const read = { allow: SCOPES };
  const manage = { allow: ['manage'] } as const;

  app.get<{ Querystring: PageQuery }>('/v1/topics', { config: read, schema: TOPIC_CALLS.list }, async ({ caller, query }) => {
    const limit = limitOf(query);
    const [id] = placeOf(query, ['string']) ?? [];
    const { environment } = caller;
    const topics = await directory.list('topic', {
      environment,
      limit,
      ...(id === undefined ? {} : { after: { environment, id: String(id) } }),
    });
    const last = topics.at(-1);
    return { data: topics.map(showTopic), next: last === undefined || topics.length < limit ? null : cursorTo([last.id]) };
  });

  app.get<Named>('/v1/topics/:topic', { config: read, schema: TOPIC_CALLS.get }, async ({ caller, params }, reply) => {
    const topic = await known(caller, params.topic);
    return reply.header('etag', etagOf(topic)).send(showTopic(topic));
  });

  app.put<Named & { Body: TopicSettings | undefined }>(
    '/v1/topics/:topic',
    { config: manage, schema: TOPIC_CALLS.put },
    async ({ caller, params, body = {}, headers }, reply) => {
      checkTopic(params.topic, '/topic');
      mayUseTopics(caller, [params.topic], '/topic');
      const before = await directory.get('topic', caller.environment, params.topic);
      if (before === undefined && headers['if-match'] !== undefined) throw notFound(params.topic);
      if (before !== undefined) checkConditions(headers, before);
      mayOwn(caller, body.owner ?? before?.value.owner ?? caller.app, before);
      const value = topicOf(body, {
        owner: before?.value.owner ?? caller.app,
        nowMs: before?.value.createdMs ?? clock.now(),
        limits,
      });
      const topic = await directory.put('topic', caller.environment, params.topic, value, before?.version ?? 'absent');
      return reply
        .code(before === undefined ? 201 : 200)
        .header('etag', etagOf(topic))
        .send(showTopic(topic));
    },
  );

  app.delete<Named>(
    '/v1/topics/:topic',
    { config: manage, schema: TOPIC_CALLS.delete },
    async ({ caller, params, headers }, reply) => {
      mayUseTopics(caller, [params.topic], '/topic');
      const topic = await known(caller, params.topic);
      checkMatch(headers['if-match'], topic);
      mayOwn(caller, topic.value.owner, topic);
      await directory.delete('topic', caller.environment, topic.id, topic.version);
      return reply.code(204).send();
    },
  );

  async function known({ environment }: Caller, name: string): Promise<Versioned<Topic>> {
    const topic = await directory.get('topic', environment, name);
    if (topic === undefined) throw notFound(name);
    return topic;
  }
}

function notFound(name: string): Problem {
  return new Problem('not_found', `the topic '${name.slice(0, 80)}' is not declared`);
}

/** Topics are seen by all apps of an environment, so here it is `forbidden`, not `not_found`. */
function mayOwn(caller: Caller, owner: string, before: Versioned<Topic> | undefined): void {
  if (!mayActFor(caller, owner))
    throw new Problem('forbidden', `this key can own topics as '${caller.app}' only`, { pointer: '/owner' });
  if (before !== undefined && !mayActFor(caller, before.value.owner))
    throw new Problem('forbidden', `the topic '${before.id}' is owned by '${before.value.owner}'`);
}
