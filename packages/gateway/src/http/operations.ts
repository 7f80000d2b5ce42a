/** `/v1/operations`: what takes longer than an answer: replays, and jobs on dead letters. */
import type { FastifyInstance } from 'fastify';
import { Problem } from '@millrace/core/problem';
import type { RunProgress } from '../api.ts';
import type { Job, Kinds, Run, Versioned } from '../ports/directory.ts';
import type { Caller } from './access.ts';
import { timeOf } from './answers.ts';
import type { RouteNeeds } from './app.ts';
import { OPERATION_CALLS } from './openapi/operations.ts';
import { cursorTo, limitOf, type PageQuery, placeOf } from './paging.ts';

type Named = { Params: { id: string } };

export function operationRoutes(app: FastifyInstance, { gateway, directory, access }: RouteNeeds): void {
  const read = { allow: ['subscribe', 'manage'] } as const;
  const list = { config: read, schema: OPERATION_CALLS.list };
  const one = { config: read, schema: OPERATION_CALLS.get };
  const cancel = { config: { allow: ['manage'] as const }, schema: OPERATION_CALLS.cancel };

  app.get<{ Querystring: PageQuery }>('/v1/operations', list, async ({ caller, query }) => {
    const limit = limitOf(query);
    const [after] = (placeOf(query, ['string']) ?? []) as readonly string[];
    const data: Shown[] = [];
    // Jobs stand before replays, as their ids do.
    if (after === undefined || after < RUNS) data.push(...(await page(caller, 'job', after, limit + 1)).map(showJob));
    if (data.length <= limit)
      data.push(
        ...(await page(caller, 'run', after !== undefined && after >= RUNS ? after : undefined, limit + 1)).map(showRunNow),
      );
    return { data: data.slice(0, limit), next: data.length > limit ? cursorTo([data[limit - 1]?.id ?? '']) : null };
  });

  app.get<Named>('/v1/operations/:id', one, async ({ caller, params: { id } }) =>
    id.startsWith(RUNS) ? showRunNow(await known(caller, 'run', id)) : showJob(await known(caller, 'job', id)),
  );

  app.post<Named>('/v1/operations/:id/cancel', cancel, async ({ caller, params: { id } }) => {
    if (id.startsWith(RUNS)) {
      await known(caller, 'run', id);
      return showRunNow(await gateway.replays.cancel(caller.environment, id));
    }
    await known(caller, 'job', id);
    return showJob(await gateway.jobs.cancel(caller.environment, id));
  });

  async function page<K extends 'run' | 'job'>(
    caller: Caller,
    kind: K,
    after: string | undefined,
    count: number,
  ): Promise<readonly Versioned<Kinds[K]>[]> {
    const { environment } = caller;
    const found: Versioned<Kinds[K]>[] = [];
    for (let id = after; ;) {
      const some = await directory.list(kind, {
        environment,
        limit: 1_000,
        ...(id === undefined ? {} : { after: { environment, id } }),
      });
      found.push(...some.filter((one) => maySeeOperation(caller, one)));
      id = some.at(-1)?.id;
      if (found.length >= count || some.length < 1_000) return found.slice(0, count);
    }
  }

  async function known<K extends 'run' | 'job'>(caller: Caller, kind: K, id: string): Promise<Versioned<Kinds[K]>> {
    const found = await directory.get(kind, caller.environment, id);
    if (found === undefined || !maySeeOperation(caller, found))
      throw new Problem('not_found', `there is no operation '${id.slice(0, 80)}'`);
    return found;
  }

  /** By the subscription's uid: a deleted one's are nobody's but an admin's, also when its id is used again. */
  function maySeeOperation(caller: Caller, { value }: Versioned<{ readonly subscriptionUid: string }>): boolean {
    return caller.admin || access.subscriptionOf(caller, value.subscriptionUid) !== undefined;
  }

  function showRunNow(run: Versioned<Run>): Shown {
    return showRun(run, gateway.replays.progress(run));
  }
}

/** What ids of replays begin with. */
const RUNS = 'run_';

/** As shown: what it is, how far it is. */
export interface Shown {
  readonly id: string;
  readonly [member: string]: unknown;
}

export function showJob({ id, value }: Versioned<Job>): Shown {
  const { kind, subscription, state, total, done, refused, createdMs, endedMs } = value;
  const ended = endedMs === undefined ? {} : { endedAt: timeOf(endedMs) };
  return { id, kind, subscription, state, progress: { done, refused, total }, createdAt: timeOf(createdMs), ...ended };
}

export function showRun({ id, value }: Versioned<Run>, progress: RunProgress | undefined): Shown {
  const { subscription, state, ids, to, createdMs, endedMs } = value;
  return {
    id,
    kind: 'replay',
    subscription,
    state,
    ...(progress === undefined ? {} : { progress: { percent: progress.percent, at: timeOf(progress.atMs) } }),
    asNew: ids === 'as-new',
    ...(to === undefined ? {} : { to }),
    createdAt: timeOf(createdMs),
    ...(endedMs === undefined ? {} : { endedAt: timeOf(endedMs) }),
  };
}
