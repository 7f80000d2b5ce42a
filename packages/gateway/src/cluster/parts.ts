/**
 * Which slots move: rules that every node applies alike to the table of nodes, so that nobody has to lead.
 *
 * A node weighs what it delivers in a second and something for each of its slots: where nothing is delivered, all have equally many.
 *
 *   Who comes new, which is to say has far less to do than others and no more slots than half an equal part, is given that part at
 *   once, a cross-section of what those have that have more than theirs.
 *   Else who is clearly heavier than the lightest node gives it slots that together weigh about half the difference, the heaviest
 *   that fit first, and a few in a round. That makes the pair more equal and never turns it round, so it comes to an end. A slot that
 *   weighs about as much as the difference would only change places with it: it stays, and what is too little beside it stays too.
 *   What is free is taken by whoever is lightest, slot for slot, each taken to weigh what slots weigh on average.
 *
 * What a node says of itself may be wrong: nonsense counts as unknown (as much as others have), and nobody has more than twice an
 * equal part by count, which also bounds the memory of one node and what is to be taken when it dies.
 */
import { SLOTS } from '../lanes/subscriber.ts';

export interface NodeLoad {
  readonly node: string;
  readonly slots: number;
  /** Deliveries begun in a second. */
  readonly load: number;
}

/** A slot without deliveries weighs as one a second: an idle cluster shares by count, a busy one hardly looks at it. */
const SLOT_WEIGHT = 1;
/** A part of what the heavier node delivers: below it a difference may be chance, and moving costs a pause. */
const TOLERANCE = 0.25;
/** Who weighs less than this part of another, and has no more than this part of an equal number of slots, is new. */
const NEW = 0.5;
/** Given by load in one round: while a slot moves nothing of it is sent, and after so many it is measured again. */
const MOVES_MAX = 8;
/** Parts of a difference: what moves must take away at least half of it, or will in a few rounds. */
const [MOVED_MIN, MOVED_MAX] = [0.25, 0.75];
/** Equal parts by count that one node may have. */
const PARTS_MAX = 2;
/** Above what any node can do; also said by one that stops, which is to be given nothing. */
export const LOAD_MAX = 1e9;

/** As the nodes said, where it can be: what is no load counts as that of others. */
export function soundLoads(rows: readonly NodeLoad[]): NodeLoad[] {
  const isSound = ({ load }: NodeLoad): boolean => load >= 0 && load <= LOAD_MAX;
  const unknown = medianLoad(rows.filter(isSound));
  return rows.map((row) => (isSound(row) ? row : { ...row, load: unknown }));
}

/** The middle one: one node that says nonsense does not move it far. */
export function medianLoad(rows: readonly NodeLoad[]): number {
  const loads = rows.map(({ load }) => load).toSorted((a, b) => a - b);
  return loads[Math.floor((loads.length - 1) / 2)] ?? 0;
}

/** An equal part by count: what does not divide goes to the first by name. */
export function equalPart(node: string, rows: readonly NodeLoad[]): number {
  const names = rows.map((one) => one.node).toSorted();
  return Math.floor(SLOTS / names.length) + (names.indexOf(node) < SLOTS % names.length ? 1 : 0);
}

/** As many as a node may have, whatever it says of its load. */
export function slotsMax(node: string, rows: readonly NodeLoad[]): number {
  return PARTS_MAX * equalPart(node, rows);
}

interface Surplus {
  /** This node's own, as it knows it now. */
  readonly mine: NodeLoad;
  /** All nodes, this one among them. */
  readonly rows: readonly NodeLoad[];
  /** Slots that nobody has. */
  readonly free: number;
  /** This node's slots, each with its deliveries in a second. */
  readonly rates: ReadonlyMap<number, number>;
  /** Whether the loads of all of this node's slots are known. */
  readonly isMeasured: boolean;
}

