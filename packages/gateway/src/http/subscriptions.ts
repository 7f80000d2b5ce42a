/** `/v1/subscriptions`: who gets which events, and how. */
import { randomBytes } from 'node:crypto';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { newId } from '@millrace/core/ids';
import { Problem } from '@millrace/core/problem';
import type { Created, SubscriptionState } from '../api.ts';
import type { Subscription, Versioned } from '../ports/directory.ts';
import { type Caller, mayActFor, maySee, mayUseTopics } from './access.ts';
import { checkConditions, checkMatch, etagOf } from './answers.ts';
import type { RouteNeeds } from './app.ts';
import { askNode } from './forward.ts';
import { SUBSCRIPTION_CALLS } from './openapi/subscription-calls.ts';
import { cursorTo, limitOf, type PageQuery, placeOf } from './paging.ts';
import { replayRoute } from './replay.ts';
import { secretAndTestRoutes } from './secret-and-test.ts';
import { changeOf, replacementOf, withoutNulls } from './subscription-defaults.ts';
import { createSubscriptionQuota } from './subscription-quota.ts';
import { checkFilter, showHealth, showState, showSubscription, specOf, type SubscriptionBody } from './subscription-settings.ts';

/** A body that made a subscription may be sent again as it is. */
const FROM_IS_FOR_NEW_ONES =
  'from is where a new subscription begins: this one goes on where it is. To send the past again use /replay, with "rewind": true to set it back';

type Named = { Params: { id: string } };

