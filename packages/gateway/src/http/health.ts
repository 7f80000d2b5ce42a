/** `/v1/health`, `/livez`, `/readyz`: for people, clients and whoever watches the process. No key needed, nothing told. */
import type { FastifyInstance } from 'fastify';
import { Problem } from '@millrace/core/problem';
import { timeOf } from './answers.ts';
import type { RouteNeeds } from './app.ts';

export function healthRoutes(app: FastifyInstance, { version, clock, isReady }: RouteNeeds): void {
  app.get('/v1/health', async () => ({
    status: isReady() ? 'ready' : 'stopping',
    version,
    now: timeOf(clock.now()),
    transports: ['http'],
  }));
  app.get('/livez', async () => ({ status: 'live' }));
  app.get('/readyz', async () => {
    if (!isReady()) throw new Problem('shutting_down', 'the gateway takes no events now', { retryAfterMs: 1_000 });
    return { status: 'ready' };
  });
}
