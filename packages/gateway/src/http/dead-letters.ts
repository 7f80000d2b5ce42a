/** `/v1/dead-letters`: deliveries that were given up, with why; sent again or discarded by a person. */
import type { FastifyInstance } from 'fastify';
import { Problem } from '@millrace/core/problem';
import type { Subscription, Versioned } from '../ports/directory.ts';
import type { DeadLetter } from '../ports/ledger.ts';
import type { Caller } from './access.ts';
import { timeOf } from './answers.ts';
import type { RouteNeeds } from './app.ts';
import { HTTP_BOUNDS } from './bounds.ts';
import { cursorTo, limitOf, type PageQuery, placeOf } from './paging.ts';
import { subscriptionIn, type SubscriptionQuery } from './subscription-query.ts';

interface RedriveAll {
  readonly subscription: string;
  readonly dryRun?: boolean;
}

const REDRIVE_SCHEMA = {
  type: 'object',
  additionalProperties: false,
  required: ['subscription'],
  properties: { subscription: { type: 'string' }, dryRun: { type: 'boolean' }, cause: { type: 'string' } },
} as const;

export function deadLetterRoutes(app: FastifyInstance, { gateway, ledger, access }: RouteNeeds): void {
  const manage = { config: { allow: ['manage'] } } as const;

  app.get<{ Querystring: PageQuery & SubscriptionQuery }>(
    '/v1/dead-letters',
    { config: { allow: ['subscribe', 'manage'] } },
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
        data: letters.map((letter) => show(found.id, letter)),
        next: last === undefined || letters.length < limit ? null : cursorTo([last.id]),
      };
    },
  );

  app.get<{ Params: { id: string } }>(
    '/v1/dead-letters/:id',
    { config: { allow: ['subscribe', 'manage'] } },
    async ({ caller, params }) => {
      const { subscription, letter } = await known(caller, params.id);
      return show(subscription.id, letter);
    },
  );

  for (const verb of ['redrive', 'discard'] as const) {
    app.post<{ Params: { id: string } }>(`/v1/dead-letters/:id/${verb}`, manage, async ({ caller, params }, reply) => {
      const { subscription } = await known(caller, params.id);
      await gateway.deadLetters[verb](caller.environment, subscription.id, params.id);
      return reply.code(204).send();
    });
  }

  app.post<{ Body: RedriveAll & { readonly cause?: string } }>(
    '/v1/dead-letters/redrive',
    { ...manage, schema: { body: REDRIVE_SCHEMA } },
    async ({ caller, body }) => {
      const found = await access.subscription(caller, body.subscription);
      const { letters, more } = await redrivable(found.value.uid, body.cause);
      if (body.dryRun === true) return { count: letters.length, more };
      let redriven = 0;
      const refused: object[] = [];
      for (const { id } of letters) {
        try {
          await gateway.deadLetters.redrive(caller.environment, found.id, id);
          redriven++;
        } catch (error) {
          if (!(error instanceof Problem)) throw error;
          refused.push({ id, problem: error });
          if (error.code === 'overloaded') break;
        }
      }
      return { redriven, refused, more: more || redriven + refused.length < letters.length };
    },
  );

  /** Those of events: a range has nothing to send. */
  async function redrivable(
    uid: string,
    cause: string | undefined,
  ): Promise<{ readonly letters: readonly DeadLetter[]; readonly more: boolean }> {
    const letters: DeadLetter[] = [];
    for (let after: string | undefined; ;) {
      const page = await ledger.deadLetters({
        subscription: uid,
        limit: HTTP_BOUNDS.listMax,
        ...(after === undefined ? {} : { after }),
      });
      letters.push(...page.filter((letter) => letter.kept !== undefined && (cause === undefined || letter.cause === cause)));
      after = page.at(-1)?.id;
      if (letters.length > HTTP_BOUNDS.redriveMax) return { letters: letters.slice(0, HTTP_BOUNDS.redriveMax), more: true };
      if (page.length < HTTP_BOUNDS.listMax) return { letters, more: false };
    }
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

function show(
  subscription: string,
  { id, cause, detail, attempts, eventId, topic, shard, position, timeMs, diedMs, kept, holdsKey, range }: DeadLetter,
): object {
  return {
    id,
    subscription,
    cause,
    detail,
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
