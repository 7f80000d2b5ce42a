/** The promises of design.md section 4 that a kill could break, held against the book once everything is over. */
import type { Book } from './book.ts';
import { type Allowed, duplicateBreaches, duplicatesByLife } from './duplicates.ts';
import type { Kept } from './kept-log.ts';
import { logBreaches } from './kept-log.ts';
import { orderBreaches } from './order.ts';

export interface Evidence {
  readonly book: Book;
  /** What the log holds after the last stop; undefined where it can't be read, which is told elsewhere. */
  readonly kept: readonly Kept[] | undefined;
  readonly allowed: Allowed;
}

export interface Verdict {
  /** Empty when every promise held. */
  readonly breaches: readonly string[];
  readonly figures: Figures;
}

export interface Figures {
  readonly events: number;
  /** First deliveries that were accepted. */
  readonly deliveries: number;
  /** Requests that receivers got. */
  readonly attempts: number;
  readonly deadLetters: number;
  readonly duplicates: number;
  /** Of each end by a kill (or of the whole, where there was none), in order. */
  readonly duplicatesPerKill: readonly number[];
  /** Of kills: with requests open at receivers, with an unanswered batch. */
  readonly killsInDelivery: number;
  readonly killsInBatch: number;
  readonly readyAfterMs: readonly number[];
  readonly answers: Readonly<Record<string, number>>;
}

/** Of one promise no more than these are told; and of what was seen on the way. */
const TOLD_MAX = 5;
const SEEN_MAX = 30;
/** How often each was tried is looked up, which takes its time. */
const MISSING_MAX = 100;

export function judge({ book, kept, allowed }: Evidence): Verdict {
  const lists = [lostBreaches(book), idBreaches(book), positionBreaches(book), deadBreaches(book)];
  for (const spec of book.specs) if (spec.ordered) lists.push(orderBreaches(book, spec));
  lists.push(duplicateBreaches(book, allowed), kept === undefined ? [] : logBreaches(book, kept));
  return { breaches: [...book.breaches.slice(0, SEEN_MAX), ...lists.flatMap(shortened)], figures: figuresOf(book) };
}

/** Promise 2: at least once to every matching subscription, or a dead letter. */
function lostBreaches(book: Book): string[] {
  const unanswered = [...book.events.values()].filter(({ position }) => position === undefined);
  return [...unanswered.map(({ id }) => `${id} was never answered 202`), ...book.missing([...book.events.values()], MISSING_MAX)];
}

/** Promise 3: one webhook-id per delivery, the same on every attempt, and never that of another. */
function idBreaches({ arrivals }: Book): string[] {
  const deliveryOf = new Map<string, string>();
  const idOf = new Map<string, string>();
  const breaches: string[] = [];
  for (const [subscription, list] of arrivals)
    for (const { event, webhookId } of list) {
      const delivery = `${subscription} ${event.id}`;
      if ((idOf.get(delivery) ?? webhookId) !== webhookId)
        breaches.push(`${delivery} came with ${webhookId} and with ${idOf.get(delivery)}`);
      if ((deliveryOf.get(webhookId) ?? delivery) !== delivery)
        breaches.push(`${webhookId} is that of ${delivery} and of ${deliveryOf.get(webhookId)}`);
      idOf.set(delivery, webhookId);
      deliveryOf.set(webhookId, delivery);
    }
  return breaches;
}

/** What a delivery says of its place is what the publisher was told. */
function positionBreaches({ arrivals }: Book): string[] {
  const breaches = new Set<string>();
  for (const list of arrivals.values())
    for (const { event, sequence } of list)
      if (event.position !== sequence) breaches.add(`${event.id} was answered ${event.position} and delivered as ${sequence}`);
  return [...breaches];
}

/** A kill is no attempt: an endpoint that never refuses has no dead letters. */
function deadBreaches({ specs, dead }: Book): string[] {
  return specs.flatMap(({ id, fails }) =>
    fails ? [] : [...(dead.get(id) ?? [])].map((event) => `${id} never refuses, and has a dead letter for ${event}`),
  );
}

function figuresOf(book: Book): Figures {
  const { events, arrivals, dead, lives, answers } = book;
  const all = [...arrivals.values()];
  const byLife = duplicatesByLife(book);
  const kills = lives.filter(({ end }) => end === 'kill');
  const accepted = (list: (typeof all)[number]): number =>
    new Set(list.filter((one) => one.accepted).map(({ event }) => event)).size;
  return {
    events: events.size,
    deliveries: all.reduce((sum, list) => sum + accepted(list), 0),
    attempts: all.reduce((sum, list) => sum + list.length, 0),
    deadLetters: [...dead.values()].reduce((sum, ids) => sum + ids.size, 0),
    duplicates: [...byLife.values()].reduce((sum, count) => sum + count, 0),
    duplicatesPerKill: kills.map(({ n }) => byLife.get(n) ?? 0),
    killsInDelivery: kills.filter(({ openRequests }) => openRequests > 0).length,
    killsInBatch: kills.filter(({ openBatch }) => openBatch).length,
    readyAfterMs: lives.flatMap(({ readyAfterMs }) => readyAfterMs ?? []),
    answers: Object.fromEntries([...answers].toSorted(([one], [other]) => (one < other ? -1 : 1))),
  };
}

function shortened(breaches: readonly string[]): string[] {
  const more = breaches.length - TOLD_MAX;
  return more > 0 ? [...breaches.slice(0, TOLD_MAX), `… and ${more} more of this`] : [...breaches];
}
