/** `/v1/tokens`, `/v1/token-keys` and the published keys: short-lived credentials for browsers and devices. */
import type { FastifyInstance } from 'fastify';
import { parseDurationMs } from '@millrace/core/duration';
import { checkOriginPattern, isOriginAmong } from '@millrace/core/origin';
import { Problem } from '@millrace/core/problem';
import type { TokenScope } from '@millrace/core/token';
import { checkPattern } from '@millrace/core/topic';
import type { App, TokenKey } from '../ports/directory.ts';
import { ANY_APP } from '../tokens/revocations.ts';
import { TOKENS } from '../tokens/times.ts';
import { jwksOf } from '../tokens/token-keys.ts';
import { type Caller, mayActFor, mayUseTopics } from './access.ts';
import { isKnown, readTime, timeOf } from './answers.ts';
import type { RouteNeeds } from './app.ts';
import { ANYBODY } from './cors.ts';
import { FIRST_ENVIRONMENT } from './keys.ts';
import { TOKEN_CALLS } from './openapi/tokens.ts';

interface TokenSettings {
  readonly scopes: readonly TokenScope[];
  readonly topics: readonly string[];
  readonly ttl?: string | number;
  readonly audience?: string;
  readonly subject?: string;
  readonly origin?: string;
  readonly app?: string;
}

interface RevocationSettings {
  readonly jti?: string;
  readonly app?: string;
  readonly before?: string;
}

export function tokenRoutes(app: FastifyInstance, { directory, tokens, clock }: RouteNeeds): void {
  const any = { allow: ['publish', 'subscribe', 'manage'] } as const;
  const admin = { allow: ['admin'] } as const;

  app.post<{ Body: TokenSettings }>(
    '/v1/tokens',
    { config: any, schema: TOKEN_CALLS.create },
    async ({ caller, body }, reply) => {
      const { id, value } = await appFor(caller, body.app);
      const { scopes, topics, audience, subject, origin } = body;
      mayGrant(caller, body);
      if (origin !== undefined) checkOrigin(origin, id, value);
      const made = await tokens.make(caller, {
        app: id,
        appCreatedMs: value.createdMs,
        scopes,
        topics,
        ttlMs: ttlOf(body),
        ...(audience === undefined ? {} : { audience }),
        ...(subject === undefined ? {} : { subject }),
        ...(origin === undefined ? {} : { origin }),
      });
      const { token, jti, expiresMs } = made;
      return reply
        .code(201)
        .header('cache-control', 'no-store')
        .send({ token, jti, expiresAt: timeOf(expiresMs), app: id, scopes, topics, audience: made.audience });
    },
  );

  app.post<{ Body: RevocationSettings }>(
    '/v1/tokens/revoke',
    { config: any, schema: TOKEN_CALLS.revoke },
    async ({ caller, body: { jti, app: named, before } }, reply) => {
      if (jti === undefined ? named === undefined : before !== undefined)
        throw new Problem('invalid_request', 'say which tokens: one by its jti, or all of an app', {
          advice: 'Send {"jti": "tok_…"}, or {"app": "shop"}; that with "before": only those that were made before a time.',
        });
      const { environment } = caller;
      // Whose it is the id does not say, and an admin may act for every app.
      if (jti !== undefined && named === undefined && caller.admin)
        await tokens.revocations.revoke(environment, { app: ANY_APP, jti });
      else {
        const { id, value } = await appFor(caller, named);
        if (jti !== undefined) await tokens.revocations.revoke(environment, { app: id, jti });
        else await tokens.revocations.revokeAll(environment, { app: id, beforeMs: beforeOf(before, clock.now(), value) });
      }
      return reply.code(204).send();
    },
  );

  app.get('/v1/token-keys', { config: admin, schema: TOKEN_CALLS.keys }, async () => ({ data: tokens.keys.keys().map(showKey) }));

  app.post<{ Body: { readonly now?: boolean } }>(
    '/v1/token-keys/rotate',
    { config: admin, schema: TOKEN_CALLS.rotate },
    async ({ caller, body: { now = false } }) => {
      if (caller.environment !== FIRST_ENVIRONMENT)
        throw new Problem(
          'forbidden',
          `the keys are those of all environments: an admin key of '${FIRST_ENVIRONMENT}' rotates them`,
        );
      return { data: (await tokens.keys.rotate({ now })).map(showKey) };
    },
  );

  app.get('/.well-known/jwks.json', { schema: TOKEN_CALLS.jwks }, async ({ headers }, reply) => {
    const { body, etag } = jwksOf(tokens.keys.keys());
    void reply.headers({ ...ANYBODY, etag, 'cache-control': `public, max-age=${TOKENS.publishedMs / 1_000}` });
    if (isKnown(headers['if-none-match'], etag)) return reply.code(304).send();
    return reply.type('application/json').send(body);
  });

  /** The caller's own, or for an admin another one that it names. */
  async function appFor(caller: Caller, named = caller.app): Promise<{ readonly id: string; readonly value: App }> {
    if (!mayActFor(caller, named)) throw new Problem('forbidden', 'a key has tokens of its own app', { pointer: '/app' });
    const found = await directory.get('app', caller.environment, named);
    if (found === undefined) throw new Problem('not_found', `there is no app '${named.slice(0, 80)}'`, { pointer: '/app' });
    return found;
  }
}