/** The slots that this node gives back in this round. */
export function surplusOf(surplus: Surplus): number[] {
  const { mine, rows, free, rates, isMeasured } = surplus;
  const forNew = lackOfNew(surplus);
  if (forNew > 0) return crossSection(rates, forNew);
  // Where some are on their way, the table does not say yet who is how heavy.
  if (!isMeasured || free > 0) return [];
  const mayHaveMore = rows.filter((row) => row.node !== mine.node && row.slots < slotsMax(row.node, rows));
  const to = lightest(mayHaveMore);
  if (to === undefined) return [];
  const difference = weightOf(mine) - weightOf(to);
  if (difference <= SLOT_WEIGHT + TOLERANCE * mine.load) return [];
  const room = Math.min(MOVES_MAX, slotsMax(to.node, rows) - to.slots);
  return closestToHalf(rates, difference).slice(0, room);
}

/** Of `free`, in order, those that are this node's to take. */
export function shareOfFree(node: string, rows: readonly NodeLoad[], free: readonly number[]): number[] {
  const going = rows.filter(({ load }) => load < LOAD_MAX);
  const sum = (of: (row: NodeLoad) => number): number => going.reduce((total, row) => total + of(row), 0);
  const average =
    sum(({ load }) => load) /
    Math.max(
      1,
      sum(({ slots }) => slots),
    );
  const now = new Map(rows.map((row) => [row.node, row]));
  return free.filter(() => {
    const to = lightest([...now.values()].filter((row) => row.slots < slotsMax(row.node, rows)));
    if (to === undefined) return false;
    now.set(to.node, { ...to, slots: to.slots + 1, load: to.load + average });
    return to.node === node;
  });
}

const weightOf = ({ slots, load }: NodeLoad): number => load + slots * SLOT_WEIGHT;

function lightest(rows: readonly NodeLoad[]): NodeLoad | undefined {
  return rows.reduce<NodeLoad | undefined>((least, row) => {
    if (least === undefined) return row;
    const more = weightOf(row) - weightOf(least);
    return more < 0 || (more === 0 && row.node < least.node) ? row : least;
  }, undefined);
}

/** How many slots new nodes are to have of this one: as much of what they lack as it has of what is too much anywhere. */
function lackOfNew({ mine, rows, free }: Surplus): number {
  const overOf = (row: NodeLoad): number => Math.max(0, row.slots - equalPart(row.node, rows));
  const over = overOf(mine);
  if (over === 0) return 0;
  const lacking = rows
    .map((row) => ({ ...row, equal: equalPart(row.node, rows) }))
    .filter((row) => weightOf(row) < NEW * weightOf(mine) && row.slots <= NEW * row.equal)
    .reduce((sum, { equal, slots }) => sum + equal - slots, -free);
  const overAll = rows.reduce((sum, row) => sum + overOf(row), 0);
  return Math.min(over, Math.max(0, Math.ceil((lacking * over) / overAll)));
}

/** From the heaviest to the lightest, evenly: their part of the load is about their part of the slots. */
function crossSection(rates: ReadonlyMap<number, number>, count: number): number[] {
  const slots = byWeight(rates);
  return Array.from({ length: count }, (_, at) => slots[Math.floor(((at + 0.5) * slots.length) / count)]!.slot);
}

/** What, given in all, takes away about half of the difference; nothing where that can't be. */
function closestToHalf(rates: ReadonlyMap<number, number>, difference: number): number[] {
  const slots = byWeight(rates);
  const given: number[] = [];
  let sum = 0;
  for (const { slot, weight } of slots) {
    if (sum + weight > difference / 2) continue;
    sum += weight;
    given.push(slot);
  }
  // One that weighs more than half may come closer.
  const one = slots.findLast(({ weight }) => weight > difference / 2 && weight <= difference * MOVED_MAX);
  if (one !== undefined && one.weight - difference / 2 < difference / 2 - sum) return [one.slot];
  return sum >= difference * MOVED_MIN ? given : [];
}

function byWeight(rates: ReadonlyMap<number, number>): { readonly slot: number; readonly weight: number }[] {
  const slots = [...rates].map(([slot, rate]) => ({ slot, weight: rate + SLOT_WEIGHT }));
  return slots.toSorted((a, b) => b.weight - a.weight || a.slot - b.slot);
}
