/**
 * The tail of one shard: read once for all lanes of the process and kept as a ring of the last megabytes. Lanes whose
 * next record is in the ring are fed from memory; the others share a few catch-up reads (catch-up.ts).
 */
import type { Limits } from '../limits.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log, LogRecord, Page, Position } from '../ports/log.ts';

/** A place in the shard with what a cursor remembers of it: a record, or a stored cursor. */
export interface Place {
  readonly position: Position;
  readonly timeMs: number;
}

export interface Tail {
  readonly shard: string;
  /** The last record that was given out, or where the tail began. */
  readonly end: Place;
  /** Reads and gives out until stopped. Resolves when it has reached the present end for the first time. */
  start(): Promise<void>;
  /** True where everything after `position` is still in the ring. */
  covers(position: Position): boolean;
  /** Records after `position`, oldest first, with the place before each; only where `covers(position)`. */
  after(position: Position): Iterable<LogRecord>;
  /** The record at this position, if the ring holds it. */
  find(position: Position): LogRecord | undefined;
  stop(): void;
}

interface Needs {
  readonly shard: string;
  /** Where to begin: everything after it is given out. */
  readonly from: Place;
  readonly log: Log;
  readonly clock: Clock;
  readonly limits: Limits;
  /** Gives a record to the lanes that are caught up. `before` is the place just before it. */
  readonly onRecord: (record: LogRecord, before: Place) => void;
  /** A page was given out. */
  readonly onPage: () => void;
  /** Retention took records before the tail had read them. */
  readonly onExpired: (expired: NonNullable<Page['expired']>) => void;
  /** Reading failed (a code) or works again. */
  readonly onTrouble: (code: string | undefined) => void;
}

const RETRY_MS_MIN = 50;
const RETRY_MS_MAX = 5_000;

export function createTail({ shard, from, log, clock, limits, onRecord, onPage, onExpired, onTrouble }: Needs): Tail {
  let ring: (LogRecord | undefined)[] = [];
  /** Index of the oldest record in `ring`; what is before it is evicted. */
  let oldest = 0;
  let ringBytes = 0;
  /** Everything after this is in the ring. */
  let ringAfter = from.position;
  let end = from;
  let stopped = false;
  let signal: (() => void) | undefined;
  let appended = false;
  let unlisten = (): void => undefined;

  function keep(record: LogRecord): void {
    ring.push(record);
    ringBytes += record.size;
    while (ringBytes > limits.ringBytes && ring.length - oldest > 1) {
      const evicted = ring[oldest] as LogRecord;
      ringBytes -= evicted.size;
      ringAfter = evicted.position;
      ring[oldest++] = undefined;
    }
    if (oldest >= 1_024 && oldest * 2 >= ring.length) {
      ring = ring.slice(oldest);
      oldest = 0;
    }
  }

  function forgetRing(through: Position): void {
    ring = [];
    oldest = 0;
    ringBytes = 0;
    ringAfter = through;
  }

  /** Index of the first record after `position`. */
  function indexAfter(position: Position): number {
    let low = oldest;
    let high = ring.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((ring[middle] as LogRecord).position > position) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  function give(page: Page): void {
    if (page.expired !== undefined) {
      // What the ring never held must be read from the log, where the loss shows.
      forgetRing(page.through);
      onExpired(page.expired);
    }
    for (const record of page.records) {
      const before = end;
      if (record.position > ringAfter) keep(record);
      end = record;
      onRecord(record, before);
    }
    if (page.through > end.position) end = { position: page.through, timeMs: page.expired?.last.timeMs ?? end.timeMs };
    onPage();
  }

  async function readOn(): Promise<Page> {
    for (let delayMs = RETRY_MS_MIN; ; delayMs = Math.min(RETRY_MS_MAX, delayMs * 2)) {
      try {
        const page = await log.read({ shard, after: end.position, limit: limits.pageRecords, maxBytes: limits.pageBytes });
        if (delayMs > RETRY_MS_MIN) onTrouble(undefined);
        return page;
      } catch (error) {
        if (stopped) throw error;
        onTrouble((error as { code?: string }).code ?? String(error));
        await new Promise<void>((resolve) => clock.after(delayMs, resolve));
      }
    }
  }

  async function run(atEnd: () => void): Promise<void> {
    while (!stopped) {
      appended = false;
      const page = await readOn();
      if (stopped) return;
      give(page);
      if (!page.atEnd) continue;
      atEnd();
      if (!appended && !stopped) await new Promise<void>((resolve) => (signal = resolve));
    }
  }

  return {
    shard,
    get end() {
      return end;
    },
    start() {
      unlisten = log.onAppend(shard, () => {
        appended = true;
        signal?.();
      });
      return new Promise((resolve, reject) => {
        run(resolve).catch((error: unknown) => (stopped ? resolve() : reject(error as Error)));
      });
    },
    covers: (position) => position >= ringAfter,
    *after(position) {
      // By index, not by iterator: a consumer may let the tail go on while it reads, which may move what the ring holds.
      let at = indexAfter(position);
      for (let record = ring[at]; record !== undefined; record = ring[at]) {
        yield record;
        at = ring[at] === record ? at + 1 : indexAfter(record.position);
      }
    },
    find(position) {
      const record = ring[indexAfter(position) - 1];
      return record?.position === position ? record : undefined;
    },
    stop() {
      stopped = true;
      unlisten();
      signal?.();
    },
  };
}
