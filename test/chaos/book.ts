/** What is true whatever the gateway says: what was published, what was answered, what arrived. */
import type { Spec } from './subscriptions.ts';
import { createSignal } from './waiting.ts';

export interface Published {
  readonly id: string;
  readonly publisher: string;
  /** Its place among this publisher's events, from 0. */
  readonly n: number;
  readonly topic: string;
  readonly key: string | undefined;
  /** The payload, as JSON. */
  readonly data: string;
  /** Where the log keeps it; undefined until it was answered 202. */
  position: string | undefined;
}

export interface Arrival {
  readonly event: Published;
  readonly webhookId: string;
  /** The `ce-sequence` it came with. */
  readonly sequence: string;
  /** Which life of the gateway sent it. */
  readonly life: number;
  /** Answered 2xx, whether or not the gateway lived to read it. */
  readonly accepted: boolean;
  /** Since the book was opened. */
  readonly atMs: number;
}

/** One run of the gateway's process, from its start to its end. */
export interface Life {
  readonly n: number;
  readyAfterMs?: number;
  /** As it was ordered; `crash` when it was not. */
  end?: 'kill' | 'term' | 'crash';
  /** When it ended: requests that receivers had open, publishes without an answer, whether one of them was a batch. */
  openRequests: number;
  openPublishes: number;
  openBatch: boolean;
  /** The store of several nodes was away, so none of them could write anything down. */
  storeAway: boolean;
  /** Times it was stopped (SIGSTOP) for longer than a delivery's timeout may last. */
  stops: number;
}

export interface Book {
  readonly specs: readonly Spec[];
  readonly events: ReadonlyMap<string, Published>;
  /** By subscription, in the order in which they came. */
  readonly arrivals: ReadonlyMap<string, readonly Arrival[]>;
  /** Ids of events, by subscription. */
  readonly dead: ReadonlyMap<string, ReadonlySet<string>>;
  readonly lives: readonly Life[];
  /** How publishes were answered: `202`, a problem's code, `cut` where the connection broke, `refused` where there was none. */
  readonly answers: ReadonlyMap<string, number>;
  /** What was seen to be wrong on the way; the judge adds what only the whole shows. */
  readonly breaches: readonly string[];
  /** Answered 202 and neither accepted nor a dead letter yet, over all subscriptions. */
  readonly owed: number;
  /** How often `owed` fell. */
  readonly progress: number;
  readonly life: Life;

  beginLife(): Life;
  publish(event: Published): void;
  answered(how: string): void;
  acknowledged(event: Published, position: string): void;
  arrived(subscription: string, arrival: Omit<Arrival, 'life' | 'atMs'>): void;
  died(subscription: string, eventId: string): void;
  breach(what: string): void;
  /** Resolves after anything above, and at `wake`. */
  changed(): Promise<void>;
  wake(): void;
  /** Resolves the next time that nothing is owed any more. */
  settled(): Promise<void>;
  /** How many deliveries of these are owed. */
  owedOf(events: readonly Published[]): number;
  /** What of these is still owed, a line for each, for people: at most `count`. */
  missing(events: readonly Published[], count: number): readonly string[];
}

export function createBook(specs: readonly Spec[]): Book {
  const openedAt = performance.now();
  const events = new Map<string, Published>();
  const arrivals = new Map<string, Arrival[]>(specs.map(({ id }) => [id, []]));
  const settled = new Map<string, Set<string>>(specs.map(({ id }) => [id, new Set()]));
  const dead = new Map<string, Set<string>>(specs.map(({ id }) => [id, new Set()]));
  const answers = new Map<string, number>();
  const breaches: string[] = [];
  const lives: Life[] = [];
  const signal = createSignal();
  const settledSignal = createSignal();
  let owed = 0;
  let progress = 0;

  function settle(subscription: string, id: string): void {
    const ids = settled.get(subscription);
    if (ids === undefined || ids.has(id)) return;
    ids.add(id);
    if (events.get(id)?.position === undefined) return;
    owed--;
    progress++;
    if (owed === 0) settledSignal.fire();
  }

  function isOwed({ id, wants }: Spec, event: Published): boolean {
    return event.position !== undefined && wants(event.topic) && settled.get(id)?.has(event.id) === false;
  }

  const book: Book = {
    specs,
    events,
    arrivals,
    dead,
    lives,
    answers,
    breaches,
    get owed() {
      return owed;
    },
    get progress() {
      return progress;
    },
    get life() {
      const last = lives.at(-1);
      if (last === undefined) throw new Error('no gateway was started yet');
      return last;
    },
    beginLife() {
      const n = lives.length + 1;
      lives.push({ n, openRequests: 0, openPublishes: 0, openBatch: false, storeAway: false, stops: 0 });
      return book.life;
    },
    publish: (event) => void events.set(event.id, event),
    answered(how) {
      answers.set(how, (answers.get(how) ?? 0) + 1);
      signal.fire();
    },
    acknowledged(event, position) {
      if (event.position !== undefined && event.position !== position)
        book.breach(`${event.id} was said to stand at ${event.position}, then at ${position}`);
      if (event.position !== undefined) return;
      event.position = position;
      for (const spec of specs) if (isOwed(spec, event)) owed++;
      signal.fire();
    },
    arrived(subscription, arrival) {
      arrivals.get(subscription)?.push({ ...arrival, life: book.life.n, atMs: performance.now() - openedAt });
      if (arrival.accepted) settle(subscription, arrival.event.id);
      signal.fire();
    },
    died(subscription, eventId) {
      dead.get(subscription)?.add(eventId);
      settle(subscription, eventId);
      signal.fire();
    },
    breach: (what) => void breaches.push(what),
    changed: () => signal.next(),
    wake: () => signal.fire(),
    settled: () => settledSignal.next(),
    owedOf: (some) => some.reduce((sum, event) => sum + specs.filter((spec) => isOwed(spec, event)).length, 0),
    missing: (some, count) =>
      specs
        .flatMap((spec) => some.filter((event) => isOwed(spec, event)).map((event) => ({ spec, event })))
        .slice(0, count)
        .map(({ spec, event }) => `${spec.id} misses ${event.id} at ${event.position}, ${triesOf(arrivals.get(spec.id), event)}`),
  };
  return book;
}

function triesOf(arrivals: readonly Arrival[] = [], event: Published): string {
  const tries = arrivals.filter((arrival) => arrival.event === event);
  const last = tries.at(-1);
  return last === undefined ? 'never tried' : `tried ${tries.length} times, last ${Math.round(last.atMs)} ms after the start`;
}
