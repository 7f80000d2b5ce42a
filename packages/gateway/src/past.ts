/** What is left of deliveries that are over: their events, and whether it is still known where they went. */
import type { Run } from './ports/directory.ts';
import type { LanePosition } from './ports/ledger.ts';
import type { Log, LogRecord } from './ports/log.ts';

export interface Past {
  /** Undefined where the log does not have it any more. */
  recordAt(place: Pick<LanePosition, 'shard' | 'position'>): Promise<LogRecord | undefined>;
  /** Where a delivery of this name (a pass or a run) went, and under which id, nobody knows any more. */
  isForgotten(environment: string, name: string): boolean;
}

interface Needs {
  readonly log: Log;
  readonly run: (environment: string, id: string) => Run | undefined;
}

/** What the names of replays begin with; those of passes never do. */
const RUN = 'run_';

export function createPast({ log, run }: Needs): Past {
  return {
    // What was delivered out of a former log stands on a shard that this one need not have.
    recordAt: async ({ shard, position }) => (log.shards().includes(shard) ? log.fetch(shard, position) : undefined),
    isForgotten: (environment, name) => name.startsWith(RUN) && run(environment, name) === undefined,
  };
}
