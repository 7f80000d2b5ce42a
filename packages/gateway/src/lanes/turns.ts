/**
 * Turns: the process's bound on deliveries under way, shared fairly. While there is room everybody starts at once; when
 * it is full, lanes stand in lines (interactive, standard, bulk, replay) and each start is one lane's turn. A line in
 * front goes first, but one that was passed over nine times is served: everybody has at least a tenth. In a hurry
 * (pace.ts) all but the interactive stand in line likewise once a few of them have started in this turn of the event loop.
 */
import { createDeque } from '../deque.ts';
import type { Limits } from '../limits.ts';
import type { Pace } from '../pace.ts';
import type { LatencyClass } from '../ports/directory.ts';

export type Line = LatencyClass | 'replay';

export interface Turns {
  /** Takes a place for a body of `bytes`; false when there is none, or others stand in line for it. */
  take(line: Line, bytes: number): boolean;
  /** Gives the place back and lets those in line have their turns. */
  giveBack(bytes: number): void;
  /** Calls `turn` once when it is this caller's turn: it either uses `takeTurn` or leaves. */
  wait(line: Line, turn: () => void): void;
  /** As take, but without regard to those in line: only inside a turn. */
  takeTurn(line: Line, bytes: number): boolean;
  readonly inFlight: number;
}

const LINES: readonly Line[] = ['interactive', 'standard', 'bulk', 'replay'];
const PASSED_OVER_MAX = 9;

export function createTurns({ limits, pace }: { limits: Limits; pace: Pace }): Turns {
  const lines = LINES.map(() => createDeque<() => void>());
  const passedOver = LINES.map(() => 0);
  let inFlight = 0;
  let bytesInFlight = 0;
  let waiting = 0;
  let serving = false;
  /** In a hurry, in this turn of the event loop: of others than the interactive, and of these. */
  let started = 0;
  let urgent = 0;
  let scheduled = false;
  /** Ever. */
  let starts = 0;

  const fits = (bytes: number): boolean =>
    inFlight === 0 || (inFlight < limits.inFlight && bytesInFlight + bytes <= limits.inFlightBytes);

  /** Where the interactive are many, the others may be as many: who is passed over too often has its turn. */
  const heldBack = (): boolean => started >= limits.hurriedStarts + urgent && pace.isHurried;

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
    if (waiting > 0) serve();
  }

  function takeTurn(line: Line, bytes: number): boolean {
    if (!fits(bytes) || (line !== 'interactive' && heldBack())) return false;
    note(line);
    starts++;
    inFlight++;
    bytesInFlight += bytes;
    return true;
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

  /**
   * A turn may end without a start, and a lane that can't start stands in line again: serve each at most once a round. Whoever
   * is left although there is room has another round soon, as nothing may end for long; but no round follows one that was idle.
   */
  function serve(): void {
    if (serving) return;
    serving = true;
    const before = starts;
    for (let turns = waiting; turns > 0 && waiting > 0 && fits(0) && inFlight < limits.inFlight; turns--) {
      if (lines[0]?.size === 0 && heldBack()) break;
      const turn = lines[nextLine()]?.shift();
      if (turn === undefined) break;
      waiting--;
      turn();
    }
    serving = false;
    if (waiting > 0 && starts > before && inFlight < limits.inFlight) schedule();
  }

  return {
    take(line, bytes) {
      const isFirst = waiting === 0 || (line === 'interactive' && lines[0]?.size === 0 && heldBack());
      return isFirst && takeTurn(line, bytes);
    },
    takeTurn,
    giveBack(bytes) {
      inFlight--;
      bytesInFlight -= bytes;
      if (waiting > 0) serve();
    },
    wait(line, turn) {
      lines[LINES.indexOf(line)]?.push(turn);
      waiting++;
      // With nothing under way no one would ever give a place back; with little, perhaps not for a minute.
      if (inFlight === 0) queueMicrotask(serve);
      else if (inFlight < limits.inFlight) schedule();
    },
    get inFlight() {
      return inFlight;
    },
  };
}
