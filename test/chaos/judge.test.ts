/** The judge is judged: what it is to find is made up here, one fault at a time, in a book that is otherwise right. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Book, createBook, type Published } from './book.ts';
import { duplicateBreaches } from './duplicates.ts';
import { judge } from './judge.ts';
import type { Kept } from './kept-log.ts';
import { concurrencyOf, SPECS, TOPICS } from './subscriptions.ts';

const NONE = { perStop: 0 };
const positionOf = (n: number): string => String(n).padStart(16, '0');

interface Made {
  readonly book: Book;
  readonly events: readonly Published[];
  readonly kept: Kept[];
}

/** Twenty orders of one key, acknowledged; `plain` and `flaky` have them all, `ordered` has nothing yet. */
function made({ acknowledged = 20 } = {}): Made {
  const book = createBook(SPECS);
  book.beginLife();
  const kept: Kept[] = [];
  const events = Array.from({ length: 20 }, (_, n) => {
    const event = { id: `p-${n}`, publisher: 'p', n, topic: TOPICS.orders, key: 'k1', data: '{}', position: undefined };
    book.publish(event);
    if (n < acknowledged) book.acknowledged(event, positionOf(n));
    kept.push({ id: event.id, position: positionOf(n), timeMs: n });
    return event;
  });
  for (const event of events) for (const id of ['plain', 'flaky']) accept(book, id, event);
  return { book, events, kept };
}

function accept(book: Book, subscription: string, event: Published | undefined, accepted = true): void {
  if (event === undefined) throw new Error('there is no such event');
  const webhookId = `msg_${subscription}_${event.id}`;
  book.arrived(subscription, { event, webhookId, sequence: positionOf(event.n), accepted });
}

function allInOrder({ book, events }: Made, from = 0): void {
  for (const event of events.slice(from)) accept(book, 'ordered', event);
}

function breachesOf({ book, kept }: Made, allowed = NONE): string {
  return judge({ book, kept, allowed }).breaches.join('\n');
}

/** Ends the present life and begins the next. */
function kill(book: Book): void {
  book.life.end = 'kill';
  book.beginLife();
}

test('a book in which every promise held has no breach', () => {
  const all = made();
  accept(all.book, 'ordered', all.events[0], false);
  allInOrder(all);
  assert.equal(breachesOf(all), '');
});

test('what comes again after a kill is a duplicate of that kill, and no break of order', () => {
  const all = made();
  for (const event of all.events.slice(0, 10)) accept(all.book, 'ordered', event);
  kill(all.book);
  allInOrder(all, 7);
  const { breaches, figures } = judge({ book: all.book, kept: all.kept, allowed: NONE });
  assert.deepEqual(breaches, []);
  assert.deepEqual(figures.duplicatesPerKill, [3]);
});

test('an event that was acknowledged and never came is missed', () => {
  const all = made();
  for (const event of all.events.slice(0, 19)) accept(all.book, 'ordered', event);
  assert.match(breachesOf(all), /^ordered misses p-19 at 0000000000000019, never tried$/);
});

test('unless it is a dead letter', () => {
  const all = made();
  for (const event of all.events) if (event.n !== 4) accept(all.book, 'ordered', event);
  all.book.died('ordered', 'p-4');
  assert.equal(breachesOf(all), '');
});

test('a dead letter of an endpoint that never refuses is one too many', () => {
  const all = made();
  allInOrder(all);
  all.book.died('plain', 'p-4');
  assert.match(breachesOf(all), /plain never refuses, and has a dead letter for p-4/);
});

test('a publish without a 202 in the end is told', () => {
  const all = made({ acknowledged: 19 });
  allInOrder(all);
  assert.match(breachesOf(all), /p-19 was never answered 202/);
});

test('an event that comes before its predecessor was accepted breaks the order', () => {
  const all = made();
  accept(all.book, 'ordered', all.events[1]);
  allInOrder(all);
  assert.match(breachesOf(all), /ordered, key k1: p-1 came before p-0 was accepted \(life 1\)/);
});

test('so does one whose predecessor had only failed', () => {
  const all = made();
  accept(all.book, 'ordered', all.events[0], false);
  accept(all.book, 'ordered', all.events[1]);
  allInOrder(all);
  assert.match(breachesOf(all), /p-1 came before p-0 was accepted/);
});

