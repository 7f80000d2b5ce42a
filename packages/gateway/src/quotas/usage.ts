/**
 * What apps have used, counted here and written to the directory beside what they do: about once a second for an app with
 * quotas, once a minute for any other. So a crash forgets at most what came in since, and each node of a cluster knows of the
 * others' with as much delay.
 */
import { randomBytes } from 'node:crypto';
import { Problem } from '@millrace/core/problem';
import { type Followed, follow, type Place, placeOf } from '../http/followed.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type { App, Directory, Usage, Versioned } from '../ports/directory.ts';
import { addTo, type Counts, dayOf, difference, isEmpty, monthOf, NO_COUNTS, nothing, type Pending, sum } from './counts.ts';

export interface Period {
  readonly day: string;
  readonly dayEvents: number;
  readonly month: string;
  readonly monthEvents: number;
}

export interface Usages {
  add(app: Place, counts: Partial<Counts>): void;
  /** Of this day and this month (UTC), by all nodes as far as that is known here. */
  period(app: Place): Period;
  /** Since it was first counted. */
  total(app: Place): Counts;
  /** Writes down what is not yet. */
  stop(): Promise<void>;
}

interface Needs {
  readonly directory: Directory;
  readonly clock: Clock;
  /** By place. */
  readonly apps: Followed<App>;
  /** What other nodes have let in since they were last heard of. */
  readonly onOthers: (app: Place, counts: Counts) => void;
}

/** The error bound, in time: what is not written down yet is known to this process alone. */
export const WRITE_MS = 1_000;
/** Without quotas nothing hangs on it. */
const WRITE_FREE_MS = 60_000;
/** Writes at once: a thousand apps that publish must not fill the queue of the directory. */
const WRITES = 64;
/** Of one change, against other nodes that write to the same. */
const TRIES = 8;

interface Entry {
  readonly place: Place;
  stored: Versioned<Usage> | undefined;
  pending: Pending;
  /** On its way to the directory. */
  writing: Pending;
  writtenMs: number;
}

export async function openUsages({ directory, clock, apps, onOthers }: Needs): Promise<Usages> {
  const entries = new Map<string, Entry>();
  const by = randomBytes(9).toString('base64url');
  const nameOf = (_usage: Usage, place: Place): string => placeOf(place);
  let isRead = false;
  const followed: Followed<Usage> = await follow(directory, 'usage', nameOf, hear);
  isRead = true;
  for (const stored of followed.values()) entryOf(stored).stored = stored;
  let timer: Timer | undefined;
  let writing: Promise<void> | undefined;
  let isStopped = false;

  function entryOf({ environment, id }: Place): Entry {
    const name = placeOf({ environment, id });
    let entry = entries.get(name);
    if (entry === undefined) {
      const place = { environment, id };
      entry = { place, stored: undefined, pending: nothing(), writing: nothing(), writtenMs: clock.monotonic() };
      entries.set(name, entry);
    }
    return entry;
  }

  /** What goes with its app. */
  function hear(place: Place): void {
    // While the list is read nobody asks yet; what it found is taken in as a whole.
    if (!isRead) return;
    const stored = followed.get(placeOf(place));
    if (stored !== undefined) learn(entryOf(place), stored);
    else entries.delete(placeOf(place));
  }

  function learn(entry: Entry, now: Versioned<Usage>): void {
    const before = entry.stored;
    if (before !== undefined && before.version >= now.version) return;
    entry.stored = now;
    if (now.value.by === by) entry.writing = nothing();
    else onOthers(entry.place, difference(now.value, before?.value ?? NO_COUNTS));
  }

  /** Against whoever writes to the same: what they have written is learnt, and ours put on top. */
  async function write(entry: Entry): Promise<void> {
    entry.writing = entry.pending;
    entry.pending = nothing();
    entry.writtenMs = clock.monotonic();
    const ours = entry.writing;
    const { environment, id } = entry.place;
    try {
      for (let tries = TRIES; entry.writing === ours; tries--) {
        try {
          const value = { ...sum(entry.stored?.value, ours, clock.now()), by };
          learn(entry, await directory.put('usage', environment, id, value, entry.stored?.version ?? 'absent'));
          // Also where more was heard since: what is written is written.
          if (entry.writing === ours) entry.writing = nothing();
        } catch (error) {
          if (tries <= 1 || !isOvertaken(error)) throw error;
          const now = await directory.get('usage', environment, id);
          if (now === undefined) entry.stored = undefined;
          else learn(entry, now);
        }
      }
    } catch {
      // Written all the same, as the watch has told, or not now: then it counts here, and is written with what follows.
      if (entry.writing !== ours) return;
      addTo(entry.pending, ours);
      entry.writing = nothing();
    }
  }

  function isDue(entry: Entry, force: boolean): boolean {
    const app = apps.get(placeOf(entry.place))?.value;
    if (isEmpty(entry.pending) || app === undefined) return false;
    return force || app.quotas !== undefined || clock.monotonic() - entry.writtenMs >= WRITE_FREE_MS;
  }

  async function writeAll(force: boolean): Promise<void> {
    const due = [...entries.values()].filter((entry) => isDue(entry, force));
    for (let at = 0; at < due.length; at += WRITES) await Promise.all(due.slice(at, at + WRITES).map(write));
  }

  function arm(): void {
    if (!isStopped) timer ??= clock.after(WRITE_MS, tick);
  }

  function tick(): void {
    writing = writeAll(false).finally(() => {
      timer = undefined;
      if ([...entries.values()].some(({ pending }) => !isEmpty(pending))) arm();
    });
  }

  return {
    add(app, counts) {
      const { pending } = entryOf(app);
      pending.publishes += counts.publishes ?? 0;
      pending.bytes += counts.bytes ?? 0;
      const day = dayOf(clock.now());
      if (counts.events !== undefined && counts.events > 0) pending.days.set(day, (pending.days.get(day) ?? 0) + counts.events);
      arm();
    },
    period(app) {
      const day = dayOf(clock.now());
      const month = monthOf(day);
      const { stored, pending, writing: underWay } = entries.get(placeOf(app)) ?? NONE;
      const value = stored?.value;
      const here = [...pending.days, ...underWay.days];
      const of = (isOf: (day: string) => boolean): number => here.reduce((all, [one, count]) => all + (isOf(one) ? count : 0), 0);
      return {
        day,
        dayEvents: (value?.day === day ? value.dayEvents : 0) + of((one) => one === day),
        month,
        monthEvents: (value?.month === month ? value.monthEvents : 0) + of((one) => monthOf(one) === month),
      };
    },
    total(app) {
      const { stored, pending, writing: underWay } = entries.get(placeOf(app)) ?? NONE;
      const { publishes, bytes, events } = sum(sum(stored?.value, pending, clock.now()), underWay, clock.now());
      return { publishes, bytes, events };
    },
    async stop() {
      isStopped = true;
      timer?.cancel();
      await writing;
      await writeAll(true);
      followed.stop();
    },
  };
}

const NONE: Pick<Entry, 'stored' | 'pending' | 'writing'> = { stored: undefined, pending: nothing(), writing: nothing() };

function isOvertaken(error: unknown): boolean {
  return error instanceof Problem && (error.code === 'version_mismatch' || error.code === 'already_exists');
}
