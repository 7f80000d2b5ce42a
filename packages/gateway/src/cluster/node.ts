/**
 * A node of a cluster: renews its lease, takes its part of the slots, gives back what is too much, and lets go at once of what it
 * may not count on any more. Every node does the same by the same table; nobody leads.
 *
 * The lease is counted from before it was asked for, on the monotonic clock: when it is over and was not renewed, nothing is sent any
 * more, whoever is right about the time. What was owned is not given up by that: when the lease is renewed and nobody made use of
 * the time in between, the node goes on with it, so a minute without the store moves nothing.
 */
import { Problem } from '@millrace/core/problem';
import type { Slots } from '../api.ts';
import { SLOTS } from '../lanes/subscriber.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type { Fence, Leases, NodeRow, SlotOwner } from '../ports/leases.ts';

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
  /** Lets everything end, writes it down and gives it back. */
  stop(): Promise<void>;
  /** Ends as a crash would. */
  abandon(): void;
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
  /** How much there is to do: what nodes are compared by. */
  readonly load: () => number;
  /** Before slots are worked that were another's. */
  readonly onTaken: (slots: Iterable<number>) => void;
  /** It is known what was written about them. */
  readonly onBegun: (slots: Iterable<number>) => void;
  readonly onNotice: (notice: NodeNotice) => void;
}

/** Renewals of one lease: two may fail. */
const ROUNDS_PER_LEASE = 3;

export function createNode({ node, leases, held, slots, clock, leaseMs, load, onTaken, onBegun, onNotice }: Needs): Node {
  /** Slots that are worked now: what is held, but while the lease is over. */
  const worked = new Set<number>();
  let addresses = new Map<number, string>();
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

  async function renewOnce(): Promise<void> {
    const askedMs = clock.monotonic();
    // What is taken while it is asked is in no answer to it.
    const asked = [...held];
    const fences = new Map((await leases.renew(load())).map((fence) => [fence.slot, fence]));
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
  }

  async function take(wanted: readonly number[]): Promise<void> {
    if (wanted.length === 0) return;
    for (const fence of await leases.take(wanted)) held.set(fence.slot, fence);
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
    if (!mayGoOn()) return;
    // Taken by a call whose answer was lost: the store says that they are ours, and nobody else would work them.
    await take(owners.filter((one) => one.covered && one.owner === node && !held.has(one.slot)).map(({ slot }) => slot));
    if (clock.monotonic() >= patientUntilMs) {
      const part = partOf(node, nodes);
      if (mayGoOn()) await giveBack([...held.keys()].slice(part));
      if (mayGoOn()) await take(freeSlots(owners, held).slice(0, Math.max(0, part - held.size)));
    }
    if (mayGoOn()) await work([...held.keys()]);
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
    timer = clock.after(leaseMs / ROUNDS_PER_LEASE, () => {
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
    async stop() {
      if (state !== 'running') return;
      state = 'stopping';
      await round;
      await slots.leave(new Set(worked));
      await leases.leave().catch(() => undefined); // then others wait for the end of the lease
      ended();
    },
    abandon: ended,
  };
}

/** How many slots are this node's part: 128 shared by the nodes whose lease runs, what is over going to the first by name. */
function partOf(node: string, nodes: readonly NodeRow[]): number {
  const names = nodes.filter(({ leftMs }) => leftMs > 0).map((one) => one.node);
  if (!names.includes(node)) names.push(node);
  const at = names.toSorted().indexOf(node);
  return Math.floor(SLOTS / names.length) + (at < SLOTS % names.length ? 1 : 0);
}

/** Each node looks from another place, so that two that look at once rarely ask for the same. */
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