test('going back within one life breaks the order and is a duplicate without a reason', () => {
  const all = made();
  allInOrder(all);
  accept(all.book, 'ordered', all.events[3]);
  assert.match(breachesOf(all), /p-3 came again after p-19, though no kill lies between/);
  assert.match(breachesOf(all), /1 duplicates of life 1, .* at most 0 are due/);
  assert.match(breachesOf(all), /ordered accepted p-3 in life 1 and got it again in the same life/);
});

test('a clean stop has no duplicates', () => {
  const all = made();
  allInOrder(all);
  all.book.life.end = 'term';
  all.book.beginLife();
  accept(all.book, 'plain', all.events[19]);
  assert.match(breachesOf(all), /1 duplicates of life 1, which ended by term: at most 0 are due/);
});

test('after a kill there are no more duplicates than were in flight or not written down', () => {
  const { book, kept } = made();
  for (let n = 20; n < 20 + 4_096 + concurrencyOf(SPECS); n++) {
    const event = { id: `p-${n}`, publisher: 'p', n, topic: TOPICS.slow, key: undefined, data: '{}', position: undefined };
    book.publish(event);
    book.acknowledged(event, positionOf(n));
    kept.push({ id: event.id, position: positionOf(n), timeMs: n });
    for (const id of ['plain', 'flaky', 'slow']) accept(book, id, event);
  }
  allInOrder({ book, events: [...book.events.values()].slice(0, 20), kept });
  kill(book);
  const slow = [...book.events.values()].slice(20);
  for (const event of slow) accept(book, 'slow', event);
  assert.equal(breachesOf({ book, kept, events: [] }), '');
  const before = book.events.get('p-3');
  accept(book, 'plain', before);
  assert.match(breachesOf({ book, kept, events: [] }), /4241 duplicates of life 1, .* at most 4240 are due/);
  for (const life of book.lives) life.storeAway = true;
  assert.deepEqual(duplicateBreaches(book, { perStop: 0, nodes: 3 }), []);
});

test('a stop that is longer than a timeout has as many as were in flight', () => {
  const all = made();
  allInOrder(all);
  all.book.life.stops = 1;
  accept(all.book, 'plain', all.events[19]);
  assert.equal(breachesOf(all, { perStop: 1 }), '');
  accept(all.book, 'plain', all.events[18]);
  assert.match(breachesOf(all, { perStop: 1 }), /2 duplicates of life 1/);
});

test('a webhook-id that changes, or that two deliveries share, is told', () => {
  const all = made();
  allInOrder(all);
  kill(all.book);
  const [event, other] = all.events;
  assert.ok(event !== undefined && other !== undefined);
  all.book.arrived('plain', { event, webhookId: `msg_plain_${other.id}`, sequence: positionOf(0), accepted: true });
  assert.match(breachesOf(all), /plain p-0 came with msg_plain_p-1 and with msg_plain_p-0/);
  assert.match(breachesOf(all), /msg_plain_p-1 is that of plain p-0 and of plain p-1/);
});

test('a delivery that names another place than the publisher was told is told', () => {
  const all = made();
  const [event] = all.events;
  assert.ok(event !== undefined);
  all.book.arrived('ordered', { event, webhookId: 'msg_ordered_p-0', sequence: positionOf(7), accepted: true });
  allInOrder(all, 1);
  assert.match(breachesOf(all), /p-0 was answered 0000000000000000 and delivered as 0000000000000007/);
});

for (const [what, change, said] of [
  ['lacks an event', (kept: Kept[]) => kept.splice(3, 1), /p-3 was answered 202 at 0000000000000003 and is not in the log/],
  ['has one twice', (kept: Kept[]) => kept.push({ id: 'p-3', position: positionOf(20), timeMs: 20 }), /p-3 is in the log twice/],
  [
    'has one of nobody',
    (kept: Kept[]) => kept.push({ id: 'x', position: positionOf(20), timeMs: 20 }),
    /x is in the log and was never/,
  ],
  [
    'goes back in time',
    (kept: Kept[]) => kept.splice(19, 1, { id: 'p-19', position: positionOf(19), timeMs: 0 }),
    /run backwards: p-19/,
  ],
  ['has a publisher out of order', (kept: Kept[]) => swap(kept), /p-19 stands before p-18, which was published first/],
] as const)
  test(`a log that ${what} is told`, () => {
    const all = made();
    allInOrder(all);
    change(all.kept);
    assert.match(breachesOf(all), said);
  });

function swap(kept: Kept[]): void {
  kept.splice(18, 2, { id: 'p-19', position: positionOf(18), timeMs: 18 }, { id: 'p-18', position: positionOf(19), timeMs: 19 });
}
