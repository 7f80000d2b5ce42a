/** `POST /v1/subscriptions/{id}/rotate-secret` and `/test`: a new secret with an overlap; a request sent now. */
import type { FastifyInstance } from 'fastify';
import { parseDurationMs } from '@millrace/core/duration';
import { Problem } from '@millrace/core/problem';
import { checkTopic } from '@millrace/core/topic';
import { causeFor, mayUseTopics } from './access.ts';
import { checkMatch, etagOf, timeOf } from './answers.ts';
import type { RouteNeeds } from './app.ts';
import { HTTP_BOUNDS } from './bounds.ts';
import { SUBSCRIPTION_CALLS } from './openapi/subscription-calls.ts';
import { showSubscription } from './subscription-settings.ts';

type Named = { Params: { id: string } };

interface Rotation {
  readonly secret?: string;
  readonly overlap?: string | number;
}

interface TestEvent {
  readonly topic?: string;
  readonly data?: unknown;
}

const TEST_TOPIC = 'millrace.test';

export function secretAndTestRoutes(app: FastifyInstance, { gateway, access, limits }: RouteNeeds): void {
  const config = { allow: ['manage'] } as const;

  app.post<Named & { Body: Rotation }>(
    '/v1/subscriptions/:id/rotate-secret',
    { config, schema: SUBSCRIPTION_CALLS.rotate },
    async ({ caller, params, body, headers }, reply) => {
      const found = await access.subscription(caller, params.id);
      checkMatch(headers['if-match'], found);
      const { overlap = HTTP_BOUNDS.overlapMs } = body;
      const overlapMs = parseDurationMs(overlap, { maxMs: HTTP_BOUNDS.overlapMsMax, pointer: '/overlap' });
      const rotation = { overlapMs, ...(body.secret === undefined ? {} : { secret: body.secret }) };
      const rotated = await gateway.subscriptions.rotateSecret(caller.environment, params.id, rotation, found.version);
      const { subscription, secret, previousUntilMs } = rotated;
      return reply
        .headers({ etag: etagOf(subscription), 'cache-control': 'no-store' })
        .send({ ...showSubscription(subscription), secret, previousUntil: timeOf(previousUntilMs) });
    },
  );

  app.post<Named & { Body: TestEvent }>(
    '/v1/subscriptions/:id/test',
    { config, schema: SUBSCRIPTION_CALLS.test },
    async ({ caller, params, body: { topic = TEST_TOPIC, data = { test: true } } }) => {
      await access.subscription(caller, params.id);
      checkTopic(topic, '/topic');
      if (topic !== TEST_TOPIC) mayUseTopics(caller, [topic], '/topic');
      const bytes = Buffer.from(JSON.stringify(data));
      if (bytes.length > limits.payloadBytes)
        throw new Problem('payload_too_large', `the data has more than ${limits.payloadBytes} bytes`, { pointer: '/data' });
      const result = await gateway.subscriptions.test(caller.environment, params.id, { topic, data: bytes });
      const { snippet, ...told } = { ...result, cause: causeFor(caller, result.cause) };
      return caller.admin ? { ...told, snippet } : told;
    },
  );
}
