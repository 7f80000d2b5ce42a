/** `GET /openapi.json`: the document of this very door. */
import type { FastifyInstance, RouteOptions } from 'fastify';
import { documentOf } from './document.ts';
import { HEALTH_CALLS } from './health.ts';

/** `routes`: all of them by the time somebody asks. */
export function documentRoute(
  app: FastifyInstance,
  needs: { readonly version: string; readonly routes: readonly RouteOptions[] },
): void {
  // The same bytes for everybody: anybody may ask, and take as long to read it as is given.
  let bytes: Buffer | undefined;
  app.get('/openapi.json', { schema: HEALTH_CALLS.document }, async (_request, reply) => {
    bytes ??= Buffer.from(JSON.stringify(documentOf(needs)));
    return reply.type('application/json').send(bytes);
  });
}
