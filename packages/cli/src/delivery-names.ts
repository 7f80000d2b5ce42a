/** Deliveries by what others know them by: receivers by `msg_…`, publishers by `evt_…`. */
import type { Client } from './client.ts';
import { DELIVERIES, type Delivery, newestOfAll, type Wanted } from './deliveries.ts';
import { EXIT } from './exit-codes.ts';
import { eachOf } from './lists.ts';
import { Refusal } from './refusal.ts';
import { count } from './text.ts';
import { waitingFor } from './waiting.ts';

/** Deliveries of one event, where somebody asked for one. */
const MATCHES_MAX = 20;

/** All else is an id of its own, or of an event that was given one. */
function wantedBy(text: string): Wanted | undefined {
  if (text.startsWith('msg_')) return { webhookId: text };
  return text.startsWith('evt_') ? { event: text } : undefined;
}

/** The id of the one delivery that is known by `text`. Rejects where there is none, and where there are several. */
export async function deliveryIdOf(
  client: Client,
  text: string,
  { subscription, verb }: { readonly subscription: string | undefined; readonly verb: string },
): Promise<string> {
  const wanted = wantedBy(text) ?? (subscription === undefined || text.includes('~') ? undefined : { event: text });
  if (wanted === undefined) return text;
  const found = await matching(client, wanted, subscription);
  const [first, ...others] = found;
  if (first === undefined) {
    const whose = subscription === undefined ? '' : ` of '${subscription}'`;
    throw new Refusal(EXIT.notFound, `no delivery${whose} is known by '${text.slice(0, 80)}'`, {
      advice: (await waitingFor(client, subscription)).join('\n'),
    });
  }
  if (others.length === 0) return first.id;
  const lines = found.map((one) => `  millrace delivery ${verb} ${one.id}   ${one.subscription}, ${one.outcome}`);
  throw new Refusal(EXIT.usage, `${count(found.length, 'delivery')} are known by '${text.slice(0, 80)}'`, {
    advice: ['Name one of them:', ...lines].join('\n'),
  });
}

async function matching(client: Client, wanted: Wanted, subscription: string | undefined): Promise<readonly Delivery[]> {
  if (subscription === undefined) return (await newestOfAll(client, { limit: MATCHES_MAX }, wanted)).data;
  const found: Delivery[] = [];
  for await (const one of eachOf<Delivery>(client, DELIVERIES, { subscription, ...wanted }))
    if (found.push(one) === MATCHES_MAX) break;
  return found;
}
