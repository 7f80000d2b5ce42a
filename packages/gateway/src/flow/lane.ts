/**
 * The lane: one subscription on one shard, running. It takes matching events from the log in order, lets them be
 * delivered side by side (or one at a time per key), parks what fails and goes on past it, and knows at any moment from
 * where it would have to read again: its cursor.
 *
 * How it reads
 *   live      caught up: the tail hands it each matching record as it comes; it has no row in the ledger
 *   lagging   its next record is in the ring: it feeds itself from there when it has room
 *   behind    it stands before the ring: it asks for catch-up pages
 * A lane that can take no more (window full, bound reached, paused) just stops taking; the log holds the rest.
 *
 * What keeps it right
 *   1. Everything taken stands on the tape until it is settled or has a row; the cursor never passes what stands there.
 *   2. Changes go to the recorder, which commits in order: a cursor handed over later can't become durable earlier.
 *   3. With keys, a successor starts only when its head was delivered, or its dead letter is durable.
 *   4. A delivery starts only when there is room for whatever it may end in. Nothing is dropped at a bound.
 */
import { encodeEvent } from '@millrace/core/event-bytes';
import { keyOf } from '@millrace/core/event';
import { nextDelayMs } from '@millrace/core/retry-schedule';
import { createDeque } from '../deque.ts';
import { cursorAt, idHashOf } from '../lanes/cursor.ts';
import type { Notice } from '../api.ts';
import type { Limits } from '../limits.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type { Subscription } from '../ports/directory.ts';
import type { AttemptRow, Cursor, DeadLetter, KeyedRow, KeptEvent, LanePosition, Ledger, ParkedRow } from '../ports/ledger.ts';
import type { LogRecord, Page, Position } from '../ports/log.ts';
import type { CatchUp, Rider } from '../lanes/catch-up.ts';
import type { Delivery } from '../lanes/delivery.ts';
import type { Endpoint } from '../lanes/endpoint.ts';
import type { Keys } from '../lanes/keys.ts';
import type { Restore } from '../lanes/restore.ts';
import type { Place, Tail } from '../lanes/tail.ts';
import type { Tape } from '../lanes/tape.ts';
import type { Line, Turns } from '../lanes/turns.ts';
import type { Deliver, Outcome, Target } from './deliver.ts';
import type { Change, Recorder } from './record.ts';

export interface Lane extends Rider {
  readonly name: string;
  readonly shard: string;
  /** Takes over what the ledger knows and begins; without it, caught up at the tail's end. */
  start(state?: Recovered): void;
  /** A record from the tail; only what matches. */
  dispatch(record: LogRecord, before: Place): void;
  /** Starts what may start and reads on if there is room. Call when anything that could hold it up has changed. */
  pump(): void;
  /** Hands the recorder what a restart needs: rows for what is open too long, then the cursor. */
  checkpoint(): void;
  /** True when it is caught up, has nothing open and nothing parked: it may be forgotten. */
  readonly isIdle: boolean;
  /** True when its row may go: everything before the tail's end is settled or written down. */
  readonly isCovered: boolean;
  /** A run that has sent all it was to send. */
  readonly isDone: boolean;
  readonly hasRow: boolean;
  readonly inFlight: number;
  /** Where the cursor stands. */
  readonly place: Place;
  /** Looks whether retention took something although the lane stands still. */
  lookForExpired(): void;
  /** A dead letter was redriven: its row is durable. */
  redriven(row: ParkedRow): void;
  /** A dead letter that held its key was discarded, or went to be redriven as its head. */
  releaseHeld(key: string): void;
  /** The tail lost records to retention before it read them: read on by oneself from `place`, the last one before. */
  fallBehind(place: Place): void;
  /** The row was handed to the recorder for removal. */
  forgetRow(): void;
  /** Writes a range of lost events down. */
  lose(range: LostRange): void;
  /** Starts nothing more; resolves when nothing is in flight. */
  retire(): Promise<void>;
  /** Ends at once: whatever still comes back is ignored. */
  end(): void;
}

export interface LostRange {
  readonly cause: 'expired' | 'log_changed';
  readonly after: Position;
  readonly through: Position;
  readonly timeMs: number;
  readonly throughTimeMs: number;
  readonly count?: number;
}

