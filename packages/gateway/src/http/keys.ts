/** `/v1/apps/{app}/keys` and `/v1/keys/self`: credentials. A key is shown once, in the answer that makes it; what is kept is its hash, and of one that signs the key, sealed. */
import type { FastifyInstance } from 'fastify';
import { Problem } from '@millrace/core/problem';
import { checkPattern } from '@millrace/core/topic';
import type { Key, Scope, Versioned } from '../ports/directory.ts';
import { type Caller, keyOf, makeKey, SCOPES } from './access.ts';
import { readTime, timeOf } from './answers.ts';
import type { RouteNeeds } from './app.ts';
import { KEY_CALLS } from './openapi/apps.ts';
import { cursorTo, limitOf, type PageQuery, placeOf } from './paging.ts';

type OfApp = { Params: { app: string } };
type OneKey = { Params: { app: string; key: string } };

interface KeySettings {
  readonly scopes: readonly Scope[];
  readonly topics?: readonly string[];
  readonly expiresAt?: string;
  readonly environment?: string;
  readonly signs?: boolean;
}

/** Whose admin keys may make keys for other environments: that of the first start. */
export const FIRST_ENVIRONMENT = 'default';
const ENVIRONMENT = /^[a-z0-9][a-z0-9-]{0,31}$/;

export function keyRoutes(app: FastifyInstance, { directory, access, clock, vault }: RouteNeeds): void {
  const config = { allow: ['admin'] } as const;

  app.post<OfApp & { Body: KeySettings }>(
    '/v1/apps/:app/keys',
    { config, schema: KEY_CALLS.create },
    async ({ caller, params, body }, reply) => {
      const environment = environmentOf(caller, body);
      if (environment === caller.environment) await mustExist(environment, params.app);
      body.topics?.forEach((topic, at) => checkPattern(topic, `/topics/${at}`));
      if (body.topics !== undefined && body.scopes.includes('admin'))
        throw new Problem('invalid_request', 'an admin key is for all topics', { pointer: '/topics' });
      if (body.signs === true && body.scopes.some((scope) => scope !== 'publish'))
        throw new Problem('invalid_request', 'a key that signs has the scope publish and no other', { pointer: '/scopes' });
      const nowMs = clock.now();
      const grant = {
        app: params.app,
        scopes: body.scopes,
        nowMs,
        ...(body.topics === undefined ? {} : { topics: body.topics }),
        ...(body.expiresAt === undefined ? {} : { expiresMs: expiryOf(body.expiresAt, nowMs) }),
      };
      const { id, value, text } = makeKey(grant, body.signs === true ? 'mrs' : 'mr');
      if (environment !== caller.environment) await ensureApp(environment, params.app, nowMs);
      const kept = body.signs === true ? { ...value, sealed: vault.seal(text) } : value;
      const made = await directory.put('key', environment, id, kept, 'absent');
      return reply
        .code(201)
        .header('cache-control', 'no-store')
        .send({ ...showKey(made), key: text });
    },
  );

  app.get<OfApp & { Querystring: PageQuery }>(
    '/v1/apps/:app/keys',
    { config, schema: KEY_CALLS.list },
    async ({ caller, params, query }) => {
      await mustExist(caller.environment, params.app);
      const limit = limitOf(query);
      const [after = ''] = (placeOf(query, ['string']) ?? []) as readonly string[];
      const keys = keysOf(caller.environment, params.app).filter(({ id }) => id > after);
      const shown = keys.slice(0, limit);
      return { data: shown.map(showKey), next: keys.length > limit ? cursorTo([shown.at(-1)?.id ?? '']) : null };
    },
  );

  app.get<OneKey>('/v1/apps/:app/keys/:key', { config, schema: KEY_CALLS.get }, async ({ caller, params }) =>
    showKey(known(caller, params)),
  );

  app.get('/v1/keys/self', { config: { allow: SCOPES }, schema: KEY_CALLS.self }, async ({ headers }) =>
    showKey(ownKey(headers.authorization)),
  );

  app.delete<OneKey>('/v1/apps/:app/keys/:key', { config, schema: KEY_CALLS.delete }, async ({ caller, params }, reply) => {
    await directory.delete('key', caller.environment, known(caller, params).id);
    return reply.code(204).send();
  });

  function known({ environment }: Caller, { app: owner, key }: OneKey['Params']): Versioned<Key> {
    const found = keysOf(environment, owner).find(({ id }) => id === key);
    if (found === undefined) throw new Problem('not_found', `the app '${owner.slice(0, 80)}' has no key '${key.slice(0, 80)}'`);
    return found;
  }

  /** The one that was let in a moment ago. */
  function ownKey(authorization = ''): Versioned<Key> {
    const [text = ''] = /mr_\S+/i.exec(authorization) ?? [];
    const { hash } = keyOf(text, { app: '', scopes: [], nowMs: 0 });
    for (const key of access.keys()) if (key.value.hash === hash) return key;
    throw new Problem('unauthorized', 'the key was deleted just now');
  }

  /** An app of that id in another environment is another app: it begins with its first key. */
  async function ensureApp(environment: string, id: string, nowMs: number): Promise<void> {
    if ((await directory.get('app', environment, id)) !== undefined) return;
    await directory.put('app', environment, id, { name: id, createdMs: nowMs }, 'absent');
  }

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

function environmentOf(caller: Caller, { environment = caller.environment }: KeySettings): string {
  const refused = (why: string, code: 'forbidden' | 'invalid_request'): Problem =>
    new Problem(code, why, { pointer: '/environment' });
  if (!ENVIRONMENT.test(environment))
    throw refused(
      'an environment has 1 to 32 lower-case letters, digits or dashes and starts with a letter or digit',
      'invalid_request',
    );
  if (environment !== caller.environment && caller.environment !== FIRST_ENVIRONMENT)
    throw refused(`only an admin key of '${FIRST_ENVIRONMENT}' makes keys for other environments`, 'forbidden');
  return environment;
}

function expiryOf(text: string, nowMs: number): number {
  const expiresMs = readTime(text, '/expiresAt');
  if (expiresMs <= nowMs) throw new Problem('invalid_request', 'expiresAt is in the past', { pointer: '/expiresAt' });
  return expiresMs;
}

function showKey({ id, environment, value }: Versioned<Key>): object {
  const { app, prefix, scopes, topics, sealed, createdMs, expiresMs, usedMs } = value;
  return {
    id,
    app,
    environment,
    prefix,
    scopes,
    ...(topics === undefined ? {} : { topics }),
    ...(sealed === undefined ? {} : { signs: true }),
    createdAt: timeOf(createdMs),
    ...(expiresMs === undefined ? {} : { expiresAt: timeOf(expiresMs) }),
    ...(usedMs === undefined ? {} : { lastUsedAt: timeOf(usedMs) }),
  };
}
