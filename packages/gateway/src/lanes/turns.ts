/**
 * Turns: the process's bound on deliveries under way, shared fairly. While there is room everybody starts at once; when
 * it is full, lanes stand in lines (interactive, standard, bulk, replay) and each start is one lane's turn. A line in
 * front goes first, but one that was passed over nine times is served: everybody has at least a tenth. In a hurry
 * (pace.ts) all but the interactive stand in line likewise once a few of them have started in this turn of the event loop.
 *
 * Nobody has all of it: what one subscription may have shrinks with the square of what is free, in places and in bytes. So n of
 * them whose endpoints hang leave about one part in n + 1, and whoever comes new finds room at once. (A bound that follows what
 * is free: Choudhury and Hahne, Dynamic Queue Length Thresholds, 1998. There it is linear, as what is queued drains; what hangs
 * does not, and a dozen one after the other would have it all.) Who has its share steps aside until that has changed. The last
 * places are the interactive's. Each has its first, though: so of the last of them an app that has much already gets none, with however
 * many subscriptions, and one that has little gets some, whatever its share is.
 *
 * An app may have a quota: its subscriptions step aside together where it is used up, and what is given back is the turn of the
 * first of them; of the next one only when that has not used it. So many subscriptions of one app cost no more than one.
 */
import { createDeque, type Deque } from '../deque.ts';
import type { Limits } from '../limits.ts';
import type { Pace } from '../pace.ts';
import type { LatencyClass } from '../ports/directory.ts';
import { SLOTS } from './subscriber.ts';

export type Line = LatencyClass | 'replay';

export interface Turns {
  /** What one subscription has of it. Of its slot, deliveries that start are counted; those of one app have its quota together. */
  share(whose?: { readonly slot?: number; readonly of?: AppOf }): Share;
  /** Deliveries of a slot that started so far. */
  startedOf(slot: number): number;
  readonly inFlight: number;
}

export interface Share {
  /** Takes a place for a body of `bytes`; false when there is none, others stand in line for it, or it has its share. */
  take(line: Line, bytes: number): boolean;
  /** Gives the place back and lets those in line have their turns. */
  giveBack(bytes: number): void;
  /** Calls `turn` once when it is this caller's turn: it either uses `takeTurn` or leaves. `bytes` of what it wants to start. */
  wait(line: Line, bytes: number, turn: () => void): void;
  /** As take, but without regard to those in line: only inside a turn. */
  takeTurn(line: Line, bytes: number): boolean;
}

interface Waiting {
  readonly line: Line;
  readonly bytes: number;
  readonly turn: () => void;
}

/** One subscription's, with its lanes that have stepped aside. */
interface Own {
  readonly slot: number;
  inFlight: number;
  bytes: number;
  readonly aside: Deque<Waiting>;
  readonly app: OfApp | undefined;
}

/** Of a subscription. */
export interface AppOf {
  readonly environment: string;
  readonly app: string;
}

/** What the subscriptions of one app have under way together. */
interface OfApp extends AppOf {
  inFlight: number;
  /** Those that found its quota used up. */
  readonly aside: Deque<{ readonly own: Own; readonly one: Waiting }>;
}

interface TurnsNeeds {
  readonly limits: Limits;
  readonly pace: Pace;
  /** How many deliveries an app may have under way; no bound of its own where undefined. */
  readonly quotaOf?: (environment: string, app: string) => number | undefined;
}

const LINES: readonly Line[] = ['interactive', 'standard', 'bulk', 'replay'];
const PASSED_OVER_MAX = 9;
/** One place in sixteen is for interactive topics: a handful of endpoints that hang must not be what they wait for. */
const URGENT_PART = 16;
/** The last one in thirty-two is for apps that have little under way: so many of them find room at once, whatever one of the others has. */
const LAST_PART = 32;
const LAST_APPS = 8;

