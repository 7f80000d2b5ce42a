/**
 * Promise 4: with `ordering: key`, one at a time in log order, also under failure and over a restart. After a kill an
 * earlier one may come again; what comes for the first time is the successor of the last one that was accepted, or of a
 * dead letter.
 */
import type { Arrival, Book, Published } from './book.ts';
import type { Spec } from './subscriptions.ts';

/** The events of one key, as the log has them, and how far the receiver has come. */
interface Line {
  readonly events: readonly Published[];
  readonly places: ReadonlyMap<Published, number>;
  readonly accepted: Set<Published>;
  /** All before this place are accepted or dead. */
  free: number;
  life: number;
  /** The place of the last arrival of this life. */
  last: number;
}

export function orderBreaches(book: Book, { id, wants }: Spec): string[] {
  const lines = linesOf([...book.events.values()].filter(({ topic }) => wants(topic)));
  const dead = book.dead.get(id) ?? new Set();
  // A node whose lease ended, its store being away, begins again where it had written last.
  const away = new Set(book.lives.filter(({ storeAway }) => storeAway).map(({ n }) => n));
  return (book.arrivals.get(id) ?? []).flatMap((arrival) => {
    const { key } = arrival.event;
    const line = key === undefined ? undefined : lines.get(key);
    return line === undefined ? [] : breachesOf(line, arrival, { dead, away }).map((what) => `${id}, key ${key}: ${what}`);
  });
}

function linesOf(events: readonly Published[]): Map<string, Line> {
  const keyed = events.filter(({ key, position }) => key !== undefined && position !== undefined);
  const groups = Map.groupBy(keyed, ({ key }) => key as string);
  return new Map(
    [...groups].map(([key, group]) => {
      const sorted = group.toSorted((one, other) => ((one.position as string) < (other.position as string) ? -1 : 1));
      const places = new Map(sorted.map((event, place) => [event, place]));
      return [key, { events: sorted, places, accepted: new Set(), free: 0, life: 0, last: 0 }];
    }),
  );
}

interface Known {
  readonly dead: ReadonlySet<string>;
  /** Lives in which the store was away. */
  readonly away: ReadonlySet<number>;
}

function breachesOf(line: Line, { event, life, accepted }: Arrival, { dead, away }: Known): string[] {
  const place = line.places.get(event);
  if (place === undefined) return []; // never acknowledged: told elsewhere
  const breaches: string[] = [];
  for (; line.free < place && isDone(line, line.free, dead); line.free++);
  if (line.free < place) breaches.push(`${event.id} came before ${line.events[line.free]?.id} was accepted (life ${life})`);
  if (line.life === life && place < line.last && !away.has(life))
    breaches.push(`${event.id} came again after ${line.events[line.last]?.id}, though no kill lies between (life ${life})`);
  line.life = life;
  line.last = place;
  if (accepted) line.accepted.add(event);
  return breaches;
}

function isDone({ events, accepted }: Line, place: number, dead: ReadonlySet<string>): boolean {
  const event = events[place];
  return event !== undefined && (accepted.has(event) || dead.has(event.id));
}
