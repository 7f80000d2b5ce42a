/** `/v1/dead-letters`: deliveries that were given up, with why; sent again or discarded by a person. */
import type { FastifyInstance } from 'fastify';
import { Problem } from '@millrace/core/problem';
import type { DeadLetterFilter } from '../api.ts';
import type { Subscription, Versioned } from '../ports/directory.ts';
import type { DeadLetter } from '../ports/ledger.ts';
import { type Caller, causeFor, causesOf, maySeeTopic } from './access.ts';
import { readTime, timeOf } from './answers.ts';
import type { RouteNeeds } from './app.ts';
import { HTTP_BOUNDS } from './bounds.ts';
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
  const { gateway, ledger, access, limits } = needs;
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
      const { letters, next } = await pageFor(caller, found.value, {
        limit,
        ...(after === undefined ? {} : { after: String(after) }),
      });
      return {
        data: letters.map((letter) => show(caller, found.id, letter)),
        next: next === undefined ? null : cursorTo([next]),
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
        const filter = filterOf(caller, body);
        if (body.dryRun === true) return { count: await gateway.jobs.count(caller.environment, id, kind, filter) };
        const job = await gateway.jobs.begin(caller.environment, id, kind, filter);
        return reply.code(202).header('location', `/v1/operations/${job.id}`).send(showJob(job));
      },
    );
  }

  /** For a key of some topics those of others are walked over: a page may be short of its limit, and even empty, where there are many. */
  async function pageFor(
    caller: Caller,
    { uid: subscription }: Subscription,
    { limit, after }: { readonly limit: number; readonly after?: string },
  ): Promise<{ readonly letters: readonly DeadLetter[]; readonly next?: string }> {
    const letters: DeadLetter[] = [];
    const pageRows = caller.topics === undefined ? limit : HTTP_BOUNDS.listMax;
    let before = after;
    for (let looked = 0; looked < limits.attemptsLookedAt;) {
      const page = await ledger.deadLetters({
        subscription,
        limit: pageRows,
        ...(before === undefined ? {} : { after: before }),
      });
      looked += page.length;
      for (const letter of page) {
        before = letter.id;
        if (maySeeTopic(caller, letter.topic)) letters.push(letter);
        if (letters.length === limit) return { letters, next: letter.id };
      }
      if (page.length < pageRows) return { letters };
    }
    return { letters, ...(before === undefined ? {} : { next: before }) };
  }

  async function known(
    caller: Caller,
    id: string,
  ): Promise<{ readonly subscription: Versioned<Subscription>; readonly letter: DeadLetter }> {
    const letter = await ledger.deadLetter(id);
    const subscription = letter && access.subscriptionOf(caller, letter.lane.slice(0, letter.lane.indexOf('.')));
    if (letter === undefined || subscription === undefined || !maySeeTopic(caller, letter.topic))
      throw new Problem('not_found', `there is no dead letter '${id.slice(0, 80)}'`);
    return { subscription, letter };
  }
}

function filterOf(caller: Caller, { cause, topic, since, until }: ManyLetters): DeadLetterFilter {
  const { topics } = caller;
  if (cause !== undefined) checkCause(cause, '/cause');
  return {
    ...(cause === undefined ? {} : { cause: causesOf(caller, cause) }),
    ...(topic === undefined ? {} : { topic }),
    ...(topics === undefined ? {} : { topics }),
    ...(since === undefined ? {} : { sinceMs: readTime(since, '/since') }),
    ...(until === undefined ? {} : { untilMs: readTime(until, '/until') }),
  };
}

function show(
  caller: Caller,
  subscription: string,
  { id, cause, detail, attempts, eventId, topic, shard, position, timeMs, diedMs, kept, holdsKey, range }: DeadLetter,
): object {
  return {
    id,
    subscription,
    cause: causeFor(caller, cause),
    // Of an event's letter it is what the endpoint answered.
    ...(caller.admin || range !== undefined ? { detail } : {}),
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
