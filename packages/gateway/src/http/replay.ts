/** `POST /v1/subscriptions/{id}/replay`: events again, as a run beside the live lane, or by setting the lane itself back. */
import type { FastifyInstance } from 'fastify';
import { Problem } from '@millrace/core/problem';
import type { ReplaySpec } from '../api.ts';
import { etagOf, readTime } from './answers.ts';
import type { RouteNeeds } from './app.ts';
import { SUBSCRIPTION_CALLS } from './openapi/subscription-calls.ts';
import { showRun } from './operations.ts';
import { fromOf, showSubscription } from './subscription-settings.ts';

interface ReplayBody {
  readonly from: string;
  readonly until?: string;
  readonly asNew?: boolean;
  readonly to?: { readonly url: string };
  readonly rewind?: boolean;
  readonly dryRun?: boolean;
}

export function replayRoute(app: FastifyInstance, { gateway, access }: RouteNeeds): void {
  app.post<{ Params: { id: string }; Body: ReplayBody }>(
    '/v1/subscriptions/:id/replay',
    { config: { allow: ['manage'] }, schema: SUBSCRIPTION_CALLS.replay },
    async ({ caller: { environment, ...caller }, params: { id }, body }, reply) => {
      await access.subscription({ environment, ...caller }, id);
      const spec = specOf(body);
      if (body.dryRun === true) return { count: await gateway.replays.count(environment, id, spec) };
      if (body.rewind === true) {
        const now = await gateway.replays.rewind(environment, id, spec.from);
        return reply.header('etag', etagOf(now)).send(showSubscription(now));
      }
      const run = await gateway.replays.start(environment, id, spec);
      return reply.code(202).header('location', `/v1/operations/${run.id}`).send(showRun(run, undefined));
    },
  );
}

function specOf({ from, until, asNew = false, to, rewind = false }: ReplayBody): ReplaySpec {
  for (const [name, given] of Object.entries({ until, asNew: asNew || undefined, to })) {
    if (rewind && given !== undefined)
      throw new Problem('invalid_request', `a rewind sets the lane itself back: it takes no ${name}`, { pointer: `/${name}` });
  }
  const spec = {
    from: fromOf(from),
    ids: asNew ? 'as-new' : 'same',
    ...(until === undefined ? {} : { untilMs: readTime(until, '/until') }),
    ...(to === undefined ? {} : { to }),
  } as const;
  if (spec.untilMs !== undefined && typeof spec.from === 'object' && spec.from.timeMs > spec.untilMs)
    throw new Problem('invalid_request', 'until is before from', { pointer: '/until' });
  return spec;
}
