/**
 * A node of a cluster: renews its lease, takes its part of the slots, gives back what is too much, and lets go at once of what it
 * may not count on any more. Every node does the same by the same table; nobody leads. Which slots these are is in parts.ts.
 *
 * What slots weigh only who works them knows (meter.ts); the table has one load of each node. A node that has taken slots says that
 * it has at least as much to do as others until it has measured them, so that nobody gives it more meanwhile, and gives nothing by load.
 *
 * The lease is counted from before it was asked for, on the monotonic clock: when it is over and was not renewed, nothing is sent any
 * more, whoever is right about the time. What was owned is not given up by that: when the lease is renewed and nobody made use of
 * the time in between, the node goes on with it, so a minute without the store moves nothing.
 */
import { Problem } from '@millrace/core/problem';
import type { Slots } from '../api.ts';
import { atMost } from '../at-most.ts';
import { SLOTS } from '../lanes/subscriber.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type { Fence, Leases, NodeRow, SlotOwner } from '../ports/leases.ts';
import { createMeter } from './meter.ts';
import { LOAD_MAX, medianLoad, type NodeLoad, shareOfFree, slotsMax, soundLoads, surplusOf } from './parts.ts';

export interface Node {
  /** Resolves after the first round: the node has a lease, and what slots were free. */
  start(): Promise<void>;
  /** Finds out at once what this node still has, and lets go of the rest. Rejects when that can't be told. */
  renew(): Promise<void>;
  /** Whether others may count on this node: its timers may be late to tell that they can't any more. */
  hasLease(): boolean;
  /** Lets go of what is worked, where the lease is over and nobody has noticed yet. */
  expire(): void;
  /** Where the owner of a slot is reached; undefined where nobody works it now. */
  addressOf(slot: number): string | undefined;
  /** Resolves when another answer of `addressOf`, or another from there, may be had: this node has looked at the table, or works more. */
  changed(): Promise<void>;
  /** How many slots it works, and how much it delivers. */
  readonly work: NodeWork;
  /** Lets everything end, writes it down and gives it back. */
  stop(): Promise<void>;
  /** Ends as a crash would. */
  abandon(): void;
}

export interface NodeWork {
  readonly slots: number;
  /** Deliveries begun in a second, over about a minute. */
  readonly load: number;
}

export type NodeNotice =
  /** It can't renew (a code), or could again. */
  | { readonly kind: 'lease_failing'; readonly code: string | undefined }
  /** The lease ended: nothing is sent until it is renewed. */
  | { readonly kind: 'lease_over' }
  | { readonly kind: 'slots_taken' | 'slots_left' | 'slots_lost'; readonly count: number; readonly now: number };

interface Needs {
  readonly node: string;
  readonly leases: Leases;
  /** Filled here, for whoever fences commits. */
  readonly held: Map<number, Fence>;
  readonly slots: Slots;
  readonly clock: Clock;
  readonly leaseMs: number;
  /** Before slots are worked that were another's. */
  readonly onTaken: (slots: Iterable<number>) => void;
  /** It is known what was written about them. */
  readonly onBegun: (slots: Iterable<number>) => void;
  readonly onNotice: (notice: NodeNotice) => void;
}

/** Renewals of one lease: two may fail. */
const ROUNDS_PER_LEASE = 3;
/** What was taken is measured for so long, the first round left out: enough to know a slot that matters. */
const MEASURED_ROUNDS = 6;
/** In so many rounds whoever is to take a slot has taken it; then it can't, or sees another table, and anybody does. */
const FREE_ROUNDS_MAX = 2;

