/**
 * Slots of a gateway: which are this node's, and what happens when one comes or goes. Subscriptions are hashed into slots, and all
 * lanes of one are worked where its slot is. A gateway by itself has them all and never takes, leaves or loses one.
 */
import type { Slots } from './api.ts';
import type { Recorder } from './flow/record.ts';
import type { JobsAndEnds } from './jobs.ts';
import type { Known, Lanes } from './lanes/lanes.ts';
import { SLOTS, slotOf } from './lanes/subscriber.ts';
import type { Turns } from './lanes/turns.ts';
import type { Registry } from './registry.ts';
import type { ReplaysAndEnd } from './replays.ts';

/** What everybody asks, before there is anything to take with. */
export interface Ownership {
  /** Also those that are not worked yet; each with its tenure: one that is lost and comes back is held anew. */
  readonly owned: Map<number, object>;
  /** Owned, and not worked yet. */
  readonly taking: Set<number>;
  /** Whether the subscription with this uid is worked here. */
  isOurs(uid: string): boolean;
  /** Under what its slot is held; another one where it was lost meanwhile. */
  tenureOf(uid: string): object | undefined;
}

export function createOwnership({ withoutSlots }: { readonly withoutSlots: boolean }): Ownership {
  const owned = new Map<number, object>(withoutSlots ? [] : Array.from({ length: SLOTS }, (_, slot) => [slot, {}]));
  const taking = new Set<number>();
  return {
    owned,
    taking,
    isOurs: (uid) => owned.has(slotOf(uid)) && !taking.has(slotOf(uid)),
    tenureOf: (uid) => owned.get(slotOf(uid)),
  };
}

interface Needs {
  readonly ownership: Ownership;
  /** A node of a cluster: others may write about what it loses. */
  readonly isNode: boolean;
  readonly registry: Pick<Registry, 'refresh' | 'runs'>;
  readonly lanes: Pick<Lanes, 'take' | 'leave' | 'lose' | 'startRun'>;
  readonly replays: Pick<ReplaysAndEnd, 'rewound'>;
  readonly jobs: Pick<JobsAndEnds, 'leave'>;
  readonly recorder: Pick<Recorder, 'forget'>;
  readonly turns: Pick<Turns, 'startedOf'>;
  readonly known: () => Known;
  readonly isRunning: () => boolean;
  /** What else goes on beside lanes, for these subscriptions. */
  readonly goOnWith: (isOurs: (uid: string) => boolean) => Promise<void>;
}

export function createSlots({
  ownership: { owned, taking, isOurs },
  isNode,
  registry,
  lanes,
  replays,
  jobs,
  recorder,
  turns,
  known,
  isRunning,
  goOnWith,
}: Needs): Slots {
  async function take(slots: ReadonlySet<number>, onBegun?: () => void): Promise<void> {
    for (const slot of slots) if (!owned.has(slot)) owned.set(slot, {});
    for (const slot of slots) taking.add(slot);
    let isDone = false;
    try {
      isDone = await takeLanes(slots, onBegun);
    } finally {
      for (const slot of slots) taking.delete(slot);
    }
    if (isDone) await goOnWith((uid) => slots.has(slotOf(uid)) && isOurs(uid));
  }

  /** False where the gateway was stopped meanwhile. */
  async function takeLanes(slots: ReadonlySet<number>, onBegun: (() => void) | undefined): Promise<boolean> {
    // One that was begun before they were lost: rows of a pass that the directory does not have yet are taken for leftovers.
    await replays.rewound();
    if (!isRunning()) return false;
    // What nobody here has heard of yet would be taken for deleted.
    await registry.refresh();
    // Some may be lost again by now.
    const still = new Set([...slots].filter((slot) => owned.has(slot)));
    if (!isRunning()) return false;
    await lanes.take(still, known(), onBegun);
    if (!isRunning()) return false;
    // A replay that was asked for meanwhile found its subscription not there yet.
    for (const run of registry.runs())
      if (run.value.state === 'running' && still.has(slotOf(run.value.subscriptionUid))) lanes.startRun(run);
    return true;
  }

  function disown(slots: ReadonlySet<number>): void {
    for (const slot of slots) owned.delete(slot);
    jobs.leave((uid) => slots.has(slotOf(uid)));
  }

  return {
    owns: isOurs,
    take,
    leave(slots) {
      disown(slots);
      return lanes.leave(slots);
    },
    lose(slots) {
      disown(slots);
      lanes.lose(slots);
      // Another may write about them by now. With one ledger for all slots (no fences) it stays: its high water stands for them, too.
      if (isNode) recorder.forget(slots, (uid) => slots.has(slotOf(uid)));
    },
    started: turns.startedOf,
  };
}
