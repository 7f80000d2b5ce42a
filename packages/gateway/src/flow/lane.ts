/**
 * The lane: one subscription on one shard, running. It takes matching events from the log in order, lets them be
 * delivered side by side (or one at a time per key), parks what fails and goes on past it, and knows at any moment from
 * where it would have to read again: its cursor.
 *
 * A lane that can take no more (window full, bound reached, paused) just stops taking; the log holds the rest.
 *
 * What keeps it right
 *   1. Everything taken stands on the tape until it is settled or has a row; the cursor never passes what stands there.
 *   2. Changes go to the recorder, which commits in order: a cursor handed over later can't become durable earlier.
 *   3. With keys, a successor starts only when its head was delivered, or its dead letter is durable.
 *   4. A delivery starts only when there is room for whatever it may end in. Nothing is dropped at a bound.
 *
 * Its parts: how it reads (lanes/reader.ts), what waits in the ledger (lanes/parked.ts), its rows there (lanes/rows.ts),
 * what is open (lanes/tape.ts), who waits for whom (lanes/keys.ts).
 */
import { keyOf } from '@millrace/core/event';
import { nextDelayMs } from '@millrace/core/retry-schedule';
import type { Notice } from '../api.ts';
import { createDeque } from '../deque.ts';
import type { CatchUp } from '../lanes/catch-up.ts';
import { cursorAt } from '../lanes/cursor.ts';
import { type Delivery, deliveryOf, FILTER_TOO_COSTLY, heldDelivery, type LaneKind, type LostRange } from '../lanes/delivery.ts';
import type { Endpoint } from '../lanes/endpoint.ts';
import type { Keys } from '../lanes/keys.ts';
import { createParked } from '../lanes/parked.ts';
import { createReader } from '../lanes/reader.ts';
import type { Restore } from '../lanes/restore.ts';
import { createRows, keptOf, rangeLetter } from '../lanes/rows.ts';
import type { Steady } from '../lanes/steady.ts';
import type { Place, Tail } from '../lanes/tail.ts';
import type { Tape } from '../lanes/tape.ts';
import type { Line, Share } from '../lanes/turns.ts';
import type { Limits } from '../limits.ts';
import type { Clock } from '../ports/clock.ts';
import type { Subscription } from '../ports/directory.ts';
import type { Cursor, DeadLetter, KeyedRow, Ledger, ParkedRow } from '../ports/ledger.ts';
import type { LogRecord, Position } from '../ports/log.ts';
import type { Deliver, Outcome, Target } from './deliver.ts';
import type { Change, Recorder } from './record.ts';

export interface Lane {
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
  /** A parked delivery is tried now instead of when it is due; resolves when that is durable. An open breaker probes. */
  retry(position: Position): Promise<void>;
  /** A dead letter that held its key was discarded, or went to be redriven as its head. */
  releaseHeld(key: string): void;
  /** The tail lost records to retention before it read them: read on by oneself from `place`, the last one before. */
  fallBehind(place: Place): void;
  /** The row was handed to the recorder for removal. */
  forgetRow(): void;
  /** Starts nothing more; resolves when nothing is in flight. */
  retire(): Promise<void>;
  /** Ends at once: whatever still comes back is ignored. */
  end(): void;
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
  /** Of what it wants: the filter has no answer, so it must not be sent. */
  readonly isTooCostly: (record: LogRecord) => boolean;
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
  /** Of the process's places. */
  readonly share: Share;
  readonly deliver: Deliver;
  readonly recorder: Recorder;
  readonly restore: Restore;
  readonly ledger: Ledger;
  readonly clock: Clock;
  readonly steady: Steady;
  readonly limits: Limits;
  readonly onNotice: (notice: Notice) => void;
  /** Tells people when the subscription comes to stand at a bound. */
  readonly tellBound: () => void;
  /** Something was freed that other lanes of the subscription may be waiting for. */
  readonly onFreed: () => void;
}

const RETRY_MS = 500;

