/** Dead letters in a person's hands: listed, redriven, discarded. */
import { idHashOf } from './lanes/cursor.ts';
import { decodeEvent } from '@millrace/core/event-bytes';
import { Problem } from '@millrace/core/problem';
import type { Again } from './again.ts';
import type { DeadLetters } from './api.ts';
import type { Recorder } from './flow/record.ts';
import type { Lanes } from './lanes/lanes.ts';
import type { Subscriber } from './lanes/subscriber.ts';
import { uidOf } from './lanes/subscriber.ts';
import type { LookUp } from './look-up.ts';
import type { Clock } from './ports/clock.ts';
import type { DeadLetter, KeptEvent, Ledger, ParkedRow } from './ports/ledger.ts';

interface Needs {
  readonly ledger: Ledger;
  readonly lookUp: LookUp;
  readonly lanes: Lanes;
  readonly recorder: Recorder;
  readonly clock: Clock;
  readonly again: Again;
}

export function createDeadLetters({ ledger, lookUp, lanes, recorder, clock, again }: Needs): DeadLetters {
  /** Letters somebody is deciding on: two answers to one letter would count it twice. */
  const deciding = new Set<string>();

  async function decide(
    environment: string,
    id: string,
    letterId: string,
    act: (letter: DeadLetter, subscriber: Subscriber) => Promise<void>,
  ): Promise<void> {
    const subscriber = lookUp(environment, id);
    if (deciding.has(letterId))
      throw new Problem('in_flight', 'somebody is deciding on this dead letter just now', { retryAfterMs: 1_000 });
    deciding.add(letterId);
    try {
      const letter = await ledger.deadLetter(letterId);
      if (letter === undefined || uidOf(letter.lane) !== subscriber.uid)
        throw new Problem('not_found', `there is no dead letter '${letterId}' any more, or there never was`);
      if (lanes.isEnding(letter.lane))
        throw new Problem('in_flight', 'its subscription is being set back, or its replay cancelled, just now', {
          retryAfterMs: 1_000,
        });
      await act(letter, subscriber);
    } finally {
      deciding.delete(letterId);
    }
  }

  const durable = (change: Parameters<Recorder['add']>[0]): Promise<void> =>
    new Promise((resolve) => recorder.add(change, resolve));

  return {
    list: (environment, id, page) => ledger.deadLetters({ subscription: lookUp(environment, id).uid, ...page }),
    redrive: (environment, id, letterId) =>
      decide(environment, id, letterId, async (letter, subscriber) => {
        const { kept } = letter;
        if (kept === undefined)
          throw new Problem('not_redrivable', 'this dead letter stands for events that are gone: there is nothing to send', {
            advice: 'Discard it when you have seen it.',
          });
        await again(subscriber, rowOf(letter, kept, clock.now()), { unbury: letter.id });
        subscriber.bounds.counts.deadLetters--;
        subscriber.pump();
      }),
    discard: (environment, id, letterId) =>
      decide(environment, id, letterId, async (letter, subscriber) => {
        await durable({ unbury: letter.id });
        subscriber.bounds.counts.deadLetters--;
        if (letter.holdsKey !== undefined) lanes.drain(subscriber.uid, letter.lane, letter.shard)?.releaseHeld(letter.holdsKey);
        subscriber.pump();
      }),
  };
}

/** A redrive is an order of its own, unless the letter held its key: then it is its head again. */
export function rowOf(
  {
    lane,
    shard,
    position,
    attempts,
    cause,
    timeMs,
    holdsKey,
  }: Pick<DeadLetter, 'lane' | 'shard' | 'position' | 'attempts' | 'cause' | 'timeMs' | 'holdsKey'>,
  kept: KeptEvent,
  dueMs: number,
): ParkedRow {
  const idHash = idHashOf({ app: kept.app, event: decodeEvent(kept.bytes) });
  const size = kept.bytes.length;
  const row = {
    lane,
    shard,
    position,
    state: 'parked',
    dueMs,
    attempts,
    attemptsBefore: attempts,
    cause,
    size,
    timeMs,
    idHash,
    kept,
  } as const;
  return holdsKey === undefined ? row : { ...row, key: holdsKey };
}
