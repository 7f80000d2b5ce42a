/** `/v1/apps`: who publishes and subscribes. Made and removed by an admin; an app sees itself. */
import type { FastifyInstance } from 'fastify';
import { Problem } from '@millrace/core/problem';
import type { App, Versioned } from '../ports/directory.ts';
import { type Caller, mayActFor, SCOPES } from './access.ts';
import { checkConditions, checkMatch, etagOf, timeOf } from './answers.ts';
import type { RouteNeeds } from './app.ts';
import { type AppChange, changedApp } from './app-settings.ts';
import { APP_CALLS } from './openapi/apps.ts';
import { checkVersions } from './sdk-rule.ts';
import { cursorTo, limitOf, type PageQuery, placeOf } from './paging.ts';

type Named = { Params: { app: string } };

const APP_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

export function appRoutes(app: FastifyInstance, { gateway, directory, access, quotas, releases, clock }: RouteNeeds): void {
  const read = { allow: SCOPES };
  const admin = { allow: ['admin'] } as const;

  app.get<{ Querystring: PageQuery }>('/v1/apps', { config: read, schema: APP_CALLS.list }, async ({ caller, query }) => {
    const limit = limitOf(query);
    const [id] = placeOf(query, ['string']) ?? [];
    const { environment } = caller;
    if (!caller.admin)
      return {
        data: [await directory.get('app', environment, caller.app)].flatMap((own) => (own === undefined ? [] : [showApp(own)])),
        next: null,
      };
    const apps = await directory.list('app', {
      environment,
      limit,
      ...(id === undefined ? {} : { after: { environment, id: String(id) } }),
    });
    const last = apps.at(-1);
    return { data: apps.map(showApp), next: last === undefined || apps.length < limit ? null : cursorTo([last.id]) };
  });

  app.get<Named>('/v1/apps/:app', { config: read, schema: APP_CALLS.get }, async ({ caller, params }, reply) => {
    const found = await knownApp(caller, params.app);
    return reply.header('etag', etagOf(found)).send(showApp(found));
  });

  app.put<Named & { Body: AppChange }>(
    '/v1/apps/:app',
    { config: admin, schema: APP_CALLS.put },
    async ({ caller, params, body, headers }, reply) => {
      if (!APP_ID.test(params.app))
        throw new Problem(
          'invalid_request',
          'an app id has 1 to 64 letters, digits, dots, dashes or underscores and starts with a letter or digit',
          { pointer: '/app' },
        );
      const before = await directory.get('app', caller.environment, params.app);
      if (before === undefined && headers['if-match'] !== undefined) throw noApp(params.app);
      if (before !== undefined) checkConditions(headers, before);
      const created = { name: params.app, createdMs: clock.now() };
      const value = changedApp(before?.value ?? created, body, params.app);
      if (body.sdk !== undefined) await checkVersions(value.sdk, releases);
      const now = await directory.put('app', caller.environment, params.app, value, before?.version ?? 'absent');
      return reply
        .code(before === undefined ? 201 : 200)
        .header('etag', etagOf(now))
        .send(showApp(now));
    },
  );

  app.patch<Named & { Body: AppChange }>(
    '/v1/apps/:app',
    { config: admin, schema: APP_CALLS.patch },
    async ({ caller, params, body, headers }, reply) => {
      const found = await knownApp(caller, params.app);
      checkMatch(headers['if-match'], found);
      const value = changedApp(found.value, body, params.app);
      if (body.sdk !== undefined) await checkVersions(value.sdk, releases);
      const now = await directory.put('app', caller.environment, params.app, value, found.version);
      return reply.header('etag', etagOf(now)).send(showApp(now));
    },
  );

  app.get<Named>('/v1/apps/:app/usage', { config: read, schema: APP_CALLS.usage }, async ({ caller, params }) => {
    const { environment, id, value } = await knownApp(caller, params.app);
    const { day, dayEvents, month, monthEvents, events, bytes, open } = quotas.usage({ environment, id });
    const own = new Set(access.subscriptionsOf(environment, id));
    const states = [...gateway.states()].filter((state) => state.environment === environment && own.has(state.id));
    return {
      app: id,
      day,
      eventsToday: dayEvents,
      month,
      eventsThisMonth: monthEvents,
      events,
      bytes,
      open: {
        connections: open.connections,
        subscriptions: own.size + open.subscriptions,
        deliveriesInFlight: states.reduce((all, { inFlight }) => all + inFlight, 0),
      },
      quotas: value.quotas ?? {},
    };
  });

  app.delete<Named>('/v1/apps/:app', { config: admin, schema: APP_CALLS.delete }, async ({ caller, params, headers }, reply) => {
    const found = await knownApp(caller, params.app);
    checkMatch(headers['if-match'], found);
    if (params.app === caller.app)
      throw new Problem('conflict', `'${params.app}' is the app of the key you use`, {
        advice: 'Delete it with the key of another app.',
      });
    const owned = access.subscriptionsOf(caller.environment, params.app);
    if (owned.length > 0)
      throw new Problem('conflict', `'${params.app}' has subscriptions: ${owned.slice(0, 5).join(', ')}`, {
        advice: 'Delete them first.',
      });
    for (const key of access.keys())
      if (key.environment === caller.environment && key.value.app === params.app)
        await directory.delete('key', key.environment, key.id);
    await directory.delete('app', caller.environment, params.app, found.version);
    await directory.delete('usage', caller.environment, params.app);
    return reply.code(204).send();
  });

  async function knownApp(caller: Caller, id: string): Promise<Versioned<App>> {
    const found = mayActFor(caller, id) ? await directory.get('app', caller.environment, id) : undefined;
    if (found === undefined) throw noApp(id);
    return found;
  }
}

function noApp(id: string): Problem {
  return new Problem('not_found', `there is no app '${id.slice(0, 80)}'`);
}

function showApp({ id, value }: Versioned<App>): object {
  const { name, origins = [], quotas = {}, sdk, telemetry, createdMs } = value;
  const set = { ...(sdk === undefined ? {} : { sdk }), ...(telemetry === undefined ? {} : { telemetry }) };
  return { id, name, origins, quotas, ...set, createdAt: timeOf(createdMs) };
}
