/**
 * Calls of web pages of other origins (CORS), where tokens are taken. No cookies and nothing else a browser would add by itself:
 * a page has what it sends. An origin that no app lists gets no permission to read anything.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Problem } from '@millrace/core/problem';
import { originRefused, type Origins } from '../tokens/origins.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** A short-lived token does as well as a key, also from a page of an allowed origin. Default: keys alone. */
    readonly takes?: 'tokens';
  }
}

const ALLOW_ORIGIN = 'access-control-allow-origin';
/** How long a browser may keep the answer, seconds: an origin that was taken out is asked again by then. */
const MAX_AGE_S = 600;
const EXPOSED = 'etag, idempotency-replayed, location, ratelimit, ratelimit-policy, retry-after, www-authenticate';
/** What a page may send; attributes in binary mode have names of their own. */
const SENT = /^(authorization|content-type|idempotency-key|last-event-id|traceparent|tracestate|ce-[a-z0-9]{1,20})$/;

/** Before it is known who asks. */
export function answerPages(app: FastifyInstance, origins: Origins): void {
  const methods = new Map<string, string[]>();
  app.addHook('onRoute', ({ url, method, config }) => {
    if (config?.takes === 'tokens') methods.set(url, [...(methods.get(url) ?? []), ...[method].flat()]);
  });
  app.addHook('onRequest', (request, reply, done) => {
    const { origin } = request.headers;
    const allowed = methods.get(request.routeOptions.url ?? '');
    if (origin === undefined || allowed === undefined) return done();
    void reply.header('vary', 'Origin');
    const isPreflight = request.method === 'OPTIONS' && request.headers['access-control-request-method'] !== undefined;
    if (origins.isKnown(origin)) void reply.header(ALLOW_ORIGIN, origin).header('access-control-expose-headers', EXPOSED);
    else if (isPreflight) throw originRefused(origin);
    return isPreflight ? answerPreflight(request, reply, allowed) : done();
  });
}

function answerPreflight({ headers }: FastifyRequest, reply: FastifyReply, methods: readonly string[]): void {
  const asked = (headers['access-control-request-headers'] ?? '').toLowerCase();
  const sent = asked.split(',').map((name) => name.trim());
  void reply
    .removeHeader('access-control-expose-headers')
    .header('vary', 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers')
    .header('access-control-allow-methods', methods.join(', '))
    .header('access-control-allow-headers', sent.filter((name) => SENT.test(name)).join(', '))
    .header('access-control-max-age', String(MAX_AGE_S))
    .code(204)
    .send();
}

/** Once it is known: why a token is of no use to this page. A key was never meant for a page, which just learns nothing then. */
export function pageRefusal(
  { headers: { origin }, caller }: FastifyRequest,
  reply: FastifyReply,
  origins: Origins,
): Problem | undefined {
  if (origin === undefined || origins.mayConnect(origin, caller)) return undefined;
  void reply.removeHeader(ALLOW_ORIGIN);
  return caller.token === undefined ? undefined : originRefused(origin, caller);
}

/** For everybody to read, with no key at all. */
export const ANYBODY = { [ALLOW_ORIGIN]: '*' } as const;
