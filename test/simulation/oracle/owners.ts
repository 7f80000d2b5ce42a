/**
 * Whose a slot is. By the store: whoever took it last, and only that node's commits may say anything about it. By the node: whoever
 * works it, and only that one sends. Where one process has all slots nobody is asked.
 */
import type { Commit } from '@millrace/gateway/ports/ledger';
import type { Fence } from '@millrace/gateway/ports/leases';
import type { Life } from '../world.ts';
import type { Mirror } from './mirror.ts';
import type { Request } from './requests.ts';
import { SLOTS } from './slots.ts';
import type { Verdict } from './verdict.ts';

export interface Owners {
  /** The store gave these to the node of this life. */
  owned(fences: readonly Fence[], life: Life): void;
  /** Its node works them from now on. */
  taken(slots: ReadonlySet<number>, life: Life): void;
  /** It does not any more. Resolves with those that it still worked. */
  left(slots: ReadonlySet<number>, life: Life): ReadonlySet<number>;
  /** All that this life works. */
  workedBy(life: Life): ReadonlySet<number>;
  /** Whether what this life does counts for the slot. */
  counts(slot: number, life: Life): boolean;
  /** Before it is applied. */
  committed(commit: Commit, life: Life): void;
  sent(request: Request): void;
}

interface Needs {
  readonly isCluster: boolean;
  readonly slotOf: (uid: string) => number;
  readonly letter: Mirror['letter'];
  readonly verdict: Verdict;
}

const uidOf = (lane: string): string => lane.split('.', 1)[0] ?? '';

export function createOwners({ isCluster, slotOf, letter, verdict }: Needs): Owners {
  const owners = new Map<number, { readonly token: string; readonly life: Life }>();
  const workers = new Map<number, Life>();

  /** Of every row, also of how far a shard was read, which is noted for each slot. */
  function slotsOf(commit: Commit): Set<number> {
    const { attempts = [], park = [], unpark = [], bury = [], lanes = [], idle = [], dropLanes = [], unbury = [] } = commit;
    const names = [...dropLanes, ...unbury.flatMap((id) => letter(id)?.lane ?? [])];
    for (const rows of [attempts, park, unpark, bury, lanes, idle]) for (const { lane } of rows) names.push(lane);
    const slots = new Set([...names.map(uidOf), ...(commit.dropSubscriptions ?? [])].map(slotOf));
    for (const { slot } of commit.slots ?? []) slots.add(slot < SLOTS ? slot : slot - SLOTS - 1);
    return slots;
  }

  return {
    owned(fences, life) {
      for (const { slot, token } of fences) owners.set(slot, { token, life });
    },
    taken(slots, life) {
      for (const slot of slots) workers.set(slot, life);
    },
    left(slots, life) {
      const its = new Set([...slots].filter((slot) => workers.get(slot) === life));
      for (const slot of its) workers.delete(slot);
      return its;
    },
    workedBy: (life) => new Set([...workers].flatMap(([slot, worker]) => (worker === life ? [slot] : []))),
    counts: (slot, life) => !isCluster || workers.get(slot) === life,
    committed(commit, life) {
      if (!isCluster) return;
      for (const slot of slotsOf(commit)) {
        const owner = owners.get(slot)?.life;
        if (owner === life) continue;
        verdict.broken(
          'P10',
          'what is written about a slot is written by its owner',
          `slot ${slot} is of life ${owner?.number ?? 'none'}, and life ${life.number} wrote about it`,
          [`slot ${slot} `],
        );
      }
    },
    sent({ subscription, fact, exchange: { life } }) {
      const slot = slotOf(subscription.uid);
      if (!isCluster || workers.get(slot) === life) return;
      verdict.broken(
        'P4',
        'only the node that works a slot sends for it',
        `event ${fact.n} to ${subscription.id} (slot ${slot}) by life ${life.number} instead of ${workers.get(slot)?.number ?? 'none'}`,
        [`event ${fact.n} `, subscription.id, 'slots'],
      );
    },
  };
}
