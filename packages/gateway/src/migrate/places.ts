/**
 * Where in the other log each event stands now. Held as runs, in which both positions count up by one: a log of millions of
 * events without gaps is one of them. Positions that are no numbers are runs of one.
 */
import type { Position } from '../ports/log.ts';

export interface Place {
  readonly shard: string;
  readonly position: Position;
}

export interface Places {
  /** In the order of `from`, but for strays: those are of no place of the former log, and stand before everything. */
  add(from: Position, to: Place, isStray?: boolean): void;
  /** Of exactly this event. */
  of(from: Position): Place | undefined;
  /** Per shard the last event that stood at or before this place; of a shard where none did, where the migration began. */
  through(from: Position): ReadonlyMap<string, Position>;
}

interface Run {
  readonly from: Position;
  readonly to: Position;
  count: number;
}

/** `begins`: per shard, what stood there before the first event that was moved. */
export function createPlaces(begins: ReadonlyMap<string, Position>): Places {
  const runs = new Map<string, Run[]>([...begins.keys()].map((shard) => [shard, []]));
  const strays = new Map<Position, Place>();
  const floors = new Map(begins);

  function runsOf(shard: string): Run[] {
    return runs.getOrInsertComputed(shard, () => []);
  }

  return {
    add(from, to, isStray = false) {
      if (isStray) {
        strays.set(from, to);
        floors.set(to.shard, to.position);
        return;
      }
      const own = runsOf(to.shard);
      const last = own.at(-1);
      if (last !== undefined && isNext(last.from, last.count, from) && isNext(last.to, last.count, to.position)) last.count++;
      else own.push({ from, to: to.position, count: 1 });
    },
    of(from) {
      for (const [shard, own] of runs) {
        const [run, at] = lastThrough(own, from);
        if (run !== undefined && plus(run.from, at) === from) return { shard, position: plus(run.to, at) };
      }
      return strays.get(from);
    },
    through(from) {
      const places = new Map(floors);
      for (const [shard, own] of runs) {
        const [run, at] = lastThrough(own, from);
        if (run !== undefined) places.set(shard, plus(run.to, at));
      }
      return places;
    },
  };
}

/** The last run that begins at or before `from`, and how far in it `from` reaches. */
function lastThrough(runs: readonly Run[], from: Position): readonly [run: Run | undefined, at: number] {
  const index = lastWhere(runs.length, (i) => (runs[i] as Run).from <= from);
  const run = runs[index];
  return run === undefined ? [undefined, 0] : [run, lastWhere(run.count, (i) => plus(run.from, i) <= from)];
}

/** The last of 0 … count - 1 that is so, where all before it are; -1 where none is. */
function lastWhere(count: number, isSo: (index: number) => boolean): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isSo(middle)) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

function isNext(first: Position, count: number, position: Position): boolean {
  return position.length === first.length && DIGITS.test(first) && plus(first, count) === position;
}

/** No larger number loses its last digit. */
const DIGITS = /^(?:\d{1,15}|0\d{15})$/;

function plus(position: Position, count: number): Position {
  return count === 0 ? position : String(Number(position) + count).padStart(position.length, '0');
}