export function createTurns({ limits, pace, quotaOf = () => undefined }: TurnsNeeds): Turns {
  const lines = LINES.map(() => createDeque<() => void>());
  const passedOver = LINES.map(() => 0);
  const aside = new Set<Own>();
  const apps = new Map<string, OfApp>();
  const urgentPlaces = Math.floor(limits.inFlight / URGENT_PART);
  const lastPlaces = Math.floor(limits.inFlight / LAST_PART);
  let inFlight = 0;
  let bytesInFlight = 0;
  /** In the lines. */
  let waiting = 0;
  let serving = false;
  /** In a hurry, in this turn of the event loop: of others than the interactive, and of these. */
  let started = 0;
  let urgent = 0;
  let scheduled = false;
  const startedOf = new Float64Array(SLOTS);

  const freePlaces = (line: Line): number => limits.inFlight - inFlight - (line === 'interactive' ? 0 : urgentPlaces);

  const fits = (line: Line, bytes: number): boolean =>
    inFlight === 0 || (freePlaces(line) > 0 && bytesInFlight + bytes <= limits.inFlightBytes);

  /** Something of it is under way then: what gives that back lets the others have their turns. */
  const isFull = (of: OfApp | undefined): boolean =>
    of !== undefined && of.inFlight > 0 && of.inFlight >= (quotaOf(of.environment, of.app) ?? Infinity);

  /** Of the last places, and bytes, an app that has much already gets none. */
  const isForOthers = (line: Line, bytes: number): boolean =>
    freePlaces(line) <= lastPlaces || limits.inFlightBytes - bytesInFlight - bytes <= limits.inFlightBytes / LAST_PART;

  function hasItsShare(own: Own, line: Line, bytes: number): boolean {
    if (lastPlaces > 0 && own.app !== undefined) {
      if (own.app.inFlight < lastPlaces / LAST_APPS) return false;
      if (isForOthers(line, bytes)) return true;
    }
    return (
      own.inFlight > 0 &&
      (isShareOf(own.inFlight, freePlaces(line), limits.inFlight) ||
        (own.bytes > 0 && isShareOf(own.bytes, limits.inFlightBytes - bytesInFlight - bytes, limits.inFlightBytes)))
    );
  }

  /** Where the interactive are many, the others may be as many: who is passed over too often has its turn. */
  const heldBack = (): boolean => started >= limits.hurriedStarts + urgent && pace.isHurried;

  const isForUrgentAlone = (): boolean => !fits('standard', 0) || heldBack();

  const mayStart = (own: Own, line: Line, bytes: number): boolean =>
    fits(line, bytes) && !isFull(own.app) && !hasItsShare(own, line, bytes) && (line === 'interactive' || !heldBack());

  function note(line: Line): void {
    if (line === 'interactive') pace.hurry();
    else if (!pace.isHurried) return;
    schedule();
    if (line === 'interactive') urgent++;
    else started++;
  }

  function schedule(): void {
    if (!scheduled) pace.nextTurn(beginTurn);
    scheduled = true;
  }

  function beginTurn(): void {
    scheduled = false;
    started = 0;
    urgent = 0;
    for (const own of aside) comeBack(own);
    if (waiting > 0) serve();
  }

  /** Into the lines, once it has less than its share. */
  function comeBack(own: Own): void {
    const first = own.aside.peek();
    if (first !== undefined && hasItsShare(own, first.line, first.bytes)) return;
    aside.delete(own);
    for (let next = own.aside.shift(); next !== undefined; next = own.aside.shift()) standInLine(next);
  }

  function standInLine({ line, turn }: Waiting): void {
    lines[LINES.indexOf(line)]?.push(turn);
    waiting++;
  }

  function nextLine(): number {
    let chosen = -1;
    for (let at = 0; at < lines.length; at++) {
      if (lines[at]?.size === 0) continue;
      if (chosen === -1) chosen = at;
      else if ((passedOver[at] ?? 0) >= PASSED_OVER_MAX && (passedOver[chosen] ?? 0) < (passedOver[at] ?? 0)) chosen = at;
    }
    for (let at = 0; at < lines.length; at++) {
      if (at === chosen) passedOver[at] = 0;
      else if (lines[at]?.size !== 0) passedOver[at] = (passedOver[at] ?? 0) + 1;
    }
    return chosen;
  }

  /** A turn may end without a start, and a lane that can't start stands in line again: serve each at most once a round. */
  function serve(): void {
    if (serving) return;
    serving = true;
    for (let turns = waiting; turns > 0 && waiting > 0 && fits('interactive', 0); turns--) {
      const isUrgent = isForUrgentAlone();
      if (isUrgent && lines[0]?.size === 0) break;
      const turn = lines[isUrgent ? 0 : nextLine()]?.shift();
      if (turn === undefined) break;
      waiting--;
      turn();
    }
    serving = false;
  }

  function takeTurn(own: Own, line: Line, bytes: number): boolean {
    if (!mayStart(own, line, bytes)) return false;
    note(line);
    startedOf[own.slot]!++;
    inFlight++;
    bytesInFlight += bytes;
    own.inFlight++;
    own.bytes += bytes;
    if (own.app !== undefined) own.app.inFlight++;
    return true;
  }

  function take(own: Own, line: Line, bytes: number): boolean {
    const isFirst = waiting === 0 || (line === 'interactive' && lines[0]?.size === 0 && isForUrgentAlone());
    return isFirst && takeTurn(own, line, bytes);
  }

  function giveBack(own: Own, bytes: number): void {
    inFlight--;
    bytesInFlight -= bytes;
    own.inFlight--;
    own.bytes -= bytes;
    if (own.app !== undefined) own.app.inFlight--;
    if (own.app !== undefined) bringNext(own.app);
    if (own.aside.size > 0) comeBack(own);
    // There is more room for all of them now; they are looked at together.
    if (aside.size > 0) schedule();
    if (waiting > 0) serve();
  }

  /** One after the other until the quota is used up again, or nobody of the app waits. */
  function bringNext(app: OfApp): void {
    if (app.aside.size === 0 || isFull(app)) return;
    const { own, one } = app.aside.shift() as { own: Own; one: Waiting };
    const turn = (): void => {
      one.turn();
      bringNext(app);
    };
    wait(own, { ...one, turn });
    schedule();
  }

  function wait(own: Own, one: Waiting): void {
    if (own.app !== undefined && isFull(own.app)) {
      own.app.aside.push({ own, one });
      return;
    }
    if (hasItsShare(own, one.line, one.bytes)) {
      own.aside.push(one);
      aside.add(own);
      return;
    }
    standInLine(one);
    // Only others in line were before it: with little under way no one may give a place back for a minute. Who could not start
    // anyway is served when that changes, and no round follows one that was idle.
    if (inFlight === 0) queueMicrotask(serve);
    else if (mayStart(own, one.line, one.bytes)) schedule();
  }

  /** One per app that ever had a subscription here: a name and a number. */
  function ofApp({ environment, app }: AppOf): OfApp {
    const name = `${environment}\n${app}`;
    const found = apps.get(name) ?? { environment, app, inFlight: 0, aside: createDeque() };
    apps.set(name, found);
    return found;
  }

  return {
    share({ slot = 0, of } = {}) {
      const own: Own = { slot, inFlight: 0, bytes: 0, aside: createDeque(), app: of === undefined ? undefined : ofApp(of) };
      return {
        take: (line, bytes) => take(own, line, bytes),
        takeTurn: (line, bytes) => takeTurn(own, line, bytes),
        giveBack: (bytes) => giveBack(own, bytes),
        wait: (line, bytes, turn) => wait(own, { line, bytes, turn }),
      };
    },
    startedOf: (slot) => startedOf[slot] ?? 0,
    get inFlight() {
      return inFlight;
    },
  };
}

/** True where `own` is all that one may have of `all` while so much is `free`. */
function isShareOf(own: number, free: number, all: number): boolean {
  return free <= 0 || own * all >= free * free;
}
