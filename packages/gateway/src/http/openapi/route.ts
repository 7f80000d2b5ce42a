/** `GET /openapi.json`: the document of this very door. */
import type { FastifyInstance, RouteOptions } from 'fastify';
import { documentOf } from './document.ts';
import { HEALTH_CALLS } from './health.ts';

/** `routes`: all of them by the time somebody asks. */
export function documentRoute(
  app: FastifyInstance,
  needs: { readonly version: string; readonly routes: readonly RouteOptions[] },
): void {
  let text: string | undefined;
  app.get('/openapi.json', { schema: HEALTH_CALLS.document }, async (_request, reply) => {
    text ??= JSON.stringify(documentOf(needs));
    return reply.type('application/json').send(text);
  });
}
