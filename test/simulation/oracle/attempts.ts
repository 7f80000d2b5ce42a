/**
 * What is recorded agrees with what happened: attempts count from 1 without a gap, a schedule is walked to its end and
 * no further, probes are no attempts, nothing is called delivered that was not answered 2xx. And promise 10: what is
 * durably recorded as delivered, or was heard of in this very life, is not sent again.
 */
import type { Limits } from '@millrace/gateway/limits';
import type { AttemptRow, DeadLetter, ParkedRow } from '@millrace/gateway/ports/ledger';
import type { Situations } from '../situations.ts';
import type { Facts } from './facts.ts';
import type { Delivery } from './lanes.ts';
import type { Touched } from './mirror.ts';
import type { Request, Requests } from './requests.ts';
import type { Retention } from './retention.ts';
import type { Subscriptions } from './subscriptions.ts';
import type { Verdict } from './verdict.ts';

export interface Attempts {
  sent(request: Request): void;
  /** The gateway was handed the answer. */
  answered(request: Request): void;
  committed(touched: Touched): void;
}

interface Needs {
  readonly limits: Limits;
  readonly facts: Facts;
  readonly subscriptions: Subscriptions;
  readonly requests: Requests;
  readonly retention: Retention;
  readonly verdict: Verdict;
  readonly situations: Situations;
  /** By how much due times may be ahead of wall time. */
  readonly setBackMs: () => number;
  readonly jumpedMs: () => number;
}

/** Causes of dead letters that no attempt led to. */
const WITHOUT_ATTEMPTS = new Set(['expired', 'log_changed']);

