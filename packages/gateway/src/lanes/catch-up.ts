/**
 * Catch-up: lanes further behind than the ring share a few reads per shard. The lane that has waited longest says where
 * the next page is read; every waiting lane that stands inside the page rides along, and the last pages stay for those
 * that come by a moment later. A slow lane gets off when it is full and holds nobody up.
 * Source of the idea: caravans in Facebook's Wormhole (Sharma et al., NSDI 2015).
 */
import type { Limits } from '../limits.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log, Page, Position } from '../ports/log.ts';

/** A lane that is behind. */
export interface Rider {
  /** It has considered everything up to here. */
  readonly readPosition: Position;
  readonly environment: string;
  readonly topics: readonly string[];
  /** Takes what it wants of the page, which was read after `after`, from its readPosition on. */
  ride(page: Page, after: Position): void;
}

export interface CatchUp {
  /** Have this lane fed once, soon. Asking again while it waits changes nothing. */
  request(rider: Rider): void;
  cancel(rider: Rider): void;
  stop(): void;
}

/** A page in hand, and for whom it is good: those of the same environment and topics standing in [after, through). */
interface Held {
  readonly scope: string;
  readonly after: Position;
  readonly page: Page;
  /** Monotonic. */
  readonly readMs: number;
}

const RETRY_MS = 500;
/** How long a page stays in hand: longer, and it would hide what retention took meanwhile. */
const HELD_MS = 5_000;

export function createCatchUp({
  shard,
  log,
  clock,
  limits,
  onTrouble,
}: {
  shard: string;
  log: Log;
  clock: Clock;
  limits: Limits;
  onTrouble: (code: string | undefined) => void;
}): CatchUp {
  const waiting = new Set<Rider>();
  let held: Held[] = [];
  let reading = 0;
  let stopped = false;
  let scheduled = false;

  function schedule(): void {
    if (scheduled || stopped) return;
    scheduled = true;
    queueMicrotask(() => {
      scheduled = false;
      serve();
    });
  }

  /** First who can be fed from a page in hand, then new reads for those that waited longest. */
  function serve(): void {
    const oldestMs = clock.monotonic() - HELD_MS;
    held = held.filter(({ readMs }) => readMs >= oldestMs);
    for (const rider of waiting) {
      const scope = scopeOf(rider);
      const fit = held.find((one) => one.scope === scope && isInside(rider, one));
      if (fit === undefined) continue;
      waiting.delete(rider);
      rider.ride(fit.page, fit.after);
    }
    for (const rider of waiting) {
      if (reading >= limits.catchUpReaders) return;
      waiting.delete(rider);
      void readFor(rider);
    }
  }

  async function readFor(rider: Rider): Promise<void> {
    reading++;
    const after = rider.readPosition;
    const scope = scopeOf(rider);
    try {
      const only = { environment: rider.environment, topics: rider.topics };
      const page = await log.read({ shard, after, only, limit: limits.pageRecords, maxBytes: limits.pageBytes });
      if (stopped) return;
      const read = { scope, after, page, readMs: clock.monotonic() };
      held = [...held, read].slice(-limits.catchUpReaders);
      onTrouble(undefined);
      // Meanwhile its topics may have changed, or it may stand elsewhere: then this page says nothing to it.
      if (scopeOf(rider) === scope && rider.readPosition === after) rider.ride(page, after);
      else waiting.add(rider);
    } catch (error) {
      if (stopped) return;
      onTrouble((error as { code?: string }).code ?? String(error));
      clock.after(RETRY_MS, () => {
        waiting.add(rider);
        schedule();
      });
    } finally {
      reading--;
      if (waiting.size > 0) schedule();
    }
  }

  return {
    request(rider) {
      if (stopped) return;
      waiting.add(rider);
      schedule();
    },
    cancel: (rider) => void waiting.delete(rider),
    stop() {
      stopped = true;
      waiting.clear();
      held = [];
    },
  };
}

const isInside = ({ readPosition }: Rider, { after, page }: Held): boolean =>
  after <= readPosition && readPosition < page.through;

/** Pages hold only the topics that were asked for, so only lanes that ask for the same may share them. */
function scopeOf({ environment, topics }: Rider): string {
  return `${environment}\n${topics.join('\n')}`;
}
