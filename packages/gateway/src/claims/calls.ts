/**
 * Claims of all publishers share one call of the store, as their events share one append: while CALLS_UNDER_WAY are under way the
 * next one fills up. What is not answered in time is given up, so that a publisher is told before it loses patience.
 */
import { Problem } from '@millrace/core/problem';
import type { Clock } from '../ports/clock.ts';
import type { Claim, Claimed, Claims } from '../ports/claims.ts';

export interface ClaimCalls {
  /** Rejects with a Problem that names a time for another try; then the claims may stand or not. */
  (claims: readonly Claim[]): Promise<readonly Claimed[]>;
}

/** While the store syncs one, the next is on its way. */
const CALLS_UNDER_WAY = 2;
/** As the port has it. */
const CLAIMS_AT_ONCE = 4_096;
/** Some seconds of the fastest store: who comes then would wait longer than a publisher does. */
const WAITING_MAX = 65_536;
const PRUNE_MS = 60_000;

interface Waiting {
  readonly claims: readonly Claim[];
  readonly resolve: (answers: readonly Claimed[]) => void;
  readonly reject: (reason: unknown) => void;
}

interface Needs {
  readonly claims: Claims;
  readonly clock: Clock;
  /** How long a publisher waits for the store. */
  readonly patienceMs: number;
}

export function createClaimCalls({ claims: store, clock, patienceMs }: Needs): ClaimCalls {
  let queue: Waiting[] = [];
  let waiting = 0;
  let underWay = 0;
  let isScheduled = false;
  let prunedMs = -Infinity;

  /** Whole calls, at least one. */
  function nextGroup(): Waiting[] {
    let [count, claims] = [0, 0];
    for (const one of queue) {
      claims += one.claims.length;
      if (count > 0 && claims > CLAIMS_AT_ONCE) break;
      count++;
    }
    const group = queue.slice(0, count);
    queue = queue.slice(count);
    for (const one of group) waiting -= one.claims.length;
    return group;
  }

  function flush(): void {
    isScheduled = false;
    while (underWay < CALLS_UNDER_WAY && queue.length > 0) void call(nextGroup());
  }

  async function call(group: readonly Waiting[]): Promise<void> {
    underWay++;
    try {
      const answers = await inTime(store.claim(group.flatMap(({ claims }) => claims)));
      let at = 0;
      for (const { claims, resolve } of group) resolve(answers.slice(at, (at += claims.length)));
    } catch (error) {
      for (const { reject } of group) reject(refusal(error));
    }
    underWay--;
    prune();
    flush();
  }

  async function inTime<T>(answer: Promise<T>): Promise<T> {
    const late = Promise.withResolvers<never>();
    const timer = clock.after(patienceMs, () => late.reject(new Error('no answer in time')));
    try {
      return await Promise.race([answer, late.promise]);
    } finally {
      timer.cancel();
    }
  }

  /** Nothing is there to be pruned but where something is claimed. What fails now is done a minute later. */
  function prune(): void {
    if (clock.monotonic() - prunedMs < PRUNE_MS) return;
    prunedMs = clock.monotonic();
    store.prune().catch(() => undefined);
  }

  return (claims) => {
    if (waiting > 0 && waiting + claims.length > WAITING_MAX)
      return Promise.reject(
        new Problem('overloaded', 'more idempotency keys wait than the store can take', { retryAfterMs: 1_000 }),
      );
    waiting += claims.length;
    return new Promise((resolve, reject) => {
      queue.push({ claims, resolve, reject });
      if (!isScheduled) queueMicrotask(flush);
      isScheduled = true;
    });
  };
}

function refusal(error: unknown): Problem {
  const code = error instanceof Problem ? error.code : 'ledger_unavailable';
  return new Problem(code, 'whether the idempotency key was used before can not be told now', {
    advice: 'Send it again, with the same key.',
    retryAfterMs: 1_000,
    cause: error,
  });
}
