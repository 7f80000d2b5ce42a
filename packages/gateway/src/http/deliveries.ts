/** `/v1/deliveries`: what became of events, newest first, each with its attempts. */
import type { FastifyInstance } from 'fastify';
import { Problem } from '@millrace/core/problem';
import type { Subscription, Versioned } from '../ports/directory.ts';
import type { AttemptKey, AttemptRow, LanePosition } from '../ports/ledger.ts';
import { type Caller, maySeeTopic } from './access.ts';
import type { RouteNeeds } from './app.ts';
import { createDeliveryAnswers } from './delivery-answers.ts';
import { idOf, placeIn } from './delivery-ids.ts';
import { DELIVERY_CALLS } from './openapi/deliveries.ts';
import { HTTP_BOUNDS } from './bounds.ts';
import { cursorTo, limitOf, type PageQuery, placeOf } from './paging.ts';
import { subscriptionIn, type SubscriptionQuery } from './subscription-query.ts';

type Named = { Params: { id: string } };

/** Which deliveries of a subscription: all without these. */
interface Wanted {
  /** The id of the event; receivers have it as `ce-id`. */
  readonly event?: string;
  readonly webhookId?: string;
  /** Of its last attempt. */
  readonly outcome?: AttemptRow['outcome'];
}

const KEY_SHAPE = ['string', 'string', 'string', 'number', 'number'] as const;

export function deliveryRoutes(app: FastifyInstance, needs: RouteNeeds): void {
  const { gateway, ledger, access, limits } = needs;
  const { listed, detailOf } = createDeliveryAnswers(needs);
  const read = { allow: ['subscribe', 'manage'] } as const;
  const list = { config: read, schema: DELIVERY_CALLS.list };
  const one = { config: read, schema: DELIVERY_CALLS.get };
  const again = { config: { allow: ['manage'] as const }, schema: DELIVERY_CALLS.retry };

  app.get<{ Querystring: PageQuery & SubscriptionQuery & Wanted }>('/v1/deliveries', list, async ({ caller, query }) => {
    const found = await subscriptionIn(access, caller, query);
    const place = placeOf(query, KEY_SHAPE);
    const { rows, next } = await newest(caller, found, { limit: limitOf(query), after: place && keyAt(place), wanted: query });
    const data = await Promise.all(
      rows.map(async (row) =>
        listed(caller, {
          subscription: found.id,
          last: row,
          attempts: await ledger.attemptsOf(row.lane, row.shard, row.position),
        }),
      ),
    );
    return { data, next: next === undefined ? null : cursorTo([next.lane, next.shard, next.position, next.n, next.startedMs]) };
  });

  app.get<Named>('/v1/deliveries/:id', one, async ({ caller, params }) => answer(caller, await known(caller, params.id)));

  app.post<Named>('/v1/deliveries/:id/retry', again, async ({ caller, params }, reply) => {
    const found = await known(caller, params.id);
    await gateway.deliveries.retry(caller.environment, found.subscription.id, found.place);
    return reply.code(202).send(await answer(caller, found));
  });

  function answer(caller: Caller, { subscription, attempts }: Known): Promise<object> {
    return detailOf(caller, { subscription: subscription.id, attempts });
  }

  interface Known {
    readonly subscription: Versioned<Subscription>;
    readonly place: LanePosition;
    readonly attempts: readonly AttemptRow[];
  }

  async function known(caller: Caller, id: string): Promise<Known> {
    const place = placeIn(id);
    if (place === undefined) throw noDelivery(id);
    const { lane, shard, position } = place;
    const subscription = access.subscriptionOf(caller, lane.slice(0, Math.max(0, lane.indexOf('.'))));
    const attempts = subscription === undefined ? [] : await ledger.attemptsOf(lane, shard, position);
    const last = attempts.at(-1);
    if (subscription === undefined || last === undefined || !maySeeTopic(caller, last.topic)) throw noDelivery(id);
    return { subscription, place, attempts };
  }

  /**
   * Attempts are kept by time, and a delivery stands where its newest one does: an attempt that is not its delivery's last
   * is passed over, so that no delivery is on two pages. A page may be short of its limit, and even empty, where much had
   * to be looked through: then `next` leads on.
   */
  async function newest(
    caller: Caller,
    { environment, value: { uid: subscription } }: Versioned<Subscription>,
    {
      limit,
      after,
      wanted: { event, webhookId, outcome },
    }: { readonly limit: number; readonly after: AttemptKey | undefined; readonly wanted: Wanted },
  ): Promise<{ readonly rows: readonly AttemptRow[]; readonly next?: AttemptKey }> {
    const rows: AttemptRow[] = [];
    const seen = new Set<string>();
    const isAll = event === undefined && webhookId === undefined && outcome === undefined && caller.topics === undefined;
    const pageRows = isAll ? limit : HTTP_BOUNDS.listMax;
    let before = after;
    // The id of a webhook is made from the event: each costs a read of the log, as each row of a list does.
    for (let looked = 0, read = 0; looked < limits.attemptsLookedAt && read < HTTP_BOUNDS.listMax;) {
      const page = await ledger.attempts({ subscription, limit: pageRows, ...(before === undefined ? {} : { before }) });
      looked += page.length;
      for (const row of page) {
        before = row;
        if (seen.has(idOf(row))) continue;
        seen.add(idOf(row));
        if (!maySeeTopic(caller, row.topic)) continue;
        if (event !== undefined && row.eventId !== event) continue;
        if (outcome !== undefined && row.outcome !== outcome) continue;
        if (after !== undefined && !(await isLast(row))) continue;
        if (webhookId !== undefined) {
          const isOther = (await gateway.deliveries.webhookIdOf(environment, row, row.eventId)) !== webhookId;
          if (++read >= HTTP_BOUNDS.listMax && isOther) return { rows, next: row };
          if (isOther) continue;
        }
        rows.push(row);
        if (rows.length === limit) return { rows, next: row };
      }
      if (page.length < pageRows) return { rows };
    }
    return { rows, ...(before === undefined ? {} : { next: before }) };
  }

  async function isLast({ lane, shard, position, n }: AttemptRow): Promise<boolean> {
    return (await ledger.attemptsOf(lane, shard, position)).at(-1)?.n === n;
  }
}

/** Receivers know a delivery by another id than we do. */
function noDelivery(id: string): Problem {
  const advice = 'This is what receivers know it by: ask for it with ?subscription=…&webhookId=… in the list of deliveries.';
  return new Problem('not_found', 'there is no such delivery', id.startsWith('msg_') ? { advice } : {});
}

function keyAt(place: readonly (string | number)[]): AttemptKey {
  const [lane, shard, position, n, startedMs] = place as unknown as [string, string, string, number, number];
  return { lane, shard, position, n, startedMs };
}
