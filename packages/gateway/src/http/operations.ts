/** `/v1/operations`: what takes longer than an answer. By now: replays. */
import type { FastifyInstance } from 'fastify';
import { Problem } from '@millrace/core/problem';
import type { Run, Versioned } from '../ports/directory.ts';
import type { Caller } from './access.ts';
import { timeOf } from './answers.ts';
import type { RouteNeeds } from './app.ts';
import { cursorTo, limitOf, type PageQuery, placeOf } from './paging.ts';

type Named = { Params: { id: string } };

export function operationRoutes(app: FastifyInstance, { gateway, directory, access }: RouteNeeds): void {
  const read = { config: { allow: ['subscribe', 'manage'] } } as const;

  app.get<{ Querystring: PageQuery }>('/v1/operations', read, async ({ caller, query }) => {
    const limit = limitOf(query);
    const [after] = placeOf(query, ['string']) ?? [];
    const { environment } = caller;
    const data: Versioned<Run>[] = [];
    for (let id = after as string | undefined; ;) {
      const page = await directory.list('run', {
        environment,
        limit: 1_000,
        ...(id === undefined ? {} : { after: { environment, id } }),
      });
      data.push(...page.filter((run) => maySee(caller, run)));
      id = page.at(-1)?.id;
      if (data.length > limit || page.length < 1_000) break;
    }
    const shown = data.slice(0, limit);
    return { data: shown.map(showRun), next: data.length > limit ? cursorTo([shown.at(-1)?.id ?? '']) : null };
  });

  app.get<Named>('/v1/operations/:id', read, async ({ caller, params }) => showRun(await known(caller, params.id)));

  app.post<Named>('/v1/operations/:id/cancel', { config: { allow: ['manage'] } }, async ({ caller, params }) => {
    await known(caller, params.id);
    return showRun(await gateway.replays.cancel(caller.environment, params.id));
  });

  async function known(caller: Caller, id: string): Promise<Versioned<Run>> {
    const run = await directory.get('run', caller.environment, id);
    if (run === undefined || !maySee(caller, run)) throw new Problem('not_found', `there is no operation '${id.slice(0, 80)}'`);
    return run;
  }

  /** By the subscription's uid: a deleted one's runs are nobody's but an admin's, also when its id is used again. */
  function maySee(caller: Caller, { value }: Versioned<Run>): boolean {
    return caller.admin || access.subscriptionOf(caller, value.subscriptionUid) !== undefined;
  }
}

export function showRun({ id, value }: Versioned<Run>): object {
  const { subscription, state, ids, to, createdMs, endedMs } = value;
  return {
    id,
    kind: 'replay',
    subscription,
    state,
    asNew: ids === 'as-new',
    ...(to === undefined ? {} : { to }),
    createdAt: timeOf(createdMs),
    ...(endedMs === undefined ? {} : { endedAt: timeOf(endedMs) }),
  };
}
