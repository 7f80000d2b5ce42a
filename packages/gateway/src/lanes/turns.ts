/**
 * Turns: the process's bound on deliveries under way, shared fairly. While there is room everybody starts at once; when
 * it is full, lanes stand in lines (interactive, standard, bulk, replay) and each start is one lane's turn. A line in
 * front goes first, but one that was passed over nine times is served: everybody has at least a tenth.
 */
import { createDeque } from '../deque.ts';
import type { Limits } from '../limits.ts';
import type { LatencyClass } from '../ports/directory.ts';

export type Line = LatencyClass | 'replay';

export interface Turns {
  /** Takes a place for a body of `bytes`; false when there is none, or others stand in line for it. */
  take(bytes: number): boolean;
  /** Gives the place back and lets those in line have their turns. */
  giveBack(bytes: number): void;
  /** Calls `turn` once when it is this caller's turn: it either uses `takeTurn` or leaves. */
  wait(line: Line, turn: () => void): void;
  /** As take, but without regard to those in line: only inside a turn. */
  takeTurn(bytes: number): boolean;
  readonly inFlight: number;
}

const LINES: readonly Line[] = ['interactive', 'standard', 'bulk', 'replay'];
const PASSED_OVER_MAX = 9;

export function createTurns({ limits }: { limits: Limits }): Turns {
  const lines = LINES.map(() => createDeque<() => void>());
  const passedOver = LINES.map(() => 0);
  let inFlight = 0;
  let bytesInFlight = 0;
  let waiting = 0;
  let serving = false;

  const fits = (bytes: number): boolean =>
    inFlight === 0 || (inFlight < limits.inFlight && bytesInFlight + bytes <= limits.inFlightBytes);

  function takeTurn(bytes: number): boolean {
    if (!fits(bytes)) return false;
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

  /** A turn may end without a start, and a lane that can't start stands in line again: serve each at most once a round. */
  function serve(): void {
    if (serving) return;
    serving = true;
    for (let turns = waiting; turns > 0 && waiting > 0 && fits(0) && inFlight < limits.inFlight; turns--) {
      const turn = lines[nextLine()]?.shift();
      if (turn === undefined) break;
      waiting--;
      turn();
    }
    serving = false;
  }

  return {
    take: (bytes) => waiting === 0 && takeTurn(bytes),
    takeTurn,
    giveBack(bytes) {
      inFlight--;
      bytesInFlight -= bytes;
      if (waiting > 0) serve();
    },
    wait(line, turn) {
      lines[LINES.indexOf(line)]?.push(turn);
      waiting++;
      // With nothing under way no one would ever give a place back.
      if (inFlight === 0) queueMicrotask(serve);
    },
    get inFlight() {
      return inFlight;
    },
  };
}
