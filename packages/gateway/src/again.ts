/** One delivery once more, with a fresh schedule: as a parked row of its lane, due now. */
import { Problem } from '@millrace/core/problem';
import type { Change, Recorder } from './flow/record.ts';
import type { Lanes } from './lanes/lanes.ts';
import type { Subscriber } from './lanes/subscriber.ts';
import type { ParkedRow } from './ports/ledger.ts';

export interface Again {
  /** `with_`: what is written in the same transaction. Resolves when durable; `overloaded` where the parked bound has no room. */
  (subscriber: Subscriber, row: ParkedRow, with_?: Change): Promise<void>;
}

const FULL_MS = 60_000;

export function createAgain({ recorder, lanes }: { readonly recorder: Recorder; readonly lanes: Lanes }): Again {
  return async ({ uid, bounds }, row, with_ = {}) => {
    if (!bounds.hasRoomToPark(row.size))
      throw new Problem('overloaded', 'the subscription has as many parked deliveries as its bound allows', {
        advice: 'Have its receiver take what waits, or raise bounds.parked of the subscription.',
        retryAfterMs: FULL_MS,
      });
    bounds.reserve(row.size, false);
    await new Promise<void>((resolve) => recorder.add({ ...with_, park: row }, resolve));
    bounds.release(row.size, false);
    // Lost meanwhile, it may not have been written.
    if (lanes.subscriber(uid) === undefined)
      throw new Problem('moving', 'the subscription was moved to another node, or deleted, just now', { retryAfterMs: 1_000 });
    lanes.drain(uid, row.lane, row.shard)?.redriven(row);
  };
}
