/**
 * The ledger once more, built from the commits that were applied, with every row tied to its event. Says what a commit
 * touched, so that the invariants look only there.
 */
import { decodeEvent } from '@millrace/core/event-bytes';
import type { AttemptRow, Commit, Cursor, DeadLetter, LanePosition, ParkedRow } from '@millrace/gateway/ports/ledger';
import type { Position } from '@millrace/gateway/ports/log';
import type { Fact, Facts, Hint } from './facts.ts';
import type { Delivery, LaneFact, Lanes } from './lanes.ts';

/** A stored cursor with the generation of the log it was read from. */
export interface Stand {
  readonly cursor: Cursor;
  readonly generation: number;
}

export interface Touched {
  readonly lanes: ReadonlySet<LaneFact>;
  readonly attempts: readonly { readonly delivery: Delivery; readonly row: AttemptRow; readonly repeated: boolean }[];
  readonly parked: readonly { readonly delivery: Delivery; readonly row: ParkedRow; readonly before: ParkedRow | undefined }[];
  readonly unparked: readonly { readonly delivery: Delivery; readonly row: ParkedRow }[];
  readonly buried: readonly { readonly delivery: Delivery; readonly letter: DeadLetter; readonly redriven: boolean }[];
  readonly ranges: readonly { readonly lane: LaneFact; readonly letter: DeadLetter }[];
  readonly unburied: readonly { readonly delivery: Delivery; readonly letter: DeadLetter }[];
  /** Dead letters of one event that a range took the place of. */
  readonly overwritten: readonly { readonly delivery: Delivery; readonly letter: DeadLetter }[];
  /** Rows that name no event that ever was. */
  readonly strangers: readonly string[];
}

export interface Mirror {
  apply(commit: Commit): Touched;
  /** Starts again from nothing. */
  clear(): void;
  laneStand(lane: string, shard: string): Stand | undefined;
  slotStand(slot: number, shard: string): Stand | undefined;
  /** By subscription (uid), over all its lanes. */
  open(uid: string): {
    readonly parked: number;
    readonly parkedBytes: number;
    readonly held: number;
    readonly deadLetters: number;
  };
  letters(uid: string): readonly DeadLetter[];
  letter(id: string): DeadLetter | undefined;
  /** Deliveries that wait for their next attempt. */
  parked(uid: string): readonly ParkedRow[];
}

export const nameOf = (...parts: readonly (string | number)[]): string => parts.join(' ');

/** What a person asked for: dead letters to be removed or redriven, by id; deliveries to be tried again, by place. */
export interface Asked {
  readonly discards: ReadonlySet<string>;
  readonly redrives: ReadonlySet<string>;
  readonly retries: ReadonlySet<string>;
}

