/**
 * Quotas: what an app may use, so that a noisy one costs only itself. Exact in one process. In a cluster every node keeps the
 * buckets of all and takes out of its own what the others let in, as it hears of that (usage.ts): in the long run the rate is
 * the app's, and what n nodes may let in beyond it for a moment is (n - 1) times what a bucket holds and one second brings.
 * Events of a day or month likewise: beyond the quota at most what the other nodes stored in the last second or so. What is open
 * at once (connections, subscriptions of consumers, deliveries) is counted by each node for itself.
 */
import { Problem } from '@millrace/core/problem';
import { type Followed, type Place, placeOf } from '../http/followed.ts';
import type { Clock } from '../ports/clock.ts';
import type { App, Directory, Quotas as Settings } from '../ports/directory.ts';
import { type Bucket, createBucket } from './bucket.ts';
import type { Counts } from './counts.ts';
import { openUsages, type Period } from './usage.ts';

export interface Quotas {
  /**
   * At the door, before a body is read: throws `rate_limited` or `quota_exceeded`, or takes this much. What turns out to be
   * more is taken by `publish`.
   */
  enter(app: Place, asked: Entered): Entered;
  /**
   * Before events are stored: takes what was not taken at the door, and places in the day and the month. Throws as above, and
   * then nothing was taken. Whoever stored them, or could not, must say how many they were: until then the places are taken.
   */
  publish(app: Place, asked: Entered, entered?: Entered): (stored: number) => void;
  /** One more that is open: throws `quota_exceeded`, or answers how to give it back. `others`: counted elsewhere. */
  open(app: Place, what: Open, others?: () => number): () => void;
  /** `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10); none where there is no quota. */
  headers(app: Place): Readonly<Record<string, string>>;
  usage(app: Place): Period & Counts & { readonly open: Readonly<Record<Open, number>> };
  stop(): Promise<void>;
}

export interface Entered {
  readonly events: number;
  readonly bytes: number;
}

/** Of realtime consumers. */
export type Open = 'connections' | 'subscriptions';

/** What a bucket holds: so many seconds of its rate may come at once. */
export const BURST_S = 5;
/** When to try again what ends when somebody leaves. */
const OPEN_AGAIN_MS = 1_000;
const DAY_MS = 86_400_000;

interface Own {
  settings: Settings;
  /** None without quotas of rate. */
  buckets: readonly Named[];
  /** Of events that are being stored. */
  reserved: number;
  readonly open: Record<Open, number>;
}

interface Named {
  readonly name: 'publishes' | 'bytes';
  readonly of: keyof Entered;
  readonly perSecond: number;
  readonly bucket: Bucket;
}

interface Window {
  readonly name: 'day' | 'month';
  readonly most: number;
  readonly used: number;
  readonly seconds: number;
  readonly endsMs: number;
}

const NONE: Settings = {};
const NOTHING: Entered = { events: 0, bytes: 0 };

