/** `/v1/health/checks`: what log and store say of themselves. For an admin: it tells of servers and their settings. */
import type { FastifyInstance } from 'fastify';
import type { RouteNeeds } from './app.ts';
import { HEALTH_CALLS } from './openapi/health.ts';

export function checkRoutes(app: FastifyInstance, { gateway }: RouteNeeds): void {
  const admin = { allow: ['admin'] } as const;
  app.get('/v1/health/checks', { config: admin, schema: HEALTH_CALLS.checks }, async () => ({ data: await gateway.checks() }));
}
