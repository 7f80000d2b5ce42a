/** `/v1/dead-letters`: deliveries that were given up, with why; sent again or discarded by a person. */
import type { FastifyInstance } from 'fastify';
import { Problem } from '@millrace/core/problem';
import type { DeadLetterFilter } from '../api.ts';
import type { Subscription, Versioned } from '../ports/directory.ts';
import type { DeadLetter } from '../ports/ledger.ts';
import type { Caller } from './access.ts';
import { readTime, timeOf } from './answers.ts';
import type { RouteNeeds } from './app.ts';
import { checkCause } from './causes.ts';
import { createDeliveryAnswers } from './delivery-answers.ts';
import { DEAD_LETTER_CALLS } from './openapi/dead-letters.ts';
import { showJob } from './operations.ts';
import { cursorTo, limitOf, type PageQuery, placeOf } from './paging.ts';
import { subscriptionIn, type SubscriptionQuery } from './subscription-query.ts';

/** Which letters of a subscription; all without further members. Times are when they died. */
interface ManyLetters {
  readonly subscription: string;
  readonly cause?: string;
  readonly topic?: string;
  readonly since?: string;
  readonly until?: string;
  readonly dryRun?: boolean;
}

export function deadLetterRoutes(app: FastifyInstance, needs: RouteNeeds): void {
  const { gateway, ledger, access } = needs;
  const answers = createDeliveryAnswers(needs);
  const read = { allow: ['subscribe', 'manage'] } as const;
  const manage = { allow: ['manage'] } as const;

  app.get<{ Querystring: PageQuery & SubscriptionQuery }>(
    '/v1/dead-letters',
    { config: read, schema: DEAD_LETTER_CALLS.list },
    async ({ caller, query }) => {
      const found = await subscriptionIn(access, caller, query);
      const limit = limitOf(query);
      const [after] = placeOf(query, ['string']) ?? [];
      const letters = await ledger.deadLetters({
        subscription: found.value.uid,
        limit,
        ...(after === undefined ? {} : { after: String(after) }),
      });
      const last = letters.at(-1);
      return {
        data: letters.map((letter) => show(caller, found.id, letter)),
        next: last === undefined || letters.length < limit ? null : cursorTo([last.id]),
      };
    },
  );

  app.get<{ Params: { id: string } }>(
    '/v1/dead-letters/:id',
    { config: read, schema: DEAD_LETTER_CALLS.get },
    async ({ caller, params }) => {
      const { subscription, letter } = await known(caller, params.id);
      return show(caller, subscription.id, letter);
    },
  );

  app.post<{ Params: { id: string } }>(
    '/v1/dead-letters/:id/redrive',
    { config: manage, schema: DEAD_LETTER_CALLS.redrive },
    async ({ caller, params }, reply) => {
      const { subscription, letter } = await known(caller, params.id);
      await gateway.deadLetters.redrive(caller.environment, subscription.id, params.id);
      const delivery = await answers.redriven(caller, subscription.id, letter);
      return reply.code(202).send(delivery);
    },
  );

  app.post<{ Params: { id: string } }>(
    '/v1/dead-letters/:id/discard',
    { config: manage, schema: DEAD_LETTER_CALLS.discard },
    async ({ caller, params }, reply) => {
      const { subscription } = await known(caller, params.id);
      await gateway.deadLetters.discard(caller.environment, subscription.id, params.id);
      return reply.code(204).send();
    },
  );

  for (const kind of ['redrive', 'discard'] as const) {
    app.post<{ Body: ManyLetters }>(
      `/v1/dead-letters/${kind}`,
      { config: manage, schema: DEAD_LETTER_CALLS[`${kind}Many`] },
      async ({ caller, body }, reply) => {
        const { id } = await access.subscription(caller, body.subscription);
        const filter = filterOf(body);
        if (body.dryRun === true) return { count: await gateway.jobs.count(caller.environment, id, kind, filter) };
        const job = await gateway.jobs.begin(caller.environment, id, kind, filter);
        return reply.code(202).header('location', `/v1/operations/${job.id}`).send(showJob(job));
      },
    );
  }

  async function known(
    caller: Caller,
    id: string,
  ): Promise<{ readonly subscription: Versioned<Subscription>; readonly letter: DeadLetter }> {
    const letter = await ledger.deadLetter(id);
    const subscription = letter && access.subscriptionOf(caller, letter.lane.slice(0, letter.lane.indexOf('.')));
    if (letter === undefined || subscription === undefined)
      throw new Problem('not_found', `there is no dead letter '${id.slice(0, 80)}'`);
    return { subscription, letter };
  }
}

function filterOf({ cause, topic, since, until }: ManyLetters): DeadLetterFilter {
  if (cause !== undefined) checkCause(cause, '/cause');
  return {
    ...(cause === undefined ? {} : { cause }),
    ...(topic === undefined ? {} : { topic }),
    ...(since === undefined ? {} : { sinceMs: readTime(since, '/since') }),
    ...(until === undefined ? {} : { untilMs: readTime(until, '/until') }),
  };
}

function show(
  { admin }: Caller,
  subscription: string,
  { id, cause, detail, attempts, eventId, topic, shard, position, timeMs, diedMs, kept, holdsKey, range }: DeadLetter,
): object {
  return {
    id,
    subscription,
    cause,
    // Of an event's letter it is what the endpoint answered.
    ...(admin || range !== undefined ? { detail } : {}),
    attempts,
    ...(range === undefined
      ? { event: { id: eventId, type: topic } }
      : {
          range: {
            after: position,
            through: range.through,
            throughAt: timeOf(range.throughTimeMs),
            ...(range.count === undefined ? {} : { count: range.count }),
          },
        }),
    shard,
    position,
    appendedAt: timeOf(timeMs),
    diedAt: timeOf(diedMs),
    redrivable: kept !== undefined,
    ...(holdsKey === undefined ? {} : { holdsKey }),
  };
}