export function createLane(needs: Needs): Lane {
  const { name, shard, kind, endpoint, tape, keys, tail, share, recorder, clock, limits, settings, onNotice } = needs;
  const { environment, subscription } = needs;
  const { bounds } = endpoint;
  const { counts } = bounds;
  const ordered = settings().ordering === 'key';
  const ready = createDeque<Delivery>();
  /** Successors whose key is free: they go before what is new. */
  const freed = createDeque<Delivery>();
  /** Positions of the ledger, seen before the restart: not to be taken again. */
  const handled = new Set<Position>();
  /** Lost deliveries whose dead letter waits for room. */
  let lost: { readonly delivery: Delivery; readonly cause: LostRange['cause'] }[] = [];
  let readyBytes = 0;
  let hasRow = false;
  let written: Position | undefined;
  let inFlight = 0;
  let inLine = false;
  let started = false;
  let retiring: PromiseWithResolvers<void> | undefined;
  let ended = false;

  const rows = createRows({
    lane: name,
    shard,
    counts,
    now: clock.now,
    onCount: needs.tellBound,
  });
  const reader = createReader({
    kind,
    environment,
    topics: needs.topics,
    wants: needs.wants,
    tail,
    catchUp: needs.catchUp,
    clock,
    mayTake: () => mayTake(0),
    take,
    hasRoomToLose: bounds.hasRoomForDeadLetter,
    lose,
    onTaken: (readOn) => (readOn ? pump() : startWhatMay()),
  });
  const parked = createParked({
    lane: name,
    shard,
    ledger: needs.ledger,
    clock,
    steady: needs.steady,
    dueRows: limits.dueRows,
    restore: needs.restore,
    mustWait: () => !started || retiring !== undefined || endpoint.breakerOpen || settings().state !== 'active',
    onBack: (delivery) => delivery.key !== undefined && keys.setHead(delivery.key, delivery),
    onLost: loseOne,
    onLoaded: pump,
  });
  const { due } = parked;

  // ── taking ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** False when there is no room: the record stays unread. */
  function take(record: LogRecord, before: Place): boolean {
    if (handled.delete(record.position)) return true;
    if (!mayTake(record.size)) return false;
    const key = ordered ? keyOf(record.event) : undefined;
    const behind = key !== undefined && keys.isBusy(key);
    if (behind && counts.held >= settings().bounds.held) return false;
    const delivery = deliveryOf(record, { before, key, isHeld: behind, nowMs: clock.monotonic() });
    // Kept there over a restart; buried when its turn comes, so that keys keep their order and bounds their room.
    if (needs.isTooCostly(record)) delivery.cause = FILTER_TOO_COSTLY;
    tape.push(delivery);
    if (behind) {
      rows.countHeld(1);
      keys.follow(key, delivery);
      return true;
    }
    if (key !== undefined) keys.lead(key, delivery);
    pushReady(delivery);
    return true;
  }

  function mayTake(size: number): boolean {
    if (ended || retiring !== undefined || settings().state !== 'active') return false;
    if (counts.deadLetters >= settings().bounds.deadLetters) return false;
    const records = endpoint.breakerOpen ? Math.min(limits.windowRecords, endpoint.probeWindow) : limits.windowRecords;
    return ready.size < records && (ready.size === 0 || readyBytes + size <= limits.windowBytes);
  }

  function pushReady(delivery: Delivery): void {
    ready.push(delivery);
    readyBytes += delivery.size;
  }

  // ── what is lost ───────────────────────────────────────────────────────────────────────────────────────────────

  function lose(range: LostRange): void {
    bury(rangeLetter({ lane: name, shard }, range, clock.now()), {});
    const { cause, after, through } = range;
    onNotice({ kind: cause === 'expired' ? 'range_expired' : 'log_changed', environment, subscription, after, through });
  }

  /** A parked or held delivery whose event is gone. */
  function loseOne(delivery: Delivery, cause: LostRange['cause']): void {
    if (!bounds.hasRoomForDeadLetter()) {
      lost.push({ delivery, cause });
      return;
    }
    bury(rows.lostLetter(delivery, cause), rows.remove(delivery), () => {
      parked.leave(delivery.position);
      if (delivery.key !== undefined && !ended) release(delivery.key);
      pump();
    });
    pass(delivery);
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
    parked.arm();
  }

  /** True when something was taken at once. */
  function feed(): boolean {
    const had = ready.size;
    reader.feed();
    return ready.size > had;
  }

  function startWhatMay(): void {
    for (let next = nextUp(); next !== undefined; next = nextUp()) {
      if (isUnanswered(next)) {
        buryUnsent(next);
        continue;
      }
      if (!share.take(needs.line(next.record as LogRecord), next.size)) return standInLine(next);
      begin(next, endpoint.breakerOpen);
    }
  }

  /** What may start now. */
  function nextUp(): Delivery | undefined {
    if (inLine || recorder.isFull) return undefined;
    if (endpoint.breakerOpen) return endpoint.mayProbe() ? nextProbe() : undefined;
    // What fell due goes first: it needs no new room in the bounds.
    const next = due.peek() ?? freed.peek() ?? ready.peek();
    return next !== undefined && endpoint.mayStart(next.size, next.row === 'parked') ? next : undefined;
  }

  /** An open breaker lets one delivery out at a time: in turn one that is parked and one that is new, each time another. */
  function nextProbe(): Delivery | undefined {
    const candidates = [freed.peek(), ready.peek()];
    if (endpoint.probes % 2 === 0) candidates.unshift(due.peek());
    else candidates.push(due.peek());
    if (due.size === 0 && rows.parked > parked.inMemory) void parked.load(Number.MAX_SAFE_INTEGER);
    // Where the bounds have no room for a new one, a parked one can still be tried.
    return candidates.find((one) => one !== undefined && bounds.hasRoom(one.size, one.row === 'parked'));
  }

  function standInLine(next: Delivery): void {
    inLine = true;
    share.wait(needs.line(next.record as LogRecord), next.size, () => {
      inLine = false;
      if (ended || retiring !== undefined) return;
      const now = nextUp();
      if (now !== undefined && !isUnanswered(now) && share.takeTurn(needs.line(now.record as LogRecord), now.size))
        begin(now, endpoint.breakerOpen);
      pump();
    });
  }

  /** Asked again where it was marked: a person redrives it when the filter is another one, and then it goes out. */
  function isUnanswered({ cause, record }: Delivery): boolean {
    return cause === FILTER_TOO_COSTLY && needs.wants(record as LogRecord) && needs.isTooCostly(record as LogRecord);
  }

  function buryUnsent(delivery: Delivery): void {
    shift(delivery);
    die(delivery, needs.deliver.unsent(needs.target(), delivery.record as LogRecord, needs.asNew), false);
  }

  function shift(delivery: Delivery): void {
    if (due.peek() === delivery) due.shift();
    else if (freed.peek() === delivery) freed.shift();
    else {
      ready.shift();
      readyBytes -= delivery.size;
    }
  }

  function begin(delivery: Delivery, probe: boolean): void {
    shift(delivery);
    delivery.state = 'sending';
    delivery.startedMs = clock.now();
    inFlight++;
    endpoint.started(delivery.size, delivery.row === 'parked', probe);
    // No async function: of those there is one per delivery, and each await is another turn of the microtask queue.
    const { attempts, attemptsBefore: before, key } = delivery;
    const attempt = { lane: name, n: attempts + 1, before, key, run: needs.asNew };
    void needs.deliver(needs.target(), delivery.record as LogRecord, attempt).then((outcome) => {
      if (!ended) finish(delivery, probe, outcome);
      share.giveBack(delivery.size);
      if (ended) endpoint.ended(delivery.size, delivery.row === 'parked', probe, { ...outcome, kind: 'aborted' }, '');
      needs.onFreed();
    });
  }

  // ── ending ─────────────────────────────────────────────────────────────────────────────────────────────────────

  function finish(delivery: Delivery, probe: boolean, outcome: Outcome): void {
    const wasOpen = endpoint.breakerOpen;
    inFlight--;
    const turned = endpoint.ended(delivery.size, delivery.row === 'parked', probe, outcome, `${shard}\n${delivery.position}`);
    if (outcome.kind === 'delivered') delivered(delivery, outcome);
    else if (outcome.kind === 'aborted' || probe || wasOpen) putBack(delivery, outcome);
    else failed(delivery, outcome);
    if (turned) breakerTurned(outcome.cause);
  }

  function breakerTurned(cause: string): void {
    if (!endpoint.breakerOpen) parked.unloadEarly(({ key }) => key !== undefined && keys.setHead(key, undefined));
    onNotice({ kind: endpoint.breakerOpen ? 'breaker_open' : 'breaker_closed', environment, subscription, cause });
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
    const attempt = rows.attempt(delivery, outcome, 'delivered');
    if (delivery.row === 'none') recorder.add({ attempt });
    else recorder.add({ attempt, ...rows.remove(delivery) }, () => parked.leave(delivery.position));
    notify(delivery, outcome, 'delivered');
    pass(delivery);
    if (delivery.key !== undefined) release(delivery.key);
  }

  function failed(delivery: Delivery, outcome: Outcome): void {
    const { retry } = settings();
    const question = { ...retry, attempt: delivery.attempts - delivery.attemptsBefore + 1, random: clock.random() };
    const scheduledMs = nextDelayMs(
      outcome.retryAfterMs === undefined ? question : { ...question, retryAfterMs: outcome.retryAfterMs },
    );
    if (scheduledMs === undefined || outcome.isFinal) return die(delivery, outcome, true);
    const delayMs = outcome.againMs ?? scheduledMs;
    const attempt = rows.attempt(delivery, outcome, 'retry');
    const dueMs = needs.steady.now() + delayMs;
    delivery.attempts++;
    delivery.cause = outcome.cause;
    if (delayMs > limits.keepBytesMs) delivery.kept ??= keptOf(delivery);
    const park = rows.row(delivery, 'parked', dueMs);
    rows.count(delivery, 'parked');
    parked.keep(delivery.position);
    recorder.add({ attempt, park }, () => {
      parked.leave(delivery.position);
      parked.note(dueMs);
      parked.arm();
    });
    notify(delivery, outcome, 'retry', delayMs);
    pass(delivery);
    if (delivery.key !== undefined) keys.setHead(delivery.key, undefined);
  }

  function die(delivery: Delivery, outcome: Outcome, wasSent: boolean): void {
    const holdsKey = settings().onDead === 'hold' ? delivery.key : undefined;
    const letter = rows.letter(delivery, outcome, holdsKey);
    const { attempts } = delivery;
    const change = wasSent ? { attempt: rows.attempt(delivery, outcome, 'dead') } : {};
    // The key goes on only when the dead letter is durable: else a crash would bring the event back after its successor.
    bury(wasSent ? letter : { ...letter, attempts }, { ...change, ...rows.remove(delivery) }, () => {
      parked.leave(delivery.position);
      // Nothing has ended that would have other lanes of the subscription look again.
      if (!wasSent) needs.onFreed();
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

  function notify(
    delivery: Delivery,
    { webhookId, cause, status, durationMs }: Outcome,
    kind: 'delivered' | 'retry' | 'dead',
    nextMs?: number,
  ): void {
    const { id, type } = (delivery.record as LogRecord).event;
    const isCounted = kind === 'retry' || cause === FILTER_TOO_COSTLY;
    const n = isCounted ? delivery.attempts : delivery.attempts + 1;
    const notice = { kind, environment, subscription, webhookId, eventId: id, topic: type, cause, status, n, durationMs };
    onNotice(nextMs === undefined ? notice : { ...notice, nextMs });
  }

  // ── keys ───────────────────────────────────────────────────────────────────────────────────────────────────────

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
      if (delivery.row === 'none') rows.countHeld(-1);
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
    delivery.cause = row?.cause ?? '';
  }

  // ── what a restart needs ───────────────────────────────────────────────────────────────────────────────────────

  function recover(state: Recovered): void {
    hasRow = state.hasRow;
    parked.note(state.nextDueMs ?? Infinity);
    rows.recover(state);
    for (const position of state.handled) handled.add(position);
    // What was sent already leads, though an earlier one stands behind it that a change of the filter let in later.
    for (const { key, state: row } of state.keyed) if (row !== 'held') keys.lead(key, undefined);
    for (const { position, key, state: row } of state.keyed) {
      if (row !== 'held') continue;
      const delivery = heldDelivery(position, key, clock.monotonic());
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
    let count = 0;
    for (const delivery of tape) {
      if (delivery.takenMs > takenBeforeMs || count >= limits.commitRows) break;
      if (delivery.passed) continue;
      if (delivery.state === 'held') {
        // Only behind a head that has a row: else a restart would find the successor without what it waits for.
        if (!keys.headHasRow(delivery.key as string)) continue;
        rows.countHeld(-1);
        rows.count(delivery, 'held');
        recorder.add({ park: rows.row(delivery, 'held', 0) });
      } else {
        if (delivery.state !== 'sending' || delivery.row !== 'none') continue;
        bounds.wroteRow(delivery.size);
        rows.count(delivery, 'parked');
        parked.keep(delivery.position);
        recorder.add({ park: rows.row(delivery, 'parked', delivery.startedMs) });
      }
      delivery.passed = true;
      count++;
    }
    tape.advance();
  }

  const cursorPlace = (): Place => tape.cursor(reader.place);
  // It may have begun ahead of a tail that still reads what was there before.
  const isCovered = (): boolean => reader.isLive && tape.size === 0 && reader.position <= tail.end.position;

  function checkpoint(): void {
    if (!started || ended || kind === 'drain') return;
    writeOpen();
    const place = cursorPlace();
    if ((reader.isLive && tape.size === 0) || (hasRow && place.position === written)) return;
    written = place.position;
    hasRow = true;
    recorder.add({ lane: { lane: name, shard, cursor: cursorAt(place, needs.log) } });
  }

  /** Also no row whose removal is still on its way to the ledger: another lane of this name would find it there. */
  function nothingOpen(): boolean {
    const queued = ready.size + due.size + freed.size + lost.length + keys.size;
    return tape.size === 0 && inFlight === 0 && rows.parked === 0 && rows.held === 0 && parked.inMemory === 0 && queued === 0;
  }

  return {
    name,
    shard,
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
      return isCovered();
    },
    get isIdle() {
      return kind === 'live' && reader.isLive && nothingOpen();
    },
    get isDone() {
      return started && !parked.isLoading && nothingOpen() && (kind === 'drain' || reader.isReadUp);
    },
    start(state) {
      reader.begin(state?.cursor);
      if (state !== undefined) recover(state);
      started = true;
      pump();
    },
    dispatch(record, before) {
      if (!ended && reader.offer(record, before)) pump();
    },
    pump,
    checkpoint,
    forgetRow: () => void (hasRow = false),
    fallBehind(place) {
      reader.fallBehind(place);
      pump();
    },
    lookForExpired() {
      if (started && !ended) reader.lookForExpired();
    },
    redriven(row) {
      rows.countParked(1, row.size);
      if (row.key !== undefined && !keys.isBusy(row.key)) keys.lead(row.key, undefined);
      parked.note(row.dueMs);
      parked.arm();
    },
    async retry(position) {
      const row = await parked.claim(position);
      if (row !== undefined && !ended) {
        const dueMs = clock.now();
        await new Promise<void>((resolve) => recorder.add({ park: { ...row, dueMs } }, resolve));
        parked.leave(position);
        parked.note(dueMs);
        parked.arm();
      }
      endpoint.probeNow();
    },
    releaseHeld(key) {
      release(key);
      pump();
    },
    retire() {
      // A rewind may be waiting for it when the process stops.
      retiring ??= Promise.withResolvers();
      if (ended || inFlight === 0) retiring.resolve();
      return retiring.promise;
    },
    end() {
      if (ended) return;
      ended = true;
      retiring?.resolve();
      parked.stop();
      reader.stop();
      rows.leave();
    },
  };
}
