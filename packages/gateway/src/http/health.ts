/** `/`, `/v1/health`, `/livez`, `/readyz`, `/metrics`: for people, clients and whoever watches the process. No key needed, nothing told. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Problem } from '@millrace/core/problem';
import { timeOf } from './answers.ts';
import type { RouteNeeds } from './app.ts';
import { HEALTH_CALLS } from './openapi/health.ts';

export function healthRoutes(app: FastifyInstance, { version, clock, isReady, metrics }: RouteNeeds): void {
  const front = async (_request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> =>
    reply.type('text/plain; charset=utf-8').send(frontOf(version));
  app.get('/', { schema: HEALTH_CALLS.front }, front);
  app.head('/', { config: { undescribed: true } }, front);
  app.get('/v1/health', { schema: HEALTH_CALLS.health }, async () => ({
    status: isReady() ? 'ready' : 'stopping',
    version,
    now: timeOf(clock.now()),
    transports: ['http', 'websocket', 'sse', 'pull'],
  }));
  app.get('/livez', { schema: HEALTH_CALLS.live }, async () => ({ status: 'live' }));
  app.get('/readyz', { schema: HEALTH_CALLS.ready }, async () => {
    if (!isReady()) throw new Problem('shutting_down', 'the gateway takes no events now', { retryAfterMs: 1_000 });
    return { status: 'ready' };
  });
  if (metrics === undefined) return;
  app.get('/metrics', { schema: HEALTH_CALLS.metrics }, async (request, reply) => {
    if (!metrics.isPublic && !isFromHere(request))
      throw new Problem('forbidden', '/metrics answers this machine only', { advice: 'Start with --metrics all to open it.' });
    return reply.type(metrics.contentType).send(await metrics.text());
  });
}

/** Whoever comes by browser learns that it is the right place, and where to go on. */
function frontOf(version: string): string {
  return [
    `Millrace ${version}`,
    '',
    'The API is under /v1 and wants a key: Authorization: Bearer mr_...',
    'What it takes and answers: /openapi.json, and for people docs/api.md of the repository.',
    'How this process is: /livez, /readyz, /v1/health',
    '',
  ].join('\n');
}

/** What proxies add, on this machine too: they speak for somebody else, whatever it says. */
const FORWARDED = ['forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'x-real-ip', 'via'];

function isFromHere({ ip, headers }: FastifyRequest): boolean {
  return FORWARDED.every((name) => headers[name] === undefined) && /^(127\.|::1$|::ffff:127\.)/.test(ip);
}
