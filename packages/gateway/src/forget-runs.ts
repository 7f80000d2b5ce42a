/**
 * Replays that ended long ago are forgotten, or each would stay in the directory, and in memory, for ever. Not one of which
 * something may still be sent, parked or redriven: where it goes and under which id only the run can say.
 */
import { runName } from './lanes/subscriber.ts';
import type { Lanes } from './lanes/lanes.ts';
import type { Limits } from './limits.ts';
import type { Clock } from './ports/clock.ts';
import type { Directory, Run, Versioned } from './ports/directory.ts';
import type { Ledger } from './ports/ledger.ts';
import type { Registry } from './registry.ts';

/** How often it is looked for them at most: all dead letters of their subscriptions may have to be read for it. */
const FORGET_MS = 3_600_000;

interface Needs {
  readonly directory: Directory;
  readonly ledger: Ledger;
  readonly registry: Registry;
  readonly lanes: Lanes;
  /** Whether a subscription with this uid is worked here: what becomes of its replays others can't tell. */
  readonly isOurs: (uid: string) => boolean;
  readonly clock: Clock;
  readonly limits: Limits;
}

/** Called whenever there may be some; rejects with what a store does. */
export interface ForgetRuns {
  (): Promise<void>;
}

export function createForgetRuns({ directory, ledger, registry, lanes, isOurs, clock, limits }: Needs): ForgetRuns {
  let lookedMs = -Infinity;

  /** One whose subscription was deleted never ends by itself. */
  function isOld({ value: { subscriptionUid, state, createdMs, endedMs = createdMs } }: Versioned<Run>): boolean {
    const isGone = lanes.subscriber(subscriptionUid) === undefined && !lanes.isComing(subscriptionUid);
    const isOver = state !== 'running' || isGone;
    return isOver && endedMs < clock.now() - limits.jobKeptMs;
  }

  /** Lanes of these subscriptions that have dead letters. */
  async function deadIn(subscriptions: ReadonlySet<string>): Promise<Set<string>> {
    const names = new Set<string>();
    for (const { subscription } of await ledger.deadLetterCounts()) {
      if (!subscriptions.has(subscription)) continue;
      for (let after: string | undefined; ;) {
        const page = await ledger.deadLetters({
          subscription,
          limit: limits.jobPage,
          ...(after === undefined ? {} : { after }),
        });
        for (const { lane } of page) names.add(lane);
        after = page.at(-1)?.id;
        if (page.length < limits.jobPage) break;
      }
    }
    return names;
  }

  return async () => {
    if (clock.monotonic() - lookedMs < FORGET_MS) return;
    lookedMs = clock.monotonic();
    const old = [...registry.runs()].filter((run) => isOurs(run.value.subscriptionUid) && isOld(run));
    if (old.length === 0) return;
    // Dead letters first: what is redriven meanwhile is found among these, or parked.
    const needed = await deadIn(new Set(old.map(({ value }) => value.subscriptionUid)));
    for (const { lane } of await ledger.openLanes()) needed.add(lane);
    for (const { environment, id, value } of old) {
      if (needed.has(runName(value.subscriptionUid, id))) continue;
      await directory.delete('run', environment, id);
      registry.tell({ kind: 'run', environment, id });
    }
  };
}
