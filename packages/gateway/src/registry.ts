/**
 * What the flow looks up for every event, kept in memory: apps, topics and subscriptions of the directory, followed by
 * its watch. Lists are read in pages; a change that arrives meanwhile wins over an older page by its version.
 */
import { allOf } from './all-of.ts';
import type { App, Change, Directory, Run, Subscription, Topic, Versioned } from './ports/directory.ts';

export interface Registry {
  /** Reads the directory and follows it from then on. */
  start(): Promise<void>;
  /** Reads it once more: afterwards everything is known that was stored before, also by others. */
  refresh(): Promise<void>;
  stop(): void;
  app(environment: string, id: string): App | undefined;
  topic(environment: string, name: string): Topic | undefined;
  subscription(environment: string, id: string): Versioned<Subscription> | undefined;
  subscriptions(): Iterable<Versioned<Subscription>>;
  topics(): Iterable<Versioned<Topic>>;
  run(environment: string, id: string): Run | undefined;
  runs(): Iterable<Versioned<Run>>;
  /** Takes a change in before the watch brings it; telling it twice is harmless. */
  tell(change: Change): void;
}

/** Called in the order of changes; `before` is what was known. */
export type Listener = (change: Change, before: Versioned<unknown> | undefined) => void;

const FOLLOWED = ['app', 'topic', 'subscription', 'run'] as const;
type Followed = (typeof FOLLOWED)[number];

export function createRegistry({ directory, onChange }: { directory: Directory; onChange: Listener }): Registry {
  const known: Record<Followed, Map<string, Versioned<unknown>>> = {
    app: new Map(),
    topic: new Map(),
    subscription: new Map(),
    run: new Map(),
  };
  let unwatch = (): void => undefined;
  let started = false;
  let reading = 0;
  /** Deletions seen while the lists are read, so that an older page does not bring a resource back. */
  const deletedWhileReading = new Set<string>();

  /** Deletions that were told here before the watch brought them, and how many of each name. */
  const toldAhead = new Map<string, number>();

  const nameOf = (environment: string, id: string): string => `${environment}\n${id}`;

  /**
   * What the watch brings of a name up to our own deletion of it is older than that: else the echo of a deletion would end
   * what was made anew under its name, and the echo of a change bring back what is gone.
   */
  function hear(change: Change): void {
    const place = `${change.kind}\n${nameOf(change.environment, change.id)}`;
    const ahead = toldAhead.get(place);
    if (ahead === undefined) return take(change);
    if (change.now !== undefined) return;
    if (ahead === 1) toldAhead.delete(place);
    else toldAhead.set(place, ahead - 1);
  }

  /** Of this process's own changes, by whoever made them: what is answered next counts on them. */
  function tell(change: Change): void {
    if (change.now === undefined && isFollowed(change) && known[change.kind].has(nameOf(change.environment, change.id))) {
      const place = `${change.kind}\n${nameOf(change.environment, change.id)}`;
      toldAhead.set(place, (toldAhead.get(place) ?? 0) + 1);
    }
    take(change);
  }

  function take(change: Change): void {
    if (!isFollowed(change)) return;
    const name = nameOf(change.environment, change.id);
    const map = known[change.kind];
    const before = map.get(name);
    if (change.now === undefined) {
      if (reading > 0) deletedWhileReading.add(`${change.kind}\n${name}`);
      if (!map.delete(name)) return;
    } else if (before !== undefined && before.version >= change.now.version && sameOrigin(before.value, change.now.value)) return;
    else map.set(name, change.now);
    if (started) onChange(change, before);
  }

  async function readAll(kind: Followed): Promise<void> {
    for await (const item of allOf(directory, kind)) {
      const name = nameOf(item.environment, item.id);
      const seen = known[kind].get(name);
      if (deletedWhileReading.has(`${kind}\n${name}`) || (seen !== undefined && seen.version >= item.version)) continue;
      if (started) take({ kind, environment: item.environment, id: item.id, now: item } as Change);
      else known[kind].set(name, item);
    }
  }

  async function refresh(): Promise<void> {
    reading++;
    try {
      for (const kind of FOLLOWED) await readAll(kind);
    } finally {
      if (--reading === 0) deletedWhileReading.clear();
    }
  }

  return {
    async start() {
      unwatch = directory.watch(hear);
      await refresh();
      started = true;
    },
    refresh,
    stop: () => unwatch(),
    app: (environment, id) => known.app.get(nameOf(environment, id))?.value as App | undefined,
    topic: (environment, name) => known.topic.get(nameOf(environment, name))?.value as Topic | undefined,
    subscription: (environment, id) => known.subscription.get(nameOf(environment, id)) as Versioned<Subscription> | undefined,
    subscriptions: () => known.subscription.values() as Iterable<Versioned<Subscription>>,
    topics: () => known.topic.values() as Iterable<Versioned<Topic>>,
    run: (environment, id) => known.run.get(nameOf(environment, id))?.value as Run | undefined,
    runs: () => known.run.values() as Iterable<Versioned<Run>>,
    tell,
  };
}

function isFollowed(change: Change): change is Extract<Change, { kind: Followed }> {
  return (FOLLOWED as readonly string[]).includes(change.kind);
}

/** A recreated subscription starts at version 1 again: its uid says that it is another one. */
function sameOrigin(before: unknown, now: unknown): boolean {
  const uid = (value: unknown): unknown => (value as { uid?: unknown }).uid;
  return uid(before) === uid(now);
}