export async function openQuotas(needs: {
  readonly directory: Directory;
  readonly clock: Clock;
  /** By place. */
  readonly apps: Followed<App>;
}): Promise<Quotas> {
  const { clock, apps } = needs;
  const all = new Map<string, Own>();
  const usages = await openUsages({ ...needs, onOthers: debit });

  function own(app: Place): Own {
    const name = placeOf(app);
    const settings = apps.get(name)?.value.quotas ?? NONE;
    let found = all.get(name);
    if (found === undefined) {
      forgetDeleted();
      found = { settings: NONE, buckets: [], reserved: 0, open: { connections: 0, subscriptions: 0 } };
      all.set(name, found);
    }
    if (found.settings !== settings) {
      found.buckets = bucketsOf(settings, found.buckets, clock);
      found.settings = settings;
    }
    return found;
  }

  /** When a new one comes: as many are kept as there are apps, and one. */
  function forgetDeleted(): void {
    for (const [name, { reserved, open }] of all)
      if (reserved + open.connections + open.subscriptions === 0 && apps.get(name) === undefined) all.delete(name);
  }

  function debit(app: Place, { publishes, bytes }: Counts): void {
    for (const { of, bucket } of own(app).buckets) bucket.take(of === 'events' ? publishes : bytes);
  }

  /** Throws where that much can not be taken now. */
  function mustFit({ buckets, settings, reserved }: Own, app: Place, asked: Entered, entered: Entered): void {
    for (const { name, most, used, endsMs } of windowsOf(settings, app))
      if (used + reserved + asked.events > most) throw usedUp({ name, most, left: most - used - reserved, endsMs }, clock);
    let waitMs = 0;
    for (const { of, bucket } of buckets) waitMs = Math.max(waitMs, bucket.waitMs(more(asked, entered, of), entered[of]));
    if (waitMs > 0) throw tooFast(settings, waitMs);
  }

  function take(app: Place, { buckets }: Own, asked: Entered, entered: Entered): void {
    for (const { of, bucket } of buckets) bucket.take(more(asked, entered, of));
    usages.add(app, { publishes: more(asked, entered, 'events'), bytes: more(asked, entered, 'bytes') });
  }

  /** Whatever is stored by others than this node is in `used` as soon as it is heard of. */
  function windowsOf({ eventsPerDay, eventsPerMonth }: Settings, app: Place): Window[] {
    if (eventsPerDay === undefined && eventsPerMonth === undefined) return [];
    const { day, dayEvents, month, monthEvents } = usages.period(app);
    const windows: Window[] = [];
    const dayMs = Date.parse(`${day}T00:00:00Z`);
    if (eventsPerDay !== undefined)
      windows.push({ name: 'day', most: eventsPerDay, used: dayEvents, seconds: DAY_MS / 1_000, endsMs: dayMs + DAY_MS });
    if (eventsPerMonth !== undefined) {
      const [beginsMs, endsMs] = monthOf(month);
      windows.push({ name: 'month', most: eventsPerMonth, used: monthEvents, seconds: (endsMs - beginsMs) / 1_000, endsMs });
    }
    return windows;
  }

  return {
    enter(app, asked) {
      const found = own(app);
      // Nothing can be too much: all of it is counted when it is stored.
      if (found.settings === NONE) return NOTHING;
      // One is looked for at least, also where nothing is known yet of what comes.
      mustFit(found, app, { ...asked, events: Math.max(1, asked.events) }, NOTHING);
      take(app, found, asked, NOTHING);
      return asked;
    },
    publish(app, asked, entered = NOTHING) {
      const found = own(app);
      if (found.settings === NONE)
        return (stored) => usages.add(app, { publishes: asked.events, bytes: asked.bytes, events: stored });
      mustFit(found, app, asked, entered);
      take(app, found, asked, entered);
      found.reserved += asked.events;
      return (stored) => {
        found.reserved -= asked.events;
        usages.add(app, { events: stored });
      };
    },
    open(app, what, others = () => 0) {
      const { settings, open } = own(app);
      const most = settings[what];
      if (most !== undefined && open[what] + others() >= most) throw full(what, most);
      open[what]++;
      let isOpen = true;
      return () => {
        if (isOpen) open[what]--;
        isOpen = false;
      };
    },
    headers(app) {
      const { settings, buckets, reserved } = own(app);
      if (settings === NONE) return {};
      const nowMs = clock.now();
      const lines = buckets.map(({ name, perSecond, bucket }) => ({
        policy: `"${name}";q=${perSecond * BURST_S};w=${BURST_S}${name === 'bytes' ? ';qu="content-bytes"' : ''}`,
        // Until one more is left: never later than the Retry-After of what does not fit now.
        left: `"${name}";r=${bucket.left};t=${Math.ceil(bucket.waitMs(bucket.left + 1) / 1_000)}`,
      }));
      for (const { name, most, used, seconds, endsMs } of windowsOf(settings, app))
        lines.push({
          policy: `"${name}";q=${most};w=${seconds}`,
          left: `"${name}";r=${Math.max(0, most - used - reserved)};t=${Math.ceil((endsMs - nowMs) / 1_000)}`,
        });
      if (lines.length === 0) return {};
      return {
        'ratelimit-policy': lines.map(({ policy }) => policy).join(', '),
        ratelimit: lines.map(({ left }) => left).join(', '),
      };
    },
    usage: (app) => ({ ...usages.period(app), ...usages.total(app), open: { ...own(app).open } }),
    stop: usages.stop,
  };
}

/** Those whose rate has not changed go on: a new name of the app fills no bucket. */
function bucketsOf({ publishesPerSecond, bytesPerSecond }: Settings, before: readonly Named[], clock: Clock): Named[] {
  const named = (name: Named['name'], of: Named['of'], perSecond: number | undefined): Named[] => {
    if (perSecond === undefined) return [];
    const same = before.find((one) => one.name === name && one.perSecond === perSecond);
    return [same ?? { name, of, perSecond, bucket: createBucket({ perSecond, burst: perSecond * BURST_S, clock }) }];
  };
  return [...named('publishes', 'events', publishesPerSecond), ...named('bytes', 'bytes', bytesPerSecond)];
}

function more(asked: Entered, entered: Entered, of: keyof Entered): number {
  return Math.max(0, asked[of] - entered[of]);
}

function monthOf(month: string): [beginsMs: number, endsMs: number] {
  const [year = 0, number = 0] = month.split('-').map(Number);
  return [Date.UTC(year, number - 1), Date.UTC(year, number)];
}

function tooFast({ publishesPerSecond, bytesPerSecond }: Settings, retryAfterMs: number): Problem {
  const quotas = [
    ...(publishesPerSecond === undefined ? [] : [`${publishesPerSecond} events`]),
    ...(bytesPerSecond === undefined ? [] : [`${bytesPerSecond} bytes`]),
  ];
  return new Problem(
    'rate_limited',
    `the app may publish ${quotas.join(' and ')} a second, and up to ${BURST_S} seconds of that at once`,
    {
      retryAfterMs,
      advice: 'Send it again after Retry-After; who administers the gateway can raise the quotas of the app.',
    },
  );
}

function usedUp(
  { name, most, left, endsMs }: { readonly name: string; readonly most: number; readonly left: number; readonly endsMs: number },
  clock: Clock,
): Problem {
  const rest = left > 0 ? `only ${left} are left` : 'all of them are used';
  return new Problem('quota_exceeded', `the app may publish ${most} events a ${name} (UTC), and ${rest}`, {
    retryAfterMs: endsMs - clock.now(),
    advice: `The next ${name} begins at ${new Date(endsMs).toISOString()}; who administers the gateway can raise the quota of the app.`,
  });
}

function full(what: Open, most: number): Problem {
  return new Problem('quota_exceeded', `the app may have ${most} ${what}, and has as many`, {
    retryAfterMs: OPEN_AGAIN_MS,
    advice: 'End one that is not needed any more; who administers the gateway can raise the quotas of the app.',
  });
}
