/** What a subscription has not come to yet: paused, behind an open breaker, at a bound, or simply slower than its topics. */
import type { Match } from '../flow/match.ts';
import type { Log } from '../ports/log.ts';
import type { Lane } from '../flow/lane.ts';
import { type Indexed, liveName, type Subscriber } from './subscriber.ts';

/** Records looked through behind a cursor for one that matches; past them the last one looked at counts. */
const LOOKED_AT = 200;
const LOOKED_AT_BYTES = 1024 * 1024;

interface Needs {
  readonly subscriber: Subscriber;
  readonly log: Log;
  readonly match: Match<Indexed>;
}

/** When the oldest event came that waits in the log; Infinity where none does. Costs a read per shard that is not covered. */
export async function oldestWaiting(needs: Needs): Promise<number> {
  const { subscriber } = needs;
  const name = liveName(subscriber.versioned.value);
  const lanes = [...subscriber.lanes.values()].filter((lane) => lane.name === name && !lane.isCovered);
  return Math.min(...(await Promise.all(lanes.map((lane) => oldestIn(lane, needs)))));
}

async function oldestIn({ shard, place }: Lane, { subscriber, log, match }: Needs): Promise<number> {
  const { environment, versioned, indexed } = subscriber;
  const only = { environment, topics: versioned.value.topics };
  const page = await log.read({ shard, after: place.position, only, limit: LOOKED_AT, maxBytes: LOOKED_AT_BYTES });
  const found = page.records.find((record) => match.one(indexed, record));
  return found?.timeMs ?? (page.atEnd ? Infinity : (page.records.at(-1)?.timeMs ?? Infinity));
}
