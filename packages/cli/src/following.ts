/**
 * Follows the log over `GET /v1/events`: waits for what comes, goes on from the cursor after a lost connection, and says
 * what it could not have. One page is in memory at a time.
 */
import { decodeJsonEvent } from '@millrace/core/cloud-events-json';
import type { EventDraft } from '@millrace/core/draft';
import { itemsAt, membersAt } from '@millrace/core/json-scan';
import type { Client } from './client.ts';
import { EXIT } from './exit-codes.ts';
import { Refusal } from './refusal.ts';
import { backoffMs, pause } from './signals.ts';
import { textOf } from './text.ts';

/** How long the gateway may keep a question open: below the idle bound of usual proxies. */
const WAIT_MS = 25_000;
/** Beyond the wait, for an answer on its way. */
const ANSWER_MS = 15_000;
const PAGE_EVENTS = 100;

export interface Followed {
  /** As it was published: the payload byte for byte. */
  readonly event: EventDraft & { readonly id: string; readonly source: string };
  /** The item as the API wrote it: `{event, shard, position, appendedAt}`. */
  readonly json: string;
  readonly shard: string;
  readonly position: string;
  readonly appendedAt: string;
}

export interface Gap {
  readonly cause: string;
  readonly count?: number;
  readonly after?: string;
  readonly through?: string;
}

/** What a page holds, or that the connection came or went. */
export type Step =
  | { readonly kind: 'page'; readonly events: readonly Followed[]; readonly cursor: string; readonly gap?: Gap }
  | { readonly kind: 'begun'; readonly cursor: string }
  | { readonly kind: 'lost'; readonly why: string; readonly againMs: number }
  | { readonly kind: 'back' };

export interface Place {
  readonly topics: readonly string[];
  readonly from?: string;
  readonly cursor?: string;
}

interface Page {
  readonly data: readonly { readonly shard: string; readonly position: string; readonly appendedAt: string }[];
  readonly cursor: string;
  readonly gap?: Gap;
}

/** Ends when `signal` aborts. Rejects where asking again can not help, and where the gateway was never reached. */
export async function* follow(client: Client, { topics, from, cursor: given }: Place, signal: AbortSignal): AsyncGenerator<Step> {
  const query = { topics: topics.join(','), limit: PAGE_EVENTS };
  let cursor = given;
  let begun = false;
  for (let tries = 0; !signal.aborted;) {
    try {
      // The first answer fixes the place; only from then on is waiting safe.
      const { body, bytes } = await client.ask<Page>('GET /v1/events', {
        query: { ...query, ...(cursor === undefined ? { from } : { cursor }), ...(begun ? { waitMs: WAIT_MS } : {}) },
        timeoutMs: WAIT_MS + ANSWER_MS,
        signal,
      });
      if (tries > 0) yield { kind: 'back' };
      tries = 0;
      ({ cursor } = body);
      if (!begun) yield { kind: 'begun', cursor };
      begun = true;
      const { gap } = body;
      if (body.data.length > 0 || gap !== undefined)
        yield { kind: 'page', events: eventsIn(body, bytes), cursor, ...(gap === undefined ? {} : { gap }) };
    } catch (error) {
      if (signal.aborted) return;
      if (!begun || !(error instanceof Refusal) || error.exit !== EXIT.network) throw error;
      const againMs = backoffMs(tries++);
      yield { kind: 'lost', why: error.message, againMs };
      await pause(againMs, signal);
    }
  }
}

/** Cut out of the answer's bytes: what JSON.parse and JSON.stringify make of a payload is not what was published. */
function eventsIn({ data }: Page, bytes: Uint8Array): Followed[] {
  const list = membersAt(bytes, 0).find(({ name }) => name === 'data');
  if (list === undefined) return [];
  return itemsAt(bytes, list.start).map((item, at) => {
    const span = membersAt(bytes, item.start).find(({ name }) => name === 'event');
    const { shard, position, appendedAt } = data[at] as Page['data'][number];
    return {
      event: decodeJsonEvent(bytes.subarray(span?.start, span?.end), 'structured') as Followed['event'],
      json: textOf(bytes.subarray(item.start, item.end)),
      shard,
      position,
      appendedAt,
    };
  });
}