export interface Recovered {
  readonly cursor: Cursor;
  /** Whether the ledger has a lane row. */
  readonly hasRow: boolean;
  /** Positions after the cursor that were settled or written down. */
  readonly handled: readonly Position[];
  readonly keyed: readonly KeyedRow[];
  /** Of this lane on this shard. */
  readonly parked: number;
  readonly parkedBytes: number;
  readonly held: number;
  readonly nextDueMs?: number;
}

export type LaneKind =
  /** The subscription's own. */
  | 'live'
  /** A replay: reads up to `until` and ends. */
  | { readonly until: Position }
  /** Only what is parked under a name that is no longer read for: former passes, runs that ended. */
  | 'drain';

interface Needs {
  readonly name: string;
  readonly shard: string;
  readonly kind: LaneKind;
  /** The run whose deliveries have ids of their own. */
  readonly asNew: string | undefined;
  readonly environment: string;
  /** The subscription's id. */
  readonly subscription: string;
  readonly log: string;
  readonly wants: (record: LogRecord) => boolean;
  readonly topics: () => readonly string[];
  readonly target: () => Target;
  readonly line: (record: LogRecord) => Line;
  /** Present settings of the subscription. */
  readonly settings: () => Subscription;
  readonly endpoint: Endpoint;
  readonly tape: Tape;
  readonly keys: Keys;
  readonly tail: Tail;
  readonly catchUp: CatchUp;
  readonly turns: Turns;
  readonly deliver: Deliver;
  readonly recorder: Recorder;
  readonly restore: Restore;
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly deadLetterId: (place: LanePosition, through?: Position) => string;
  readonly onNotice: (notice: Notice) => void;
  /** Tells people when the subscription comes to stand at a bound. */
  readonly tellBound: () => void;
  /** Something was freed that other lanes of the subscription may be waiting for. */
  readonly onFreed: () => void;
}

/** Records a lane looks at in the ring before it lets others go on. */
const FEED_SLICE = 1_000;
const RETRY_MS = 500;
const DAY_MS = 86_400_000;