export function createNode({ node, leases, held, slots, clock, leaseMs, onTaken, onBegun, onNotice }: Needs): Node {
  const roundMs = leaseMs / ROUNDS_PER_LEASE;
  const meter = createMeter({ clock, started: slots.started });
  /** Slots that are worked now: what is held, but while the lease is over. */
  const worked = new Set<number>();
  let addresses = new Map<number, string>();
  /** This node's own, as the table has it. */
  let address = '';
  let look = Promise.withResolvers<void>();
  /** All nodes, as the table had them last. */
  let rows: readonly NodeLoad[] = [];
  /** For how many rounds these were seen free before. */
  let freeRounds = new Map<number, number>();
  let measuredAtMs = -Infinity;
  let timer: Timer | undefined;
  let end: Timer | undefined;
  let failing: string | undefined;
  let isOver = false;
  /** Of the lease, on the monotonic clock. */
  let endMs = -Infinity;
  /** Until then nothing of others is taken. */
  let patientUntilMs = -Infinity;
  let state: 'running' | 'stopping' | 'ended' = 'running';
  let round = Promise.resolve();
  let renewing: Promise<void> | undefined;

  function lose(gone: readonly number[]): void {
    if (gone.length === 0) return;
    for (const slot of gone) {
      held.delete(slot);
      worked.delete(slot);
    }
    slots.lose(new Set(gone));
    onNotice({ kind: 'slots_lost', count: gone.length, now: held.size });
  }

  /** Nobody may count on this node any more. What it holds it may still have when it is back. */
  function leaseOver(): void {
    isOver = true;
    slots.lose(new Set(held.keys()));
    worked.clear();
    onNotice({ kind: 'lease_over' });
  }

  const measured = (): number => held.keys().reduce((sum, slot) => sum + meter.rateOf(slot), 0);
  const isMeasured = (): boolean => clock.monotonic() >= measuredAtMs;

  /** What others compare this node by. */
  function said(): number {
    if (state === 'stopping') return LOAD_MAX;
    return isMeasured() ? measured() : Math.max(measured(), medianLoad(rows.filter((row) => row.node !== node)));
  }

  async function renewOnce(): Promise<void> {
    meter.read();
    const askedMs = clock.monotonic();
    // What is taken while it is asked is in no answer to it.
    const asked = [...held];
    const fences = new Map((await leases.renew(said())).map((fence) => [fence.slot, fence]));
    if (state === 'ended') return;
    // Whoever is the first to reach the store again finds that all others' leases are over: they come back as well.
    if (isOver) patientUntilMs = clock.monotonic() + leaseMs;
    isOver = false;
    end?.cancel();
    endMs = askedMs + leaseMs;
    end = clock.after(Math.max(0, endMs - clock.monotonic()), leaseOver);
    const isLost = ([slot, { token }]: (typeof asked)[number]): boolean =>
      fences.get(slot)?.token !== token && held.get(slot)?.token === token;
    lose(asked.filter(isLost).map(([slot]) => slot));
  }

  /** One at a time: whoever asks while it is asked has the same answer. */
  function renew(): Promise<void> {
    return (renewing ??= renewOnce().finally(() => (renewing = undefined)));
  }

  async function work(taken: readonly number[]): Promise<void> {
    const fresh = taken.filter((slot) => !worked.has(slot));
    if (fresh.length === 0) return;
    for (const slot of fresh) worked.add(slot);
    onTaken(fresh);
    try {
      await slots.take(new Set(fresh), () => onBegun(fresh));
    } catch (error) {
      // What can't be read now the next round tries again, from the beginning.
      for (const slot of fresh) worked.delete(slot);
      slots.lose(new Set(fresh));
      throw error;
    }
    const gone = fresh.filter((slot) => !worked.has(slot));
    if (gone.length > 0) slots.lose(new Set(gone));
    onNotice({ kind: 'slots_taken', count: fresh.length, now: held.size });
    for (const slot of fresh) if (worked.has(slot)) addresses.set(slot, address);
    tellLook();
  }

  function tellLook(): void {
    look.resolve();
    look = Promise.withResolvers();
  }

  async function take(wanted: readonly number[]): Promise<void> {
    if (wanted.length === 0) return;
    const taken = await leases.take(wanted);
    for (const fence of taken) held.set(fence.slot, fence);
    if (taken.length === 0) return;
    meter.begin(
      taken.map(({ slot }) => slot),
      roundMs,
    );
    measuredAtMs = clock.monotonic() + MEASURED_ROUNDS * roundMs;
    // Others are to know before they look next. Where it can't be said now, the next round says it.
    await renew().catch(() => undefined);
  }

  async function giveBack(surplus: readonly number[]): Promise<void> {
    if (surplus.length === 0) return;
    for (const slot of surplus) worked.delete(slot);
    await slots.leave(new Set(surplus));
    await leases.release(surplus);
    // Only now: where the answer was lost the slot is still here to be looked after.
    for (const slot of surplus) held.delete(slot);
    onNotice({ kind: 'slots_left', count: surplus.length, now: held.size });
  }

  /** Each step waits for others; where the lease is over meanwhile the round ends. */
  async function turn(): Promise<void> {
    await renew();
    const [nodes, owners] = await Promise.all([leases.nodes(), leases.slots()]);
    addresses = addressesOf(nodes, owners);
    address = nodes.find((one) => one.node === node)?.address ?? address;
    tellLook();
    if (!mayGoOn()) return;
    // Taken by a call whose answer was lost: the store says that they are ours, and nobody else would work them.
    await take(owners.filter((one) => one.covered && one.owner === node && !held.has(one.slot)).map(({ slot }) => slot));
    const free = freeSlots(owners, held);
    rows = soundLoads(rowsOf(nodes, owners));
    if (mayGoOn() && clock.monotonic() >= patientUntilMs) await giveBack(surplus(free.length));
    if (mayGoOn() && clock.monotonic() >= patientUntilMs) await take(toTake(free));
    if (mayGoOn()) await work([...held.keys()]);
  }

  /** What others hold and said, as the table has it; what this node has, as it knows itself. */
  function rowsOf(nodes: readonly NodeRow[], owners: readonly SlotOwner[]): NodeLoad[] {
    const counts = Map.groupBy(owners, ({ owner = '', covered }) => (covered ? owner : ''));
    const others = nodes.filter((one) => one.leftMs > 0 && one.node !== node);
    return [
      ...others.map((one) => ({ node: one.node, slots: counts.get(one.node)?.length ?? 0, load: one.load })),
      { node, slots: held.size, load: said() },
    ];
  }

  function surplus(free: number): number[] {
    const mine = { node, slots: held.size, load: said() };
    const rates = new Map(held.keys().map((slot) => [slot, meter.rateOf(slot)]));
    return surplusOf({ mine, rows, free, rates, isMeasured: isMeasured() });
  }

  function toTake(free: readonly number[]): number[] {
    freeRounds = new Map(free.map((slot) => [slot, (freeRounds.get(slot) ?? -1) + 1]));
    const left = free.filter((slot) => (freeRounds.get(slot) ?? 0) >= FREE_ROUNDS_MAX);
    const wanted = new Set([...shareOfFree(node, rows, free), ...left]);
    return [...wanted].slice(0, Math.max(0, slotsMax(node, rows) - held.size));
  }

  const mayGoOn = (): boolean => !isOver && state === 'running';
  const hasLease = (): boolean => !isOver && clock.monotonic() < endMs;

  async function tried(): Promise<void> {
    try {
      await turn();
      if (failing !== undefined) onNotice({ kind: 'lease_failing', code: undefined });
      failing = undefined;
    } catch (error) {
      const code = error instanceof Problem ? error.code : String(error);
      if (code !== failing) onNotice({ kind: 'lease_failing', code });
      failing = code;
    }
  }

  function again(): void {
    if (state === 'ended') return;
    timer = clock.after(roundMs, () => {
      // A round that moves slots may take longer than a lease, and so may a stop: it is renewed beside them.
      if (isMoving || state === 'stopping')
        void renew()
          .catch(() => undefined)
          .finally(again);
      else go();
    });
  }

  let isMoving = false;
  function go(): void {
    isMoving = true;
    round = tried().finally(() => (isMoving = false));
    again();
  }

  function ended(): void {
    state = 'ended';
    timer?.cancel();
    end?.cancel();
  }

  return {
    async start() {
      await turn();
      again();
    },
    renew,
    hasLease,
    expire() {
      if (hasLease() || isOver || state === 'ended') return;
      end?.cancel();
      leaseOver();
    },
    addressOf: (slot) => addresses.get(slot),
    changed: () => look.promise,
    get work() {
      return { slots: worked.size, load: measured() };
    },
    async stop() {
      if (state !== 'running') return;
      state = 'stopping';
      // One that waits for what is away would never end; after a lease others go on anyway.
      await atMost(clock, leaseMs, round);
      await slots.leave(new Set(worked));
      await leases.leave().catch(() => undefined); // then others wait for the end of the lease
      ended();
    },
    abandon: ended,
  };
}

/** What this node does not have, and nobody whose lease runs. */
function freeSlots(owners: readonly SlotOwner[], held: ReadonlyMap<number, Fence>): number[] {
  const covered = new Set(owners.filter((one) => one.covered).map(({ slot }) => slot));
  return Array.from({ length: SLOTS }, (_, slot) => slot).filter((slot) => !covered.has(slot) && !held.has(slot));
}

function addressesOf(nodes: readonly NodeRow[], owners: readonly SlotOwner[]): Map<number, string> {
  const running = new Map(nodes.flatMap(({ node, address, leftMs }) => (leftMs > 0 ? [[node, address]] : [])));
  return new Map(
    owners.flatMap(({ slot, owner = '', covered }) => {
      const address = running.get(owner);
      return covered && address !== undefined ? [[slot, address]] : [];
    }),
  );
}