export function subscriptionRoutes(app: FastifyInstance, needs: RouteNeeds): void {
  const { gateway, directory, access, clock } = needs;
  const { create } = createSubscriptionQuota(needs);
  const read = { allow: ['subscribe', 'manage'] } as const;
  const manage = { allow: ['manage'] } as const;

  app.get<{ Querystring: PageQuery }>('/v1/subscriptions', { config: read, schema: SUBSCRIPTION_CALLS.list }, async (listed) => {
    const limit = limitOf(listed.query);
    const [id] = placeOf(listed.query, ['string']) ?? [];
    return pageOf(listed, { limit, ...(id === undefined ? {} : { after: String(id) }) });
  });

  app.post<{ Body: SubscriptionBody }>(
    '/v1/subscriptions',
    { config: manage, schema: SUBSCRIPTION_CALLS.create },
    async ({ caller, body }, reply) => {
      const spec = specOf(caller, withoutNulls(body));
      const id = body.id ?? newId('sub', clock.now(), (count) => randomBytes(count));
      const created = await create(caller, id, spec);
      return reply.code(201).headers(headersOf(created)).send(showCreated(created));
    },
  );

  app.get<Named>('/v1/subscriptions/:id', { config: read, schema: SUBSCRIPTION_CALLS.get }, async ({ caller, params }, reply) => {
    const found = await access.subscription(caller, params.id);
    const health = showHealth(caller, await gateway.health(caller.environment, params.id));
    return reply.header('etag', etagOf(found)).send({ ...showSubscription(found), health });
  });

  app.put<Named & { Body: SubscriptionBody }>(
    '/v1/subscriptions/:id',
    { config: manage, schema: SUBSCRIPTION_CALLS.put },
    async ({ caller, params, body, headers }, reply) => {
      const before = await directory.get('subscription', caller.environment, params.id);
      const written = withoutNulls(body);
      if (before === undefined) {
        if (headers['if-match'] !== undefined)
          throw new Problem('not_found', `there is no subscription '${params.id.slice(0, 80)}'`);
        const created = await create(caller, params.id, specOf(caller, written));
        return reply.code(201).headers(headersOf(created)).send(showCreated(created));
      }
      const found = await own(caller, before);
      checkConditions(headers, found);
      // Whose it is can not be changed: an admin need not say it again.
      const spec = specOf(caller, { app: found.value.app, ...written });
      const now = await gateway.subscriptions.update(caller.environment, params.id, replacementOf(spec), found.version);
      return reply.header('etag', etagOf(now)).send(showChanged(now, written.from === undefined ? [] : [FROM_IS_FOR_NEW_ONES]));
    },
  );

  app.patch<Named & { Body: SubscriptionBody }>(
    '/v1/subscriptions/:id',
    { config: manage, schema: SUBSCRIPTION_CALLS.patch },
    async ({ caller, params, body, headers }, reply) => {
      const found = await access.subscription(caller, params.id);
      checkMatch(headers['if-match'], found);
      if (body.from !== undefined)
        throw new Problem('invalid_request', 'from is where a new subscription begins', {
          pointer: '/from',
          advice: 'Use /replay with "rewind": true.',
        });
      if (body.topics !== undefined) mayUseTopics(caller, body.topics, '/topics');
      checkFilter(body.filter);
      if (isSecretTakenAway(body))
        throw new Problem('invalid_request', 'a subscription always has a secret', {
          pointer: '/deliver/webhook/secret',
          advice: 'For a new one use /rotate-secret.',
        });
      const { from: _from, ...rest } = body;
      const change = changeOf(rest, found.value.deliver);
      const now = await gateway.subscriptions.update(caller.environment, params.id, change, found.version);
      return reply.header('etag', etagOf(now)).send(showChanged(now));
    },
  );

  app.delete<Named>(
    '/v1/subscriptions/:id',
    { config: manage, schema: SUBSCRIPTION_CALLS.delete },
    async ({ caller, params, headers }, reply) => {
      checkMatch(headers['if-match'], await access.subscription(caller, params.id));
      await gateway.subscriptions.delete(caller.environment, params.id);
      return reply.code(204).send();
    },
  );

  for (const verb of ['pause', 'resume'] as const) {
    const route = { config: manage, schema: SUBSCRIPTION_CALLS[verb] };
    app.post<Named>(`/v1/subscriptions/:id/${verb}`, route, async ({ caller, params, headers }, reply) => {
      checkMatch(headers['if-match'], await access.subscription(caller, params.id));
      const now = await gateway.subscriptions[verb](caller.environment, params.id);
      return reply.header('etag', etagOf(now)).send(showSubscription(now));
    });
  }

  replayRoute(app, needs);
  secretAndTestRoutes(app, needs);

  /** For an app's key, those of other apps are walked over. */
  async function pageOf(
    request: FastifyRequest,
    { limit, after }: { readonly limit: number; readonly after?: string },
  ): Promise<object> {
    const { caller } = request;
    const { environment } = caller;
    const data: Versioned<Subscription>[] = [];
    for (let id = after; ;) {
      const page = await directory.list('subscription', {
        environment,
        limit: 1_000,
        ...(id === undefined ? {} : { after: { environment, id } }),
      });
      data.push(...page.filter(({ value }) => maySee(caller, value)));
      id = page.at(-1)?.id;
      if (data.length > limit || page.length < 1_000) break;
    }
    const shown = data.slice(0, limit);
    const states = statesOf(environment);
    const elsewhere = await healthElsewhere(
      request,
      shown.filter(({ id }) => !states.has(id)),
    );
    const withHealth = (one: Versioned<Subscription>): object => ({
      ...showSubscription(one),
      ...(states.has(one.id) ? showState(caller, states.get(one.id)) : elsewhere.get(one.id)),
    });
    return { data: shown.map(withHealth), next: data.length > limit ? cursorTo([shown.at(-1)?.id ?? '']) : null };
  }

  /** What other nodes say of those they work, by id: each is asked for the same page. One that can't be asked says nothing. */
  async function healthElsewhere(
    request: FastifyRequest,
    those: readonly Versioned<Subscription>[],
  ): Promise<ReadonlyMap<string, { readonly health?: object }>> {
    const addresses = new Set(those.flatMap(({ value: { uid } }) => needs.addressOf?.(uid) ?? []));
    const pages = await Promise.all([...addresses].map((address) => askNode(address, request)));
    const told = pages.flatMap((page) => (page?.json as { data?: { id: string; health?: object }[] } | undefined)?.data ?? []);
    return new Map(told.flatMap(({ id, health }) => (health === undefined ? [] : [[id, { health }]])));
  }

  /** What the process knows by heart: nothing is read for it. */
  function statesOf(environment: string): ReadonlyMap<string, SubscriptionState> {
    const own = [...gateway.states()].filter((state) => state.environment === environment);
    return new Map(own.map((state) => [state.id, state]));
  }

  function showChanged(now: Versioned<Subscription>, more: readonly string[] = []): object {
    return { ...showSubscription(now), warnings: [...more, ...gateway.subscriptions.warnings(now)] };
  }

  /** Another app's id is taken, and that is all its key may learn. */
  async function own(caller: Caller, found: Versioned<Subscription>): Promise<Versioned<Subscription>> {
    if (!mayActFor(caller, found.value.app)) throw new Problem('already_exists', `the id '${found.id}' is taken`);
    mayUseTopics(caller, found.value.topics, '/topics');
    return found;
  }
}

/** What is written in a body may be null, whatever its type says. */
function isSecretTakenAway({ deliver }: Partial<SubscriptionBody>): boolean {
  return (deliver?.webhook?.secret as unknown) === null;
}

function headersOf({ subscription }: Created): Record<string, string> {
  return {
    etag: etagOf(subscription),
    location: `/v1/subscriptions/${encodeURIComponent(subscription.id)}`,
    'cache-control': 'no-store',
  };
}

/** The one answer that shows the secret. */
function showCreated({ subscription, secret, warnings }: Created): object {
  return { ...showSubscription(subscription), ...(secret === undefined ? {} : { secret }), warnings };
}
