/** `/v1/telemetry`: whether clients of an app are to report how it goes, and what they report. It goes to /metrics, and nowhere else. */
import type { FastifyInstance } from 'fastify';
import { createPaces } from '../quotas/paces.ts';
import { TELEMETRY, type TelemetryReport } from '../telemetry/report.ts';
import { SCOPES } from './access.ts';
import type { RouteNeeds } from './app.ts';
import { placeOf } from './followed.ts';
import { TELEMETRY_CALLS } from './openapi/telemetry.ts';

type OfApp = { readonly environment: string; readonly app: string };

const nameOf = ({ environment, app }: OfApp): string => `${environment}/${app}`;

export function telemetryRoutes(app: FastifyInstance, { apps, clock, limits, telemetry }: RouteNeeds): void {
  const config = { allow: SCOPES, takes: 'tokens' } as const;
  const paces = createPaces({
    clock,
    perSecond: limits.telemetryPerSecond,
    refusal: 'the clients of this app report faster than it is taken',
  });
  telemetry?.sampling(function* () {
    for (const { environment, id, value } of apps.values())
      if (value.telemetry !== undefined) yield [nameOf({ environment, app: id }), value.telemetry.sample];
  });
  const sampleOf = ({ environment, app: id }: OfApp): number =>
    apps.get(placeOf({ environment, id }))?.value.telemetry?.sample ?? 0;

  app.get('/v1/telemetry', { config, schema: TELEMETRY_CALLS.get }, async ({ caller }) => ({
    sample: sampleOf(caller),
    everyMs: TELEMETRY.everyMs,
  }));

  app.post<{ Body: TelemetryReport }>(
    '/v1/telemetry',
    { config, schema: TELEMETRY_CALLS.report },
    async ({ caller, body }, reply) => {
      paces.take(nameOf(caller));
      // One that has not heard that it was switched off is told nothing that it would have to handle.
      if (sampleOf(caller) > 0) telemetry?.add(nameOf(caller), body);
      return reply.code(204).send();
    },
  );
}
