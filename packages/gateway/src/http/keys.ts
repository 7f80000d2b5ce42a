/** `/v1/apps/{app}/keys`: credentials. A key is shown once, in the answer that makes it; what is kept is its hash. */
import type { FastifyInstance } from 'fastify';
import { Problem } from '@millrace/core/problem';
import type { Key, Scope, Versioned } from '../ports/directory.ts';
import { makeKey, SCOPES } from './access.ts';
import { readTime, timeOf } from './answers.ts';
import type { RouteNeeds } from './app.ts';
import { LATER } from './problems.ts';

type OfApp = { Params: { app: string } };
type OneKey = { Params: { app: string; key: string } };

interface KeySettings {
  readonly scopes: readonly Scope[];
  readonly expiresAt?: string;
}

const KEY_SCHEMA = {
  type: 'object',
  additionalProperties: false,
  required: ['scopes'],
  properties: {
    scopes: { type: 'array', minItems: 1, uniqueItems: true, items: { enum: SCOPES } },
    expiresAt: { type: 'string' },
    topics: LATER,
    audience: LATER,
  },
} as const;

export function keyRoutes(app: FastifyInstance, { directory, access, clock }: RouteNeeds): void {
  const config = { allow: ['admin'] } as const;

  app.post<OfApp & { Body: KeySettings }>(
    '/v1/apps/:app/keys',
    { config, schema: { body: KEY_SCHEMA } },
    async ({ caller, params, body }, reply) => {
      await mustExist(caller.environment, params.app);
      const nowMs = clock.now();
      const expiresMs = body.expiresAt === undefined ? undefined : readTime(body.expiresAt, '/expiresAt');
      if (expiresMs !== undefined && expiresMs <= nowMs)
        throw new Problem('invalid_request', 'expiresAt is in the past', { pointer: '/expiresAt' });
      const { id, value, text } = makeKey({
        app: params.app,
        scopes: body.scopes,
        nowMs,
        ...(expiresMs === undefined ? {} : { expiresMs }),
      });
      const made = await directory.put('key', caller.environment, id, value, 'absent');
      return reply
        .code(201)
        .header('cache-control', 'no-store')
        .send({ ...showKey(made), key: text });
    },
  );

  app.get<OfApp>('/v1/apps/:app/keys', { config }, async ({ caller, params }) => {
    await mustExist(caller.environment, params.app);
    return { data: keysOf(caller.environment, params.app).map(showKey), next: null };
  });

  app.delete<OneKey>('/v1/apps/:app/keys/:key', { config }, async ({ caller, params }, reply) => {
    const found = keysOf(caller.environment, params.app).find(({ id }) => id === params.key);
    if (found === undefined)
      throw new Problem('not_found', `the app '${params.app.slice(0, 80)}' has no key '${params.key.slice(0, 80)}'`);
    await directory.delete('key', caller.environment, params.key);
    return reply.code(204).send();
  });

  function keysOf(environment: string, owner: string): Versioned<Key>[] {
    return [...access.keys()]
      .filter((key) => key.environment === environment && key.value.app === owner)
      .toSorted((a, b) => (a.id < b.id ? -1 : 1));
  }

  async function mustExist(environment: string, id: string): Promise<void> {
    if ((await directory.get('app', environment, id)) === undefined)
      throw new Problem('not_found', `there is no app '${id.slice(0, 80)}'`);
  }
}

function showKey({ id, value }: Versioned<Key>): object {
  const { app, prefix, scopes, createdMs, expiresMs } = value;
  return {
    id,
    app,
    prefix,
    scopes,
    createdAt: timeOf(createdMs),
    ...(expiresMs === undefined ? {} : { expiresAt: timeOf(expiresMs) }),
  };
}
