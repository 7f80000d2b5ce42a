/**
 * The ledger as a node of a cluster writes it: every commit names the epochs of the slots it is about. What is about a slot that
 * is another's by now is left out, as the other goes on from what was written before; what is about all others is written.
 *
 * How far the shards were read is noted for each slot by itself (lanes/trust.ts has one such row for the whole process): nodes
 * read at their own pace, and nothing that stands in the ledger about a slot may be of a later place than its owner has seen.
 */
import { Problem } from '@millrace/core/problem';
import { slotOf, uidOf } from '../lanes/subscriber.ts';
import { HIGH_WATER, highWaterOf } from '../lanes/trust.ts';
import type { Commit, Ledger, SlotRow } from '../ports/ledger.ts';
import type { Fence, Leases } from '../ports/leases.ts';

export interface FencedLedger extends Ledger {
  /** These were taken just now: nothing is known of what their former owner wrote. */
  forget(slots: Iterable<number>): void;
  /**
   * What was written about these is known. Only from now on is it noted for them how far the shards were read: by what was noted
   * before it is seen that the log is another one, also by whoever has them next if this node does not come to its end with them.
   */
  begin(slots: Iterable<number>): void;
}

interface Needs {
  readonly ledger: Ledger;
  readonly leases: Pick<Leases, 'commit'>;
  /** What this node has by its own knowledge. */
  readonly held: ReadonlyMap<number, Fence>;
  /** Finds out what it still has. Rejects when that can't be told now. */
  readonly renew: () => Promise<void>;
}

export function createFencedLedger({ ledger, leases, held, renew }: Needs): FencedLedger {
  /** How far each shard was read here; and the last that was written of it for a slot. */
  const water = new Map<string, SlotRow>();
  const written = new Map<string, string>();
  /** Slots of which is known what was written. */
  const begun = new Set<number>();
  /**
   * The tokens under which a commit was tried first. It is repeated until it holds: in between a slot may be another's for a while
   * and come back, and then what was true before it went is not any more.
   */
  const firstTokens = new WeakMap<Commit, ReadonlyMap<number, string>>();

  async function commit(whole: Commit): Promise<void> {
    for (const row of whole.slots ?? []) if (row.slot === HIGH_WATER) water.set(row.shard, row);
    const tokens = firstTokens.get(whole) ?? new Map([...held].map(([slot, { token }]) => [slot, token]));
    firstTokens.set(whole, tokens);
    const isGone = (slot: number): boolean => !held.has(slot) || held.get(slot)?.token !== tokens.get(slot);
    for (;;) {
      const letters = await lettersOf(whole);
      // From here on nothing is waited for until it is on its way: what is in it has its fence.
      const ours = without(whole, letters, isGone);
      const slots = slotsIn(ours, letters);
      const fences = [...slots].flatMap((slot) => held.get(slot) ?? []);
      const waters = watersOf(slots);
      try {
        await leases.commit({ ...ours, slots: [...(ours.slots ?? []), ...waters] }, fences);
        for (const { slot, shard, cursor } of waters) written.set(`${slot}\n${shard}`, cursor.position);
        return;
      } catch (error) {
        if (!(error instanceof Problem) || error.code !== 'stale_epoch') throw error;
        await renew();
        // Else it would be refused for ever: whoever repeats commits waits in between.
        if (fences.every(({ slot, token }) => held.get(slot)?.token === token)) throw error;
      }
    }
  }

  /** A letter's id does not tell whose it is. One that is there no more needs no removing. */
  async function lettersOf({ unbury = [] }: Commit): Promise<ReadonlyMap<string, number>> {
    const letters = await Promise.all(unbury.map((id) => ledger.deadLetter(id)));
    return new Map(letters.flatMap((letter) => (letter === undefined ? [] : [[letter.id, slotOf(uidOf(letter.lane))]])));
  }

  function watersOf(slots: ReadonlySet<number>): SlotRow[] {
    return [...slots]
      .filter((slot) => begun.has(slot))
      .flatMap((slot) =>
        [...water.values()].flatMap((row) => {
          const own = { ...row, slot: highWaterOf(slot) };
          return written.get(`${own.slot}\n${row.shard}`) === row.cursor.position ? [] : [own];
        }),
      );
  }

  return {
    ...ledger,
    commit,
    begin(slots) {
      for (const slot of slots) begun.add(slot);
    },
    forget(slots) {
      for (const slot of slots) begun.delete(slot);
      const names = new Set([...slots].map((slot) => String(highWaterOf(slot))));
      for (const name of written.keys()) if (names.has(name.slice(0, name.indexOf('\n')))) written.delete(name);
    },
  };
}

/** What is not about slots that are gone. `letters`: the slots of those that are to be removed. */
function without(whole: Commit, letters: ReadonlyMap<string, number>, isGone: (slot: number) => boolean): Commit {
  const isOurs = ({ lane }: { readonly lane: string }): boolean => !isGone(slotOf(uidOf(lane)));
  return {
    attempts: whole.attempts?.filter(isOurs) ?? [],
    park: whole.park?.filter(isOurs) ?? [],
    unpark: whole.unpark?.filter(isOurs) ?? [],
    bury: whole.bury?.filter(isOurs) ?? [],
    unbury: [...letters].flatMap(([id, slot]) => (isGone(slot) ? [] : [id])),
    lanes: whole.lanes?.filter(isOurs) ?? [],
    idle: whole.idle?.filter(isOurs) ?? [],
    slots: whole.slots?.filter(({ slot }) => slot !== HIGH_WATER && !isGone(slot)) ?? [],
    dropLanes: whole.dropLanes?.filter((lane) => isOurs({ lane })) ?? [],
    dropSubscriptions: whole.dropSubscriptions?.filter((uid) => !isGone(slotOf(uid))) ?? [],
  };
}

function slotsIn(commit: Commit, letters: ReadonlyMap<string, number>): Set<number> {
  const { attempts = [], park = [], unpark = [], bury = [], lanes = [], idle = [] } = commit;
  const slots = new Set<number>();
  for (const rows of [attempts, park, unpark, bury, lanes, idle]) for (const { lane } of rows) slots.add(slotOf(uidOf(lane)));
  for (const id of commit.unbury ?? []) slots.add(letters.get(id) as number);
  for (const lane of commit.dropLanes ?? []) slots.add(slotOf(uidOf(lane)));
  for (const uid of commit.dropSubscriptions ?? []) slots.add(slotOf(uid));
  for (const { slot } of commit.slots ?? []) slots.add(slot);
  return slots;
}