export function createLane(needs: Needs): Lane {
  const { name, shard, kind, endpoint, tape, keys, tail, turns, recorder, clock, limits } = needs;
  const settings = needs.settings;
  const { bounds } = endpoint;
  const { counts } = bounds;
  const ordered = settings().ordering === 'key';
  const until = typeof kind === 'object' ? kind.until : undefined;
  const ready = createDeque<Delivery>();
  /** Parked deliveries that fell due: they go first, and need no new room in the bounds. */
  const due = createDeque<Delivery>();
  /** Successors whose key is free: they go before what is new. */
  const freed = createDeque<Delivery>();
  /** Positions of rows that are in memory, so that the ledger's answer does not bring them twice. */
  const inMemory = new Set<Position>();
  const handled = new Set<Position>();
  /** Lost deliveries whose dead letter waits for room. */
  let lost: { readonly delivery: Delivery; readonly cause: LostRange['cause'] }[] = [];
  const mine = { parked: 0, parkedBytes: 0, held: 0 };
  let readyBytes = 0;
  let readPlace: Place = tail.end;
  let live = false;
  let hasRow = false;
  let written = '';
  let inFlight = 0;
  let nextDueMs = Infinity;
  let dueTimer: Timer | undefined;
  let dueTimerMs = Infinity;
  let loadingDue = false;
  let dueWhileLoadingMs = Infinity;
  const leftWhileLoading = new Set<Position>();
  let inLine = false;
  let feeding = false;
  let started = false;
  let retiring: PromiseWithResolvers<void> | undefined;
  let ended = false;

  const placeOf = (position: Position): LanePosition => ({ lane: name, shard, position });

  // ── reading ────────────────────────────────────────────────────────────────────────────────────────────────────

  function dispatch(record: LogRecord, before: Place): void {
    // A lane may begin ahead of a tail that reads the gap of a restart.
    if (!live || ended || record.position <= readPlace.position) return;
    if (take(record, before)) return pump();
    live = false;
    readPlace = before;
  }

  /** False when there is no room: the record stays unread. */
  function take(record: LogRecord, before: Place): boolean {
    if (handled.delete(record.position)) return true;
    if (!mayTake(record.size)) return false;
    const key = ordered ? keyOf(record.event) : undefined;
    const behind = key !== undefined && keys.isBusy(key);
    if (behind && counts.held >= settings().bounds.held) return false;
    const delivery = fresh(record, before, key, behind);
    tape.push(delivery);
    if (behind) {
      countHeld(1);
      keys.follow(key, delivery);
      return true;
    }
    if (key !== undefined) keys.lead(key, delivery);
    pushReady(delivery);
    return true;
  }

  function fresh(record: LogRecord, before: Place, key: string | undefined, behind: boolean): Delivery {
    return {
      position: record.position,
      timeMs: record.timeMs,
      size: record.size,
      idHash: behind ? idHashOf(record) : undefined,
      key,
      record: behind ? undefined : record,
      kept: undefined,
      attempts: 0,
      attemptsBefore: 0,
      cause: '',
      dueMs: 0,
      row: 'none',
      state: behind ? 'held' : 'ready',
      takenMs: clock.monotonic(),
      startedMs: 0,
      passed: false,
      before,
    };
  }

  function mayTake(size: number): boolean {
    if (ended || retiring !== undefined || settings().state === 'paused') return false;
    if (counts.deadLetters >= settings().bounds.deadLetters) return false;
    const records = endpoint.breakerOpen ? Math.min(limits.windowRecords, endpoint.probeWindow) : limits.windowRecords;
    return ready.size < records && (ready.size === 0 || readyBytes + size <= limits.windowBytes);
  }

  /** Reads on from where the lane stands, when it has room. True when something was taken at once. */
  function feed(): boolean {
    if (!started || live || ended || feeding || kind === 'drain' || isReadUp() || !mayTake(0)) return false;
    const had = ready.size;
    if (tail.covers(readPlace.position)) feedFromRing();
    else needs.catchUp.request(lane);
    return ready.size > had;
  }

  function feedFromRing(): void {
    let looked = 0;
    for (const record of tail.after(readPlace.position)) {
      if (until !== undefined && record.position > until) return readTo({ position: until, timeMs: readPlace.timeMs });
      if (needs.wants(record) && !take(record, readPlace)) return;
      readPlace = record;
      if (++looked === FEED_SLICE) return feedLater();
    }
    readTo(tail.end);
    if (kind === 'live') live = true;
  }

  function feedLater(): void {
    feeding = true;
    clock.after(0, () => {
      feeding = false;
      pump();
    });
  }

  function ride(page: Page, after: Position): void {
    if (ended || live) return;
    // A loss that has no room to be written down is not passed: the lane stands.
    if (page.expired !== undefined && page.expired.last.position > readPlace.position && !bounds.hasRoomForDeadLetter()) return;
    const from = readPlace;
    const isThrough = takeFrom(page);
    if (page.expired !== undefined) noteExpired(page.expired, { from, isWhole: after === from.position, isThrough });
    // No new page before something has ended: what had no room now would have none again.
    if (isThrough) pump();
    else startWhatMay();
  }

  /** False when it stopped for want of room. */
  function takeFrom(page: Page): boolean {
    for (const record of page.records) {
      if (record.position <= readPlace.position) continue;
      // Never ahead of the tail: what the ledger knows of a shard is never newer than what the tail has seen.
      if (record.position > tail.end.position) break;
      if (until !== undefined && record.position > until) break;
      if (needs.wants(record) && !take(record, readPlace)) return false;
      readPlace = record;
    }
    const furthest = page.through < tail.end.position ? page.through : tail.end.position;
    const position = until !== undefined && until < furthest ? until : furthest;
    readTo(position === tail.end.position ? tail.end : { position, timeMs: readPlace.timeMs });
    return true;
  }

  function readTo(place: Place): void {
    if (place.position > readPlace.position) readPlace = place;
  }

  const isReadUp = (): boolean => until !== undefined && readPlace.position >= until;

  // ── what retention took ────────────────────────────────────────────────────────────────────────────────────────

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
    lose({
      cause: 'expired',
      after: from.position,
      through: through.position,
      timeMs: firstTimeMs ?? from.timeMs,
      throughTimeMs: through.timeMs,
      ...(isPassed && isWhole && count !== undefined ? { count } : {}),
    });
  }

  function lose({ cause, after, through, timeMs, throughTimeMs, count }: LostRange): void {
    const range = { through, throughTimeMs, ...(count === undefined ? {} : { count }) };
    const detail =
      cause === 'expired' ? 'retention took these events before they were delivered' : 'the log no longer holds what stood here';
    bury({ ...emptyLetter(after, timeMs, through), cause, detail, range }, {});
    const { environment, subscription } = needs;
    needs.onNotice({ kind: cause === 'expired' ? 'range_expired' : 'log_changed', environment, subscription, after, through });
  }

  /** A parked or held delivery whose event is gone. */
  function loseOne(delivery: Delivery, cause: LostRange['cause']): void {
    if (!bounds.hasRoomForDeadLetter()) {
      lost.push({ delivery, cause });
      return;
    }
    const { position, timeMs, attempts, key } = delivery;
    const letter = {
      ...emptyLetter(position, timeMs),
      cause,
      detail: 'the event of this delivery is no longer in the log',
      attempts,
    };
    bury(letter, removeRow(delivery), () => {
      leaveMemory(position);
      if (key !== undefined && !ended) release(key);
      pump();
    });
    pass(delivery);
  }

  function emptyLetter(position: Position, timeMs: number, through?: Position): DeadLetter {
    const place = placeOf(position);
    return {
      ...place,
      id: needs.deadLetterId(place, through),
      cause: '',
      detail: '',
      attempts: 0,
      eventId: '',
      topic: '',
      timeMs,
      diedMs: clock.now(),
    };
  }

  function bury(letter: DeadLetter, change: Change, durable?: () => void): void {
    counts.deadLetters++;
    needs.tellBound();
    recorder.add({ ...change, bury: letter }, durable);
  }

  // ── starting ───────────────────────────────────────────────────────────────────────────────────────────────────

  function pump(): void {
    if (ended || !started) return;
    if (retiring !== undefined) {
      if (inFlight === 0) retiring.resolve();
      return;
    }
    if (lost.length > 0) {
      const waiting = lost;
      lost = [];
      for (const { delivery, cause } of waiting) loseOne(delivery, cause);
    }
    startWhatMay();
    while (ready.size * 2 <= limits.windowRecords && feed()) startWhatMay();
    armDue();
  }

  function startWhatMay(): void {
    for (let next = nextUp(); next !== undefined; next = nextUp()) {
      if (!turns.take(next.size)) return standInLine(next);
      begin(next, endpoint.breakerOpen);
    }
  }

  /** What may start now. */
  function nextUp(): Delivery | undefined {
    if (inLine || recorder.pending >= limits.unrecorded) return undefined;
    if (endpoint.breakerOpen) return endpoint.mayProbe() ? nextProbe() : undefined;
    const next = due.peek() ?? freed.peek() ?? ready.peek();
    return next !== undefined && endpoint.mayStart(next.size, next.row === 'parked') ? next : undefined;
  }

  /** An open breaker lets one delivery out at a time: in turn one that is parked and one that is new, each time another. */
  function nextProbe(): Delivery | undefined {
    const candidates = [freed.peek(), ready.peek()];
    if (endpoint.probes % 2 === 0) candidates.unshift(due.peek());
    else candidates.push(due.peek());
    if (due.size === 0 && mine.parked > inMemory.size) void loadDue(Number.MAX_SAFE_INTEGER);
    // Where the bounds have no room for a new one, a parked one can still be tried.
    return candidates.find((one) => one !== undefined && bounds.hasRoom(one.size, one.row === 'parked'));
  }

  function standInLine(next: Delivery): void {
    inLine = true;
    turns.wait(needs.line(next.record as LogRecord), () => {
      inLine = false;
      if (ended || retiring !== undefined) return;
      const now = nextUp();
      if (now !== undefined && turns.takeTurn(now.size)) begin(now, endpoint.breakerOpen);
      pump();
    });
  }

  function pushReady(delivery: Delivery): void {
    ready.push(delivery);
    readyBytes += delivery.size;
  }

  function begin(delivery: Delivery, probe: boolean): void {
    if (due.peek() === delivery) due.shift();
    else if (freed.peek() === delivery) freed.shift();
    else {
      ready.shift();
      readyBytes -= delivery.size;
    }
    delivery.state = 'sending';
    delivery.startedMs = clock.now();
    inFlight++;
    endpoint.started(delivery.size, delivery.row === 'parked', probe);
    void attempt(delivery, probe);
  }

  async function attempt(delivery: Delivery, probe: boolean): Promise<void> {
    const outcome = await needs.deliver(needs.target(), delivery.record as LogRecord, needs.asNew);
    if (!ended) finish(delivery, probe, outcome);
    turns.giveBack(delivery.size);
    if (ended) endpoint.ended(delivery.size, delivery.row === 'parked', probe, { ...outcome, kind: 'aborted' }, '');
    needs.onFreed();
  }

  // ── ending ─────────────────────────────────────────────────────────────────────────────────────────────────────

  function finish(delivery: Delivery, probe: boolean, outcome: Outcome): void {
    const wasOpen = endpoint.breakerOpen;
    inFlight--;
    const turned = endpoint.ended(delivery.size, delivery.row === 'parked', probe, outcome, `${shard}\n${delivery.position}`);
    if (outcome.kind === 'delivered') delivered(delivery, outcome);
    else if (outcome.kind === 'aborted' || probe || wasOpen) putBack(delivery, outcome);
    else failed(delivery, outcome);
    if (turned) {
      if (!endpoint.breakerOpen) unloadEarly();
      const { environment, subscription } = needs;
      needs.onNotice({
        kind: endpoint.breakerOpen ? 'breaker_open' : 'breaker_closed',
        environment,
        subscription,
        cause: outcome.cause,
      });
    }
  }

  /** It did not count: a probe speaks for the endpoint, not for its event. To the back, so that the next probe is another. */
  function putBack(delivery: Delivery, outcome: Outcome): void {
    delivery.state = 'ready';
    delivery.cause = outcome.cause;
    if (delivery.row === 'parked') due.push(delivery);
    else if (delivery.before === undefined || delivery.row === 'held') freed.push(delivery);
    else pushReady(delivery);
  }

  function delivered(delivery: Delivery, outcome: Outcome): void {
    const attempt = attemptRow(delivery, outcome, 'delivered');
    if (delivery.row === 'none') recorder.add({ attempt });
    else recorder.add({ attempt, ...removeRow(delivery) }, () => leaveMemory(delivery.position));
    notify(delivery, outcome, 'delivered');
    pass(delivery);
    if (delivery.key !== undefined) release(delivery.key);
  }

  function failed(delivery: Delivery, outcome: Outcome): void {
    const { retry } = settings();
    const question = { ...retry, attempt: delivery.attempts - delivery.attemptsBefore + 1, random: clock.random() };
    const delayMs = nextDelayMs(
      outcome.retryAfterMs === undefined ? question : { ...question, retryAfterMs: outcome.retryAfterMs },
    );
    if (delayMs === undefined) return died(delivery, outcome);
    const attempt = attemptRow(delivery, outcome, 'retry');
    const dueMs = clock.now() + delayMs;
    delivery.attempts++;
    delivery.cause = outcome.cause;
    if (delayMs > limits.keepBytesMs) delivery.kept ??= keptOf(delivery);
    const park = parkedRow(delivery, 'parked', dueMs);
    countRow(delivery, 'parked');
    recorder.add({ attempt, park }, () => {
      leaveMemory(delivery.position);
      noteDue(dueMs);
    });
    notify(delivery, outcome, 'retry', delayMs);
    pass(delivery);
    if (delivery.key !== undefined) keys.setHead(delivery.key, undefined);
  }

  function died(delivery: Delivery, outcome: Outcome): void {
    const attempt = attemptRow(delivery, outcome, 'dead');
    const { event } = delivery.record as LogRecord;
    const holdsKey = settings().onDead === 'hold' ? delivery.key : undefined;
    const letter: DeadLetter = {
      ...emptyLetter(delivery.position, delivery.timeMs),
      cause: outcome.cause,
      detail: outcome.snippet,
      attempts: attempt.n,
      eventId: event.id,
      topic: event.type,
      kept: keptOf(delivery),
      ...(holdsKey === undefined ? {} : { holdsKey }),
    };
    // The key goes on only when the dead letter is durable: else a crash would bring the event back after its successor.
    bury(letter, { attempt, ...removeRow(delivery) }, () => {
      leaveMemory(delivery.position);
      if (delivery.key === undefined || ended) return;
      if (holdsKey !== undefined) keys.setHead(delivery.key, undefined);
      else release(delivery.key);
      pump();
    });
    notify(delivery, outcome, 'dead');
    pass(delivery);
  }

  function pass(delivery: Delivery): void {
    delivery.state = 'gone';
    delivery.passed = true;
    delivery.record = undefined;
    tape.advance();
  }

  function attemptRow(delivery: Delivery, outcome: Outcome, result: AttemptRow['outcome']): AttemptRow {
    const { event } = delivery.record as LogRecord;
    return {
      ...placeOf(delivery.position),
      n: delivery.attempts + 1,
      startedMs: outcome.startedMs,
      durationMs: outcome.durationMs,
      outcome: result,
      cause: outcome.cause,
      status: outcome.status,
      snippet: outcome.snippet,
      eventId: event.id,
      topic: event.type,
    };
  }

  function notify(
    delivery: Delivery,
    { cause, status, durationMs }: Outcome,
    result: 'delivered' | 'retry' | 'dead',
    nextMs?: number,
  ): void {
    const { event } = delivery.record as LogRecord;
    const { environment, subscription } = needs;
    const n = result === 'retry' ? delivery.attempts : delivery.attempts + 1;
    const common = { environment, subscription, eventId: event.id, topic: event.type, cause, status, n, durationMs };
    needs.onNotice({ kind: result, ...common, ...(nextMs === undefined ? {} : { nextMs }) });
  }

  // ── rows ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** The change that takes a delivery's row away, if it has one; and the counts follow. */
  function removeRow(delivery: Delivery): Change {
    if (delivery.row === 'none') return {};
    countRow(delivery, 'none');
    return { unpark: placeOf(delivery.position) };
  }

  function countRow(delivery: Delivery, row: Delivery['row']): void {
    if (delivery.row === 'parked') countParked(-1, -delivery.size);
    if (delivery.row === 'held') countHeld(-1);
    if (row === 'parked') countParked(1, delivery.size);
    if (row === 'held') countHeld(1);
    if (row === 'parked') inMemory.add(delivery.position);
    delivery.row = row;
  }

  function countParked(rows: number, bytes: number): void {
    mine.parked += rows;
    mine.parkedBytes += bytes;
    counts.parked += rows;
    counts.parkedBytes += bytes;
    needs.tellBound();
  }

  function countHeld(rows: number): void {
    mine.held += rows;
    counts.held += rows;
    needs.tellBound();
  }

  function parkedRow(delivery: Delivery, state: ParkedRow['state'], dueMs: number): ParkedRow {
    const { position, attempts, attemptsBefore, key, cause, size, timeMs, kept } = delivery;
    const idHash = (delivery.idHash ??= idHashOf(delivery.record as LogRecord));
    return {
      ...placeOf(position),
      state,
      dueMs,
      attempts,
      attemptsBefore,
      cause,
      size,
      timeMs,
      idHash,
      ...(key === undefined ? {} : { key }),
      ...(kept === undefined ? {} : { kept }),
    };
  }

  function keptOf(delivery: Delivery): KeptEvent {
    if (delivery.kept !== undefined) return delivery.kept;
    const { environment, app, event } = delivery.record as LogRecord;
    return { environment, app, bytes: encodeEvent(event) };
  }

  /** Its row is gone or stands for a later attempt: a look into the ledger under way may still show it as it was. */
  function leaveMemory(position: Position): void {
    inMemory.delete(position);
    if (loadingDue) leftWhileLoading.add(position);
  }

  // ── coming back from the ledger ────────────────────────────────────────────────────────────────────────────────

  function noteDue(dueMs: number): void {
    dueWhileLoadingMs = Math.min(dueWhileLoadingMs, dueMs);
    nextDueMs = Math.min(nextDueMs, dueMs);
    armDue();
  }

  function armDue(): void {
    const mustWait = endpoint.breakerOpen || settings().state === 'paused';
    if (ended || !started || loadingDue || due.size > 0 || nextDueMs === Infinity || mustWait || retiring !== undefined) return;
    const delayMs = nextDueMs - clock.now();
    if (delayMs <= 0) return void loadDue(clock.now());
    if (dueTimerMs === nextDueMs) return;
    dueTimer?.cancel();
    dueTimerMs = nextDueMs;
    dueTimer = clock.after(Math.min(delayMs, DAY_MS), () => {
      dueTimerMs = Infinity;
      armDue();
    });
  }

  async function loadDue(dueMs: number): Promise<void> {
    if (loadingDue || ended) return;
    loadingDue = true;
    leftWhileLoading.clear();
    dueWhileLoadingMs = Infinity;
    try {
      const { rows, nextDueMs: laterMs = Infinity } = await needs.ledger.due(name, shard, dueMs, limits.dueRows + inMemory.size);
      if (ended) return;
      nextDueMs = Math.min(laterMs, dueWhileLoadingMs);
      const back = rows.filter(({ position }) => !inMemory.has(position) && !leftWhileLoading.has(position));
      for (const { position } of back) inMemory.add(position);
      await Promise.all(back.map((row) => bringBack(row)));
    } catch {
      // The ledger can't be read now, and whoever commits to it reports that: look again soon.
      nextDueMs = Math.min(nextDueMs, clock.now() + RETRY_MS);
    }
    loadingDue = false;
    pump();
  }

  /** Probes may have brought rows back before they are due: once the breaker is closed, these wait on in the ledger. */
  function unloadEarly(): void {
    const nowMs = clock.now();
    const loaded = [...due];
    due.clear();
    for (const delivery of loaded) {
      if (delivery.dueMs <= nowMs) due.push(delivery);
      else {
        inMemory.delete(delivery.position);
        if (delivery.key !== undefined) keys.setHead(delivery.key, undefined);
        nextDueMs = Math.min(nextDueMs, delivery.dueMs);
      }
    }
  }

  async function bringBack(row: ParkedRow): Promise<void> {
    const delivery: Delivery = {
      ...outOfLedger(row.position, row.key),
      timeMs: row.timeMs,
      size: row.size,
      idHash: row.idHash,
      kept: row.kept,
      attempts: row.attempts,
      attemptsBefore: row.attemptsBefore,
      cause: row.cause,
      dueMs: row.dueMs,
      row: 'parked',
      state: 'ready',
    };
    try {
      const restored = await needs.restore(delivery);
      if (ended) return;
      if (row.key !== undefined) keys.setHead(row.key, delivery);
      if (typeof restored === 'string') return loseOne(delivery, restored);
      delivery.record = restored;
      due.push(delivery);
    } catch {
      inMemory.delete(row.position);
      nextDueMs = Math.min(nextDueMs, clock.now() + RETRY_MS);
    }
  }

  function outOfLedger(position: Position, key: string | undefined): Delivery {
    return {
      position,
      timeMs: 0,
      size: 0,
      idHash: undefined,
      key,
      record: undefined,
      kept: undefined,
      attempts: 0,
      attemptsBefore: 0,
      cause: '',
      dueMs: 0,
      row: 'held',
      state: 'held',
      takenMs: clock.monotonic(),
      startedMs: 0,
      passed: true,
      before: undefined,
    };
  }

  /** The head of this key is done: its successor's turn. */
  function release(key: string): void {
    const next = keys.release(key);
    if (next !== undefined) void promote(next);
  }

  async function promote(delivery: Delivery): Promise<void> {
    try {
      if (delivery.idHash === undefined) await complete(delivery);
      const restored = await needs.restore(delivery);
      if (ended) return;
      if (delivery.row === 'none') countHeld(-1);
      if (typeof restored === 'string') return loseOne(delivery, restored);
      delivery.record = restored;
      delivery.state = 'ready';
      freed.push(delivery);
      pump();
    } catch {
      // Neither log nor ledger lost it; they can't be read now.
      clock.after(RETRY_MS, () => void (ended || promote(delivery)));
    }
  }

  /** What the row of a held delivery knows; read when its turn has come, not for all of them at the start. */
  async function complete(delivery: Delivery): Promise<void> {
    const row = await needs.ledger.parked(name, shard, delivery.position);
    delivery.idHash = row?.idHash ?? '';
    delivery.timeMs = row?.timeMs ?? 0;
    delivery.size = row?.size ?? 0;
    delivery.kept = row?.kept;
  }

  // ── what a restart needs ───────────────────────────────────────────────────────────────────────────────────────

  function start(state?: Recovered): void {
    if (state !== undefined) recover(state);
    else {
      live = kind === 'live';
      readPlace = { position: '', timeMs: 0 };
    }
    started = true;
    pump();
  }

  function recover({
    cursor,
    hasRow: row,
    handled: positions,
    keyed,
    parked,
    parkedBytes,
    held,
    nextDueMs: dueMs = Infinity,
  }: Recovered): void {
    readPlace = cursor;
    hasRow = row;
    nextDueMs = dueMs;
    Object.assign(mine, { parked, parkedBytes, held });
    for (const position of positions) handled.add(position);
    // What was sent already leads, though an earlier one stands behind it that a change of the filter let in later.
    for (const { key, state } of keyed) if (state !== 'held') keys.lead(key, undefined);
    for (const { position, key, state } of keyed) {
      if (state !== 'held') continue;
      const delivery = outOfLedger(position, key);
      if (keys.isBusy(key)) keys.follow(key, delivery);
      else {
        keys.lead(key, delivery);
        void promote(delivery);
      }
    }
  }

  /** What is open too long is written down, due at once if we die, so that it does not hold the cursor. */
  function writeOpen(): void {
    const takenBeforeMs = clock.monotonic() - limits.openMs;
    let rows = 0;
    for (const delivery of tape) {
      if (delivery.takenMs > takenBeforeMs || rows >= limits.commitRows) break;
      if (delivery.passed) continue;
      if (delivery.state === 'held') {
        // Only behind a head that has a row: else a restart would find the successor without what it waits for.
        if (!keys.headHasRow(delivery.key as string)) continue;
        countHeld(-1);
        countRow(delivery, 'held');
        recorder.add({ park: parkedRow(delivery, 'held', 0) });
      } else {
        if (delivery.state !== 'sending' || delivery.row !== 'none') continue;
        bounds.wroteRow(delivery.size);
        countRow(delivery, 'parked');
        recorder.add({ park: parkedRow(delivery, 'parked', delivery.startedMs) });
      }
      delivery.passed = true;
      rows++;
    }
    tape.advance();
  }

  const cursorPlace = (): Place => tape.cursor(live ? tail.end : readPlace);

  function checkpoint(): void {
    if (!started || ended || kind === 'drain') return;
    writeOpen();
    const place = cursorPlace();
    if ((live && tape.size === 0) || (hasRow && place.position === written)) return;
    written = place.position;
    hasRow = true;
    recorder.add({ lane: { lane: name, shard, cursor: cursorAt(place, needs.log) } });
  }

  function end(): void {
    if (ended) return;
    ended = true;
    retiring?.resolve();
    dueTimer?.cancel();
    needs.catchUp.cancel(lane);
    counts.parked -= mine.parked;
    counts.parkedBytes -= mine.parkedBytes;
    counts.held -= mine.held;
  }

  /** Also no row whose removal is still on its way to the ledger: another lane of this name would find it there. */
  function nothingOpen(): boolean {
    const queued = ready.size + due.size + freed.size + lost.length;
    return tape.size === 0 && inFlight === 0 && mine.parked === 0 && mine.held === 0 && inMemory.size === 0 && queued === 0;
  }

  const lane: Lane = {
    name,
    shard,
    environment: needs.environment,
    get topics() {
      return needs.topics();
    },
    get readPosition() {
      return readPlace.position;
    },
    get inFlight() {
      return inFlight;
    },
    get place() {
      return cursorPlace();
    },
    get hasRow() {
      return hasRow;
    },
    get isCovered() {
      // It may have begun ahead of a tail that still reads what was there before.
      return live && tape.size === 0 && readPlace.position <= tail.end.position;
    },
    get isIdle() {
      return kind === 'live' && live && nothingOpen() && keys.size === 0;
    },
    get isDone() {
      return started && !loadingDue && nothingOpen() && keys.size === 0 && (kind === 'drain' || isReadUp());
    },
    start,
    dispatch,
    ride,
    pump,
    checkpoint,
    forgetRow: () => void (hasRow = false),
    fallBehind(place) {
      if (!live) return;
      live = false;
      if (place.position > readPlace.position) readPlace = place;
      pump();
    },
    lookForExpired() {
      if (started && !live && !ended && kind !== 'drain' && !isReadUp() && !tail.covers(readPlace.position))
        needs.catchUp.request(lane);
    },
    redriven(row) {
      countParked(1, row.size);
      if (row.key !== undefined && !keys.isBusy(row.key)) keys.lead(row.key, undefined);
      noteDue(row.dueMs);
    },
    releaseHeld(key) {
      release(key);
      pump();
    },
    lose,
    retire() {
      // A rewind may be waiting for it when the process stops.
      retiring ??= Promise.withResolvers();
      if (ended || inFlight === 0) retiring.resolve();
      return retiring.promise;
    },
    end,
  };
  return lane;
}
