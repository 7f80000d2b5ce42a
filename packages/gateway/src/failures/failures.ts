/**
 * Failures that a receiver reports after it has acknowledged: it stored the delivery, answered 200, and could not do the work. The delivery is
 * parked again, or dead, as if that had been its answer. What was delivered meanwhile stays delivered: with order by key the later events
 * of the key have gone out by then, so what is reported is an order of its own, as a redriven dead letter is.
 */
import { encodeEvent } from '@millrace/core/event-bytes';
import { Problem } from '@millrace/core/problem';
import { nextDelayMs } from '@millrace/core/retry-schedule';
import type { Again } from '../again.ts';
import type { Failures, Notice, Reported, SaidFailed, Settled } from '../api.ts';
import { rowOf } from '../dead-letters.ts';
import type { Recorder } from '../flow/record.ts';
import type { Lanes } from '../lanes/lanes.ts';
import { deadLetterId } from '../lanes/rows.ts';
import { type Subscriber, uidOf } from '../lanes/subscriber.ts';
import type { Limits } from '../limits.ts';
import type { LookUp } from '../look-up.ts';
import type { Clock } from '../ports/clock.ts';
import type { AttemptRow, LanePosition, Ledger } from '../ports/ledger.ts';
import type { LogRecord } from '../ports/log.ts';
import type { Past } from '../past.ts';
import { createPaces } from '../quotas/paces.ts';
import type { FailureTokens } from './token.ts';

export const REPORTED_FAILED = 'reported_failed';

/** By then an attempt that was made is written down, or the process ended before it was. */
const RECORDED_MS = 300_000;
const SOON_MS = 1_000;
const FULL_MS = 60_000;

interface Needs {
  readonly ledger: Ledger;
  readonly lookUp: LookUp;
  readonly lanes: Lanes;
  readonly recorder: Recorder;
  readonly again: Again;
  readonly tokens: FailureTokens;
  readonly past: Past;
  /** Deliveries somebody is deciding on, by the ids of the dead letters they would be. */
  readonly deciding: Set<string>;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly onNotice: (notice: Notice) => void;
}

interface Deciding {
  readonly environment: string;
  readonly subscriber: Subscriber;
  readonly place: LanePosition;
  readonly last: AttemptRow;
  readonly said: SaidFailed;
}

