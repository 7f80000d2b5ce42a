/** A delivery in a person's hands: tried again now, whatever became of it. */
import { encodeEvent } from '@millrace/core/event-bytes';
import { Problem } from '@millrace/core/problem';
import { webhookId } from '@millrace/core/webhook-id';
import { hash } from 'node:crypto';
import type { Again } from './again.ts';
import type { DeadLetters, Deliveries } from './api.ts';
import { rowOf } from './dead-letters.ts';
import type { Lanes } from './lanes/lanes.ts';
import { deadLetterId } from './lanes/rows.ts';
import { type Subscriber, uidOf } from './lanes/subscriber.ts';
import type { LookUp } from './look-up.ts';
import type { Past } from './past.ts';
import type { Clock } from './ports/clock.ts';
import type { Run } from './ports/directory.ts';
import type { LanePosition, Ledger } from './ports/ledger.ts';

interface Needs {
  readonly past: Past;
  readonly ledger: Ledger;
  readonly lookUp: LookUp;
  readonly lanes: Lanes;
  readonly deadLetters: DeadLetters;
  readonly again: Again;
  readonly run: (environment: string, id: string) => Run | undefined;
  /** Somebody decides on them just now, by the ids of the dead letters they would be: two at once would send one twice. */
  readonly deciding: Set<string>;
  readonly clock: Clock;
}

const sha256 = (bytes: Uint8Array): Uint8Array => hash('sha256', bytes, 'buffer');

export function createDeliveries({ past, ledger, lookUp, lanes, deadLetters, again, run, deciding, clock }: Needs): Deliveries {
  const { recordAt, isForgotten } = past;

  /** A delivery that is settled: redriven where it has a dead letter, else made anew from the log. */
  async function sendAgain(environment: string, subscriber: Subscriber, place: LanePosition): Promise<void> {
    const last = (await ledger.attemptsOf(place.lane, place.shard, place.position)).at(-1);
    if (last === undefined) throw noDelivery();
    if (last.outcome === 'retry') throw inFlight('it is being tried just now');
    // Looked for after its attempts: it may have died a moment ago, and then has a letter by now.
    const letter = await ledger.deadLetter(deadLetterId(place));
    if (letter !== undefined) return deadLetters.redrive(environment, subscriber.id, letter.id);
    const record = await recordAt(place);
    if (record === undefined || record.event.id !== last.eventId)
      throw new Problem('not_redrivable', 'retention took the event of this delivery: there is nothing to send');
    const { app, event, timeMs } = record;
    const kept = { environment, app, bytes: encodeEvent(event) };
    await again(subscriber, rowOf({ ...place, attempts: last.n, cause: '', timeMs }, kept, clock.now()));
    subscriber.pump();
  }

  async function retry(environment: string, id: string, place: LanePosition): Promise<void> {
    const subscriber = lookUp(environment, id);
    const { lane, shard, position } = place;
    if (uidOf(lane) !== subscriber.uid) throw noDelivery();
    if (isForgotten(environment, lane.slice(subscriber.uid.length + 1)))
      throw new Problem('not_redrivable', 'the replay of this delivery is forgotten: nobody knows where it was to go');
    if (lanes.isEnding(lane)) throw inFlight('its subscription is being set back, or its replay cancelled, just now');
    const row = await ledger.parked(lane, shard, position);
    if (row === undefined) return sendAgain(environment, subscriber, place);
    if (row.state === 'held')
      throw new Problem('conflict', 'it waits behind an earlier event of its key', {
        advice: 'Retry the first event of this key; this one follows it.',
      });
    await lanes.drain(subscriber.uid, lane, shard)?.retry(position);
  }

  return {
    async retry(environment, id, place) {
      const key = deadLetterId(place);
      if (deciding.has(key)) throw inFlight('somebody tries it again just now');
      deciding.add(key);
      try {
        await retry(environment, id, place);
      } finally {
        deciding.delete(key);
      }
    },
    async webhookIdOf(environment, place, eventId) {
      const { lane } = place;
      const record = await recordAt(place);
      if (record === undefined || record.event.id !== eventId) return undefined;
      const subscription = uidOf(lane);
      const name = lane.slice(subscription.length + 1);
      if (isForgotten(environment, name)) return undefined;
      const identity = { subscription, publisher: record.app, source: record.event.source, id: eventId };
      return webhookId(run(environment, name)?.ids === 'as-new' ? { ...identity, run: name } : identity, sha256);
    },
  };
}

const noDelivery = (): Problem => new Problem('not_found', 'there is no such delivery');
const inFlight = (why: string): Problem => new Problem('in_flight', why, { retryAfterMs: 1_000 });
