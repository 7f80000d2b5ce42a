/** `/v1/deliveries/{id}/failed`: a receiver that acknowledged first reports that it failed later. It has no key, but a token for this one delivery. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { Problem } from '@millrace/core/problem';
import type { Reported } from '../api.ts';
import { timeOf } from './answers.ts';
import type { RouteNeeds } from './app.ts';
import { placeIn } from './delivery-ids.ts';
import { DELIVERY_CALLS } from './openapi/deliveries.ts';

interface Failed {
  readonly reason: string;
  readonly dead?: boolean;
  readonly delayMs?: number;
}

type Asked = { Params: { id: string }; Body: Failed };

const BEARER = /^Bearer +(\S+)$/i;

export function failedRoutes(app: FastifyInstance, { gateway, access }: RouteNeeds): void {
  const reportedBy = ({ params, headers }: Pick<FastifyRequest<Asked>, 'params' | 'headers'>): Reported =>
    gateway.failures.read(params.id, BEARER.exec(headers.authorization ?? '')?.[1]);

  app.post<Asked>(
    '/v1/deliveries/:id/failed',
    {
      schema: DELIVERY_CALLS.failed,
      // Before anything of the body is read.
      onRequest(request, _reply, done) {
        reportedBy(request);
        done();
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const { reason, dead, delayMs } = request.body;
      if (dead === true && delayMs !== undefined)
        throw new Problem('invalid_request', 'what is dead is not tried again: there is nothing to delay', {
          pointer: '/delayMs',
        });
      const place = placeIn(id);
      const found = place && access.subscriptionWith(place.lane.slice(0, Math.max(0, place.lane.indexOf('.'))));
      if (place === undefined || found === undefined)
        throw new Problem('not_found', 'the subscription of this delivery is not there any more');
      const { outcome, dueMs } = await gateway.failures.report(found.environment, found.id, place, {
        reported: reportedBy(request),
        reason,
        ...(dead === undefined ? {} : { dead }),
        ...(delayMs === undefined ? {} : { delayMs }),
      });
      return reply.code(202).send({ id, outcome, ...(dueMs === undefined ? {} : { nextAttemptAt: timeOf(dueMs) }) });
    },
  );
}