export function createFailures(needs: Needs): Failures {
  const { ledger, lookUp, lanes, recorder, again, tokens, past, deciding, clock } = needs;
  const paces = createPaces({
    clock,
    // Each reads the ledger and writes to it, and may be said again.
    perSecond: needs.limits.failedPerSecond,
    refusal: 'more failures are reported for this subscription than are taken',
  });

  async function report(environment: string, id: string, place: LanePosition, said: SaidFailed): Promise<Settled> {
    const subscriber = lookUp(environment, id);
    if (uidOf(place.lane) !== subscriber.uid) throw noDelivery();
    paces.take(subscriber.uid);
    if (past.isForgotten(environment, place.lane.slice(subscriber.uid.length + 1)))
      throw new Problem('not_redrivable', 'the replay of this delivery is forgotten: nobody knows where it was to go');
    if (lanes.isEnding(place.lane)) throw inFlight('its subscription is being set back, or its replay cancelled, just now');
    const { reported } = said;
    const last = await attemptAt(place, reported);
    if (last.n > reported.n)
      throw new Problem('conflict', `it was sent again since: attempt ${reported.n} is not its last one, that is ${last.n}`, {
        advice: 'Each attempt comes with a token of its own.',
      });
    const decided: Deciding = { environment, subscriber, place, last, said };
    return last.outcome === 'delivered' ? settle(decided) : alreadySettled(decided);
  }

  /** Its last attempt. An answer and a report that follows it at once may both be on their way to the ledger. */
  async function attemptAt(place: LanePosition, { n, madeMs }: Reported): Promise<AttemptRow> {
    await recorder.settled();
    const last = (await ledger.attemptsOf(place.lane, place.shard, place.position)).at(-1);
    if (last !== undefined && last.n >= n) return last;
    if (clock.now() - madeMs < RECORDED_MS) throw inFlight('its answer is not written down yet');
    throw noDelivery();
  }

  async function settle(decided: Deciding): Promise<Settled> {
    const { subscriber, place, last, said } = decided;
    if ((await ledger.parked(place.lane, place.shard, place.position)) !== undefined)
      throw new Problem('conflict', 'somebody has it sent once more already', {
        advice: 'What comes then has a token of its own.',
      });
    const { retry } = subscriber.versioned.value;
    const scheduledMs = nextDelayMs({ ...retry, attempt: Math.max(1, last.n - said.reported.before), random: clock.random() });
    if (said.dead === true || scheduledMs === undefined) return bury(decided);
    return park(decided, said.delayMs ?? scheduledMs);
  }

  async function park(decided: Deciding, delayMs: number): Promise<Settled> {
    const { environment, subscriber, place, last } = decided;
    const record = await eventOf(decided);
    if (record === undefined)
      throw new Problem('not_redrivable', 'retention took the event of this delivery: there is nothing to send', {
        advice: 'Report it with "dead": true, so that somebody sees it.',
      });
    const { app, event, timeMs } = record;
    const dueMs = clock.now() + delayMs;
    const kept = { environment, app, bytes: encodeEvent(event) };
    const row = rowOf({ ...place, attempts: last.n, cause: REPORTED_FAILED, timeMs }, kept, dueMs);
    // It goes on in its schedule.
    await again(subscriber, { ...row, attemptsBefore: decided.said.reported.before }, { attempt: attemptOf(decided, 'retry') });
    subscriber.pump();
    tell(decided, 'retry');
    return { outcome: 'retry', dueMs };
  }

  async function bury(decided: Deciding): Promise<Settled> {
    const { environment, subscriber, place, last, said } = decided;
    const record = await eventOf(decided);
    const { uid, bounds } = subscriber;
    if (!bounds.hasRoomForDeadLetter())
      throw new Problem('overloaded', 'the subscription has as many dead letters as its bound allows', {
        retryAfterMs: FULL_MS,
        advice: 'Redrive or discard some of its dead letters first.',
      });
    bounds.counts.deadLetters++;
    const { eventId, topic, n: attempts } = last;
    const kept = record && { environment, app: record.app, bytes: encodeEvent(record.event) };
    const letter = {
      ...place,
      id: deadLetterId(place),
      cause: REPORTED_FAILED,
      detail: said.reason,
      attempts,
      eventId,
      topic,
      timeMs: record?.timeMs ?? last.startedMs,
      diedMs: clock.now(),
      ...(kept === undefined ? {} : { kept }),
    };
    await new Promise<void>((resolve) => recorder.add({ attempt: attemptOf(decided, 'dead'), bury: letter }, resolve));
    // Lost meanwhile, it may not have been written.
    if (lanes.subscriber(uid) === undefined)
      throw new Problem('moving', 'the subscription was moved to another node, or deleted, just now', { retryAfterMs: SOON_MS });
    tell(decided, 'dead');
    return { outcome: 'dead' };
  }

  /** Said again, as by one who did not get the answer, it is as it is. */
  async function alreadySettled({ place, last, said }: Deciding): Promise<Settled> {
    if (last.outcome === 'dead') {
      if (said.dead === true) return { outcome: 'dead' };
      throw new Problem('conflict', 'it is a dead letter already', {
        advice: 'Redrive it: it is sent again when a person says so.',
      });
    }
    if (said.dead === true)
      throw new Problem('conflict', 'it is to be tried again already', { advice: 'Answer the next attempt, or report that.' });
    const row = await ledger.parked(place.lane, place.shard, place.position);
    return row === undefined ? { outcome: 'retry' } : { outcome: 'retry', dueMs: row.dueMs };
  }

  async function eventOf({ place, last }: Deciding): Promise<LogRecord | undefined> {
    const record = await past.recordAt(place);
    return record?.event.id === last.eventId ? record : undefined;
  }

  /** Beside the attempt that was delivered, under its number: it was answered well, and failed. */
  function attemptOf({ place, last, said }: Deciding, outcome: 'retry' | 'dead'): AttemptRow {
    const { n, eventId, topic } = last;
    const startedMs = Math.max(clock.now(), last.startedMs + 1);
    const why = { cause: REPORTED_FAILED, status: 0, snippet: said.reason };
    return { ...place, n, startedMs, durationMs: 0, outcome, ...why, eventId, topic };
  }

  function tell({ environment, subscriber: { id }, last }: Deciding, outcome: 'retry' | 'dead'): void {
    const { eventId: event, topic, n } = last;
    needs.onNotice({ kind: 'reported', environment, subscription: id, event, topic, n, outcome });
  }

  return {
    read: tokens.read,
    async report(environment, id, place, said) {
      const key = deadLetterId(place);
      if (deciding.has(key)) throw inFlight('somebody decides on it just now');
      deciding.add(key);
      try {
        return await report(environment, id, place, said);
      } finally {
        deciding.delete(key);
      }
    },
  };
}

const noDelivery = (): Problem => new Problem('not_found', 'nothing is known of this delivery any more');
const inFlight = (why: string): Problem => new Problem('in_flight', why, { retryAfterMs: SOON_MS });