/** Never more than the key may itself. */
function mayGrant(caller: Caller, { scopes, topics }: TokenSettings): void {
  const beyond = scopes.find((scope) => !caller.admin && !caller.scopes.includes(scope));
  if (beyond !== undefined)
    throw new Problem('forbidden', `this key has no scope '${beyond}' that it could grant`, { pointer: '/scopes' });
  topics.forEach((topic, at) => checkPattern(topic, `/topics/${at}`));
  mayUseTopics(caller, topics, '/topics');
}

function ttlOf({ ttl }: TokenSettings): number {
  if (ttl === undefined) return TOKENS.ttlMs;
  const ttlMs = parseDurationMs(ttl, { maxMs: Number.MAX_SAFE_INTEGER, pointer: '/ttl' });
  if (ttlMs >= TOKENS.ttlMsMin && ttlMs <= TOKENS.ttlMsMax) return ttlMs;
  throw new Problem('invalid_request', 'a token counts for 30s to 15m: what leaks must end by itself, soon', {
    pointer: '/ttl',
    advice: 'Let clients get a new one before it ends; for longer there are keys.',
  });
}

function checkOrigin(origin: string, app: string, { origins = [] }: App): void {
  checkOriginPattern(origin, '/origin');
  if (origin.includes('*')) throw new Problem('invalid_request', 'a token is for one origin, without *', { pointer: '/origin' });
  if (!isOriginAmong(origins, origin))
    throw new Problem('invalid_request', `'${origin}' is none of the origins of the app '${app}'`, {
      pointer: '/origin',
      advice: 'Add it to them: PATCH /v1/apps/{app} with {"origins": [...]}.',
    });
}

/** A token of the future can not be known to be bad; but where the clock was set back, those of a newer app are made with its time. */
function beforeOf(before: string | undefined, nowMs: number, { createdMs }: App): number {
  if (before === undefined) return Math.max(nowMs, createdMs) + 1;
  const beforeMs = readTime(before, '/before');
  if (beforeMs > nowMs + TOKENS.leewayMs) throw new Problem('invalid_request', 'before is in the future', { pointer: '/before' });
  return beforeMs;
}

function showKey({ kid, createdMs, signsFromMs, untilMs }: TokenKey): object {
  return {
    kid,
    createdAt: timeOf(createdMs),
    signsFrom: timeOf(signsFromMs),
    ...(untilMs === undefined ? {} : { verifiesUntil: timeOf(untilMs) }),
  };
}
