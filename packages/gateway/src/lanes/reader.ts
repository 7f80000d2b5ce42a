/**
 * How a lane reads its shard.
 *   live      caught up: the tail hands it each matching record as it comes
 *   lagging   its next record is in the ring: it feeds itself from there when it has room
 *   behind    it stands before the ring: it asks for catch-up pages
 * What has no room stays unread: the log holds it. What retention took on the way becomes one range.
 */
import type { Clock } from '../ports/clock.ts';
import type { LogRecord, Page, Position } from '../ports/log.ts';
import type { CatchUp, Rider } from './catch-up.ts';
import type { LaneKind, LostRange } from './delivery.ts';
import type { Place, Tail } from './tail.ts';

export interface Reader {
  /** Caught up: everything up to the tail's end was looked at. */
  readonly isLive: boolean;
  /** A run has read all it was to read. */
  readonly isReadUp: boolean;
  /** Everything up to here was looked at. */
  readonly place: Place;
  readonly position: Position;
  /** From here on. Without a place the subscription's own lane is caught up, any other begins at the log's start. */
  begin(from?: Place): void;
  /** A record from the tail. True when it was taken. */
  offer(record: LogRecord, before: Place): boolean;
  /** Reads on from where it stands, if it may: from the ring at once, from further back as soon as a page is there. */
  feed(): void;
  /** The tail lost records to retention before it read them: read on by oneself from `place`, the last one before. */
  fallBehind(place: Place): void;
  /** Looks whether retention took something although the lane stands still. */
  lookForExpired(): void;
  stop(): void;
}

interface Needs {
  readonly kind: LaneKind;
  readonly environment: string;
  readonly topics: () => readonly string[];
  readonly wants: (record: LogRecord) => boolean;
  readonly tail: Tail;
  readonly catchUp: CatchUp;
  readonly clock: Clock;
  /** Whether there is room for something at all. */
  readonly mayTake: () => boolean;
  /** False when there is no room: the record stays unread. */
  readonly take: (record: LogRecord, before: Place) => boolean;
  readonly hasRoomToLose: () => boolean;
  readonly lose: (range: LostRange) => void;
  /** Starts what may start; `readOn`: and feeds again. */
  readonly onTaken: (readOn: boolean) => void;
}

/** Records looked at in the ring before others get their turn. */
const FEED_SLICE = 1_000;

export function createReader(needs: Needs): Reader {
  const { kind, tail, wants, take } = needs;
  const until = typeof kind === 'object' ? kind.until : undefined;
  let readPlace: Place = tail.end;
  let live = false;
  let feeding = false;
  let stopped = false;

  const isReadUp = (): boolean => until !== undefined && readPlace.position >= until;

  function readTo(place: Place): void {
    if (place.position > readPlace.position) readPlace = place;
  }

  function feedFromRing(): void {
    let looked = 0;
    for (const record of tail.after(readPlace.position)) {
      if (until !== undefined && record.position > until) return readTo({ position: until, timeMs: readPlace.timeMs });
      if (wants(record) && !take(record, readPlace)) return;
      readPlace = record;
      if (++looked === FEED_SLICE) return feedLater();
    }
    readTo(tail.end);
    if (kind === 'live') live = true;
  }

  function feedLater(): void {
    feeding = true;
    needs.clock.after(0, () => {
      feeding = false;
      if (!stopped) needs.onTaken(true);
    });
  }

  function ride(page: Page, after: Position): void {
    if (stopped || live) return;
    // A loss that has no room to be written down is not passed: the lane stands.
    if (page.expired !== undefined && page.expired.last.position > readPlace.position && !needs.hasRoomToLose()) return;
    const from = readPlace;
    const isThrough = takeFrom(page);
    if (page.expired !== undefined) noteExpired(page.expired, { from, isWhole: after === from.position, isThrough });
    // No new page before something has ended: what had no room now would have none again.
    needs.onTaken(isThrough);
  }

  /** False when it stopped for want of room. */
  function takeFrom(page: Page): boolean {
    for (const record of page.records) {
      if (record.position <= readPlace.position) continue;
      // Never ahead of the tail: what the ledger knows of a shard is never newer than what the tail has seen.
      if (record.position > tail.end.position) break;
      if (until !== undefined && record.position > until) break;
      if (wants(record) && !take(record, readPlace)) return false;
      readPlace = record;
    }
    const furthest = page.through < tail.end.position ? page.through : tail.end.position;
    const position = until !== undefined && until < furthest ? until : furthest;
    readTo(position === tail.end.position ? tail.end : { position, timeMs: readPlace.timeMs });
    return true;
  }

  /** One dead letter for what was missing on the way from `from` to where the lane stands now. */
  function noteExpired(
    { last, firstTimeMs, count }: NonNullable<Page['expired']>,
    { from, isWhole, isThrough }: { from: Place; isWhole: boolean; isThrough: boolean },
  ): void {
    const isPassed = last.position <= readPlace.position;
    const through = isPassed ? last : readPlace;
    // Where it stopped at a record of before the first loss, nothing was missing yet.
    const isBefore = !isThrough && firstTimeMs !== undefined && through.timeMs < firstTimeMs;
    if (through.position <= from.position || isBefore) return;
    needs.lose({
      cause: 'expired',
      after: from.position,
      through: through.position,
      timeMs: firstTimeMs ?? from.timeMs,
      throughTimeMs: through.timeMs,
      ...(isPassed && isWhole && count !== undefined ? { count } : {}),
    });
  }

  const rider: Rider = {
    environment: needs.environment,
    get topics() {
      return needs.topics();
    },
    get readPosition() {
      return readPlace.position;
    },
    ride,
  };

  return {
    get isLive() {
      return live;
    },
    get isReadUp() {
      return isReadUp();
    },
    get place() {
      return live ? tail.end : readPlace;
    },
    get position() {
      return readPlace.position;
    },
    begin(from) {
      live = from === undefined && kind === 'live';
      readPlace = from ?? { position: '', timeMs: 0 };
    },
    offer(record, before) {
      // A lane may begin ahead of a tail that reads the gap of a restart.
      if (!live || stopped || record.position <= readPlace.position) return false;
      if (take(record, before)) return true;
      live = false;
      readPlace = before;
      return false;
    },
    feed() {
      if (live || stopped || feeding || kind === 'drain' || isReadUp() || !needs.mayTake()) return;
      if (tail.covers(readPlace.position)) feedFromRing();
      else needs.catchUp.request(rider);
    },
    fallBehind(place) {
      if (!live) return;
      live = false;
      readTo(place);
    },
    lookForExpired() {
      if (!live && !stopped && kind !== 'drain' && !isReadUp() && !tail.covers(readPlace.position)) needs.catchUp.request(rider);
    },
    stop() {
      stopped = true;
      needs.catchUp.cancel(rider);
    },
  };
}