export function createAttempts(needs: Needs): Attempts {
  const { limits, facts, subscriptions, requests, retention, verdict, situations, setBackMs, jumpedMs } = needs;
  const told = (delivery: Delivery): string =>
    `event ${delivery.fact.n} in lane ${delivery.lane.name} of ${delivery.lane.subscription.id}`;
  const words = (delivery: Delivery): readonly string[] => [
    `event ${delivery.fact.n} `,
    `event ${delivery.fact.n}:`,
    ` ${delivery.lane.subscription.uid} `,
    `row of ${delivery.lane.name}`,
  ];

  function exchangeOf(delivery: Delivery, row: AttemptRow): Request | undefined {
    const all = requests.about(delivery.lane.subscription, delivery.fact);
    const candidates = all.filter(
      ({ exchange, lanes }) =>
        exchange.startedWallMs === row.startedMs && exchange.result !== undefined && lanes.includes(delivery.lane),
    );
    // A lane and a run may have sent the event in one millisecond: then what came of it tells them apart.
    return candidates.find(({ exchange }) => exchange.accepted === (row.outcome === 'delivered')) ?? candidates[0];
  }

  function checkAttempt(delivery: Delivery, row: AttemptRow): void {
    const request = exchangeOf(delivery, row);
    if (request === undefined) {
      verdict.broken(
        'P2',
        'an attempt is recorded for a request that was made and answered',
        `attempt ${row.n} (${row.outcome}) of ${told(delivery)}`,
        words(delivery),
      );
      return;
    }
    if ((row.outcome === 'delivered') !== request.exchange.accepted) {
      verdict.broken(
        'P2',
        'an event is recorded as delivered exactly when its endpoint answered 2xx',
        `attempt ${row.n} (${row.outcome}) of ${told(delivery)}`,
        words(delivery),
      );
    }
    if (request.probe && row.outcome !== 'delivered') {
      verdict.broken(
        'P5',
        'a probe never counts as an attempt of its event',
        `attempt ${row.n} (${row.outcome}) of ${told(delivery)}`,
        words(delivery),
      );
    }
    if (row.n !== delivery.attempts.length) {
      verdict.broken(
        'P10',
        'attempts of a delivery count from 1 without a gap',
        `attempt ${row.n} of ${told(delivery)} is the ${delivery.attempts.length}. recorded`,
        words(delivery),
      );
    }
  }

  /** Attempts since the start or the last redrive. */
  const made = (delivery: Delivery): number => delivery.attempts.length - delivery.redrivenAfter;

  /** Schedule lengths that may have decided what follows an attempt. */
  function lengthsAt(delivery: Delivery, row: AttemptRow | undefined): readonly number[] {
    const request = row && exchangeOf(delivery, row);
    const sinceMs = request?.exchange.startedMs ?? 0;
    return subscriptions.possible(delivery.lane.subscription, sinceMs).map(({ retry }) => retry.scheduleMs.length);
  }

  function checkLetter(delivery: Delivery, letter: DeadLetter, redriven: boolean): void {
    situations.count('deadLetter');
    if (letter.attempts !== delivery.attempts.length) {
      verdict.broken(
        'P10',
        'a dead letter tells how many attempts are recorded',
        `${letter.attempts} instead of ${delivery.attempts.length} for ${told(delivery)}`,
        words(delivery),
      );
    }
    if (WITHOUT_ATTEMPTS.has(letter.cause)) return checkTaken(delivery, letter, redriven);
    situations.count('exhausted');
    const used = lengthsAt(delivery, delivery.attempts.at(-1)).some((length) => made(delivery) >= length + 1);
    const inTime =
      made(delivery) < 2 || lengthsAt(delivery, delivery.attempts.at(-2)).some((length) => made(delivery) - 1 <= length);
    if (!used || !inTime) {
      verdict.broken(
        'P2',
        'a delivery dies after exactly as many attempts as its schedule has, and one',
        `${told(delivery)} died after ${made(delivery)} attempts, cause ${letter.cause}`,
        words(delivery),
      );
    }
    if (letter.kept === undefined) {
      verdict.broken('P2', 'every dead letter for one event carries its bytes', told(delivery), words(delivery));
    }
  }

  /** What waits long carries its bytes, so that retention can't empty it meanwhile. */
  function checkKept(delivery: Delivery, row: ParkedRow): void {
    const last = delivery.attempts.at(-1);
    const request = last && exchangeOf(delivery, last);
    if (row.state !== 'parked' || row.kept !== undefined || request?.exchange.endedWallMs === undefined) return;
    // The wait began after the answer: the clock may have been set ahead in between.
    const aheadMs = Math.max(0, jumpedMs() - (request.exchange.endedJumpedMs ?? 0));
    // By a clock that is behind the log's, due times are written in the log's time.
    const behindMs = Math.max(0, -request.exchange.life.skewMs);
    if (row.dueMs - request.exchange.endedWallMs <= limits.keepBytesMs + setBackMs() + behindMs + aheadMs + 1) return;
    verdict.broken('P2', 'a delivery that waits long carries its bytes', told(delivery), words(delivery));
  }

  function checkTaken(delivery: Delivery, letter: DeadLetter, redriven: boolean): void {
    const rightly = delivery.fact.lost || (letter.cause === 'expired' && retention.expired(delivery.fact));
    if (!rightly) {
      verdict.broken(
        'P2',
        'a delivery dies of what the log lost only when the log lost it',
        `${told(delivery)}: ${letter.cause}`,
        words(delivery),
      );
    }
    if (redriven && delivery.redrivenWithBytes) {
      verdict.broken(
        'P2',
        'retention cannot empty a dead letter, nor its redrive',
        `${told(delivery)}: ${letter.cause}`,
        words(delivery),
      );
    }
  }

  return {
    sent({ lane, lanes, fact, redriven, exchange, elsewhere }) {
      if (retention.expired(fact) || fact.lost) situations.count('keptBytes');
      if (redriven || lane === undefined || facts.hasTwin(fact)) return;
      const delivery = lanes[0]?.deliveries.get(fact);
      if (delivery?.delivered) {
        verdict.broken(
          'P10',
          'an event that is durably recorded as delivered is not sent again',
          told(delivery),
          words(delivery),
        );
      } else if (delivery?.heardIn === exchange.life.number && !elsewhere) {
        verdict.broken('P10', 'an event is not sent again in the life that heard of its 2xx', told(delivery), words(delivery));
      }
    },
    answered({ lane, fact, exchange }) {
      const delivery = exchange.accepted ? lane?.deliveries.get(fact) : undefined;
      if (delivery !== undefined) delivery.heardIn = exchange.life.number;
    },
    committed({ attempts, parked, buried, strangers }) {
      for (const stranger of strangers)
        verdict.broken('contract', 'every row is of an event that is or was in the log', stranger);
      for (const { delivery, row, repeated } of attempts) if (!repeated) checkAttempt(delivery, row);
      for (const { delivery, row, before } of parked) {
        if (row.cause === '' && row.attempts === 0 && row.state === 'parked' && before === undefined)
          situations.count('openParked');
        // Written again with the same attempts, it was brought forward by a person: how long it was to wait was judged before.
        if (before?.attempts !== row.attempts) checkKept(delivery, row);
        if (row.attempts !== delivery.attempts.length) {
          verdict.broken(
            'P10',
            'a parked delivery tells how many attempts are recorded',
            `${row.attempts} instead of ${delivery.attempts.length} for ${told(delivery)}`,
            words(delivery),
          );
        }
        if (
          row.attempts > 0 &&
          !delivery.redriving &&
          lengthsAt(delivery, delivery.attempts.at(-1)).every((length) => made(delivery) > length)
        ) {
          verdict.broken(
            'P2',
            'a delivery that used up its schedule becomes a dead letter',
            `${told(delivery)} is parked after ${made(delivery)} attempts`,
            words(delivery),
          );
        }
      }
      for (const { delivery, letter, redriven } of buried) {
        checkLetter(delivery, letter, redriven);
      }
    },
  };
}