export function createMirror(facts: Facts, lanes: Lanes, asked: Asked): Mirror {
  const stands = new Map<string, Stand>();
  const slots = new Map<string, Stand>();
  const parked = new Map<string, Delivery>();
  const firstSeen = new Map<string, number>();
  const letters = new Map<string, { readonly letter: DeadLetter; readonly delivery: Delivery | undefined }>();

  /** A cursor that is written again, unchanged, still speaks of the log it was read from. */
  function stand(cursor: Cursor): Stand {
    const name = nameOf(cursor.log, cursor.position, cursor.timeMs, cursor.idHash);
    return { cursor, generation: firstSeen.getOrInsert(name, facts.generation) };
  }

  function factOf({ shard, position }: LanePosition, hint: Hint): Fact | undefined {
    return facts.at(shard, position, hint);
  }

  function drop(commit: Commit, touched: Building): void {
    for (const name of commit.dropLanes ?? []) forgetLane((lane) => lane === name, touched);
    for (const uid of commit.dropSubscriptions ?? []) {
      forgetLane((lane) => lane.startsWith(`${uid}.`), touched);
      for (const [id, { letter }] of letters) if (letter.lane.startsWith(`${uid}.`)) letters.delete(id);
    }
  }

  function forgetLane(isMeant: (lane: string) => boolean, touched: Building): void {
    for (const name of stands.keys()) if (isMeant(name.split(' ')[0]!)) stands.delete(name);
    for (const [name, delivery] of parked) if (isMeant(delivery.lane.name)) takeParked(name, touched);
  }

  function takeParked(name: string, touched: Building): void {
    const delivery = parked.get(name);
    if (delivery?.parked === undefined) return;
    touched.unparked.push({ delivery, row: delivery.parked });
    touched.lanes.add(delivery.lane);
    delivery.parked = undefined;
    parked.delete(name);
  }

  function remove(commit: Commit, touched: Building): void {
    for (const { lane, shard, position } of commit.unpark ?? []) takeParked(nameOf(lane, shard, position), touched);
    for (const { lane, shard } of commit.idle ?? []) {
      stands.delete(nameOf(lane, shard));
      const known = lanes.named(lane);
      if (known !== undefined) touched.lanes.add(known);
    }
    for (const id of commit.unbury ?? []) unbury(id, commit, touched);
  }

  /** Redriven where the same commit parks it again, as one letter may be redriven, come again, and be discarded. */
  function unbury(id: string, { park: rows = [] }: Commit, touched: Building): void {
    const known = letters.get(id);
    letters.delete(id);
    if (known?.delivery === undefined) return;
    known.delivery.dead = undefined;
    const { lane, shard, position } = known.letter;
    const isRedriven = rows.some((row) => row.lane === lane && row.shard === shard && row.position === position);
    if (!isRedriven && asked.discards.has(id)) known.delivery.discarded = true;
    else
      Object.assign(known.delivery, {
        redriving: true,
        redrivenAfter: known.letter.attempts,
        redrivenWithBytes: known.letter.kept !== undefined,
      });
    touched.unburied.push({ delivery: known.delivery, letter: known.letter });
    touched.lanes.add(known.delivery.lane);
  }

  function touch(name: string, touched: Building): LaneFact | undefined {
    const lane = lanes.named(name);
    if (lane === undefined) touched.strangers.push(`lane ${name}`);
    else touched.lanes.add(lane);
    return lane;
  }

  function deliveryOf(row: LanePosition, hint: Hint, touched: Building): Delivery | undefined {
    const lane = touch(row.lane, touched);
    const fact = factOf(row, hint);
    if (fact === undefined) touched.strangers.push(`${row.lane} ${row.shard} ${row.position} ${hint.id ?? ''}`);
    return lane && fact && lanes.delivery(lane, fact);
  }

  function add(commit: Commit, touched: Building): void {
    for (const row of commit.attempts ?? []) attempted(row, touched);
    for (const row of commit.park ?? []) park(row, touched);
    for (const letter of commit.bury ?? []) bury(letter, touched);
    for (const { lane, shard, cursor } of commit.lanes ?? []) {
      // A subscription's cursors come before the subscription itself.
      const known = lanes.named(lane);
      if (known !== undefined) touched.lanes.add(known);
      stands.set(nameOf(lane, shard), stand(cursor));
    }
    for (const { slot, shard, cursor } of commit.slots ?? []) slots.set(nameOf(slot, shard), stand(cursor));
  }

  function attempted(row: AttemptRow, touched: Building): void {
    const delivery = deliveryOf(row, { id: row.eventId }, touched);
    if (delivery === undefined) return;
    const repeated = delivery.attempts.some(({ n, startedMs }) => n === row.n && startedMs === row.startedMs);
    if (!repeated) delivery.attempts.push(row);
    if (row.outcome === 'delivered') {
      delivery.delivered = true;
      delivery.redriving = false;
    }
    touched.attempts.push({ delivery, row, repeated });
  }

  function park(row: ParkedRow, touched: Building): void {
    const id = row.kept === undefined ? {} : { id: decodeEvent(row.kept.bytes).id };
    const idHash = row.idHash === '' ? {} : { idHash: row.idHash };
    const delivery = deliveryOf(row, { timeMs: row.timeMs, ...id, ...idHash }, touched);
    if (delivery === undefined) return;
    // Settled before the person's wish was read: then it is the wish that sends it once more.
    if (delivery.delivered && asked.retries.has(nameOf(row.lane, row.shard, row.position))) {
      Object.assign(delivery, {
        delivered: false,
        redriving: true,
        redrivenAfter: delivery.attempts.length,
        redrivenWithBytes: row.kept !== undefined,
      });
    }
    touched.parked.push({ delivery, row, before: delivery.parked });
    delivery.parked = row;
    parked.set(nameOf(row.lane, row.shard, row.position), delivery);
  }

  function bury(letter: DeadLetter, touched: Building): void {
    const lane = touch(letter.lane, touched);
    const before = letters.get(letter.id);
    if (before?.delivery !== undefined && letter.range !== undefined) {
      before.delivery.dead = undefined;
      touched.overwritten.push({ delivery: before.delivery, letter });
    }
    if (letter.range !== undefined) {
      letters.set(letter.id, { letter, delivery: undefined });
      if (lane !== undefined) touched.ranges.push({ lane, letter });
      return;
    }
    const delivery =
      lostFrom(letter, touched) ??
      deliveryOf(letter, letter.eventId === '' ? { timeMs: letter.timeMs } : { id: letter.eventId }, touched);
    letters.set(letter.id, { letter, delivery });
    if (delivery === undefined) return;
    delivery.dead = letter;
    touched.buried.push({ delivery, letter, redriven: delivery.redriving });
    delivery.redriving = false;
  }

  /** Of an event that the log lost the letter says the place and time only: the row it takes the place of knows more. */
  function lostFrom({ eventId, lane, shard, position }: DeadLetter, { unparked }: Building): Delivery | undefined {
    if (eventId !== '') return undefined;
    return unparked.find(({ row }) => row.lane === lane && row.shard === shard && row.position === position)?.delivery;
  }

  return {
    apply(commit) {
      const touched: Building = {
        lanes: new Set(),
        attempts: [],
        parked: [],
        unparked: [],
        buried: [],
        ranges: [],
        unburied: [],
        overwritten: [],
        strangers: [],
      };
      drop(commit, touched);
      remove(commit, touched);
      add(commit, touched);
      return touched;
    },
    clear() {
      stands.clear();
      slots.clear();
      parked.clear();
      letters.clear();
      lanes.forgetLedger();
    },
    laneStand: (lane, shard) => stands.get(nameOf(lane, shard)),
    slotStand: (slot, shard) => slots.get(nameOf(slot, shard)),
    open(uid) {
      const rows = [...parked.values()].filter(({ lane }) => lane.subscription.uid === uid).map((delivery) => delivery.parked!);
      const waiting = rows.filter(({ state }) => state === 'parked');
      return {
        parked: waiting.length,
        parkedBytes: waiting.reduce((sum, { size }) => sum + size, 0),
        held: rows.length - waiting.length,
        deadLetters: [...letters.values()].filter(({ letter }) => letter.range === undefined && letter.lane.startsWith(`${uid}.`))
          .length,
      };
    },
    parked: (uid) =>
      [...parked.values()]
        .filter(({ lane, parked: row }) => lane.subscription.uid === uid && row?.state === 'parked')
        .map(({ parked: row }) => row!),
    letter: (id) => letters.get(id)?.letter,
    letters: (uid) => [...letters.values()].map(({ letter }) => letter).filter(({ lane }) => lane.startsWith(`${uid}.`)),
  };
}

interface Building {
  lanes: Set<LaneFact>;
  attempts: { delivery: Delivery; row: AttemptRow; repeated: boolean }[];
  parked: { delivery: Delivery; row: ParkedRow; before: ParkedRow | undefined }[];
  unparked: { delivery: Delivery; row: ParkedRow }[];
  buried: { delivery: Delivery; letter: DeadLetter; redriven: boolean }[];
  ranges: { lane: LaneFact; letter: DeadLetter }[];
  unburied: { delivery: Delivery; letter: DeadLetter }[];
  overwritten: { delivery: Delivery; letter: DeadLetter }[];
  strangers: string[];
}

/** Whether a stored cursor says that an event was passed. One of a log that is gone says nothing about later events. */
export function passes(
  { cursor, generation }: Stand,
  fact: { readonly position: Position; readonly generation: number },
): boolean {
  return fact.generation <= generation && fact.position <= cursor.position;
}
