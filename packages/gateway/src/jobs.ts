/**
 * Jobs: dead letters redriven or discarded many at a time. A job is kept in the directory, so that it goes on after a
 * restart; doing a letter twice is harmless, as the first time takes it away.
 */
import { allOf } from './all-of.ts';
import { newId } from '@millrace/core/ids';
import { Problem } from '@millrace/core/problem';
import { compileTopics } from '@millrace/core/topic';
import type { DeadLetterFilter, DeadLetters, Jobs } from './api.ts';
import type { Limits } from './limits.ts';
import { Elsewhere, type LookUp } from './look-up.ts';
import { bytesFrom, type Clock } from './ports/clock.ts';
import type { Directory, Job, Versioned } from './ports/directory.ts';
import type { DeadLetter, Ledger } from './ports/ledger.ts';

export interface JobsAndEnds extends Jobs {
  /** Goes on with those of these subscriptions (by uid) that were running. */
  start(isOurs: (uid: string) => boolean): Promise<void>;
  /** Those of these subscriptions are another's to go on with. */
  leave(isTheirs: (uid: string) => boolean): void;
  /** They go on after the next start. */
  stop(): void;
}

interface Needs {
  readonly directory: Directory;
  readonly ledger: Ledger;
  readonly lookUp: LookUp;
  /** Whether a subscription with this uid is worked here. */
  readonly isOurs: (uid: string) => boolean;
  readonly deadLetters: DeadLetters;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly onTrouble: (error: unknown) => void;
}

export function createJobs({ directory, ledger, lookUp, isOurs, deadLetters, clock, limits, onTrouble }: Needs): JobsAndEnds {
  /** Running here, with what they have done by now. */
  const running = new Map<string, Versioned<Job>>();
  let stopped = false;

  async function* lettersOf(uid: string, matches: (letter: DeadLetter) => boolean): AsyncGenerator<readonly DeadLetter[]> {
    for (let after: string | undefined; ;) {
      const page = await ledger.deadLetters({
        subscription: uid,
        limit: limits.jobPage,
        ...(after === undefined ? {} : { after }),
      });
      yield page.filter(matches);
      after = page.at(-1)?.id;
      if (page.length < limits.jobPage) return;
    }
  }

  /** Without waiting for the answers of endpoints: a redriven letter is a parked delivery again. */
  async function work(id: string): Promise<void> {
    const first = running.get(id) as Versioned<Job>;
    const { kind, filter, subscriptionUid, createdMs } = first.value;
    // What dies meanwhile, by being redriven for instance, is left to the next job.
    const matches = matcherOf(kind, { ...filter, diedUntilMs: createdMs });
    for await (const letters of lettersOf(subscriptionUid, matches)) {
      const outcomes = await Promise.all(letters.map((letter) => doOne(id, letter)));
      const now = running.get(id);
      if (now === undefined || stopped) return;
      const done = now.value.done + outcomes.filter((outcome) => outcome === 'done').length;
      const refused = now.value.refused + outcomes.filter((outcome) => outcome === 'refused').length;
      if (letters.length > 0) await keep(now, { ...now.value, done, refused });
    }
    const now = running.get(id);
    if (now !== undefined) await end(now, 'done');
  }

  async function doOne(id: string, letter: DeadLetter): Promise<'done' | 'refused' | 'gone'> {
    for (;;) {
      const job = running.get(id);
      if (job === undefined || stopped) return 'gone';
      const { environment, value } = job;
      try {
        await deadLetters[value.kind](environment, value.subscription, letter.id);
        return 'done';
      } catch (error) {
        const code = error instanceof Problem ? error.code : undefined;
        if (code === undefined) throw error;
        if (code === 'not_found') return 'gone';
        if (code !== 'overloaded' && code !== 'in_flight') return 'refused';
        // Room comes at the pace of the endpoint, seconds or days from now.
        await new Promise<void>((resolve) => clock.after(limits.jobRetryMs, resolve));
      }
    }
  }

  async function keep(job: Versioned<Job>, value: Job): Promise<void> {
    // Two jobs of one id there are not, and whoever cancels takes it from `running` first.
    const now = await directory.put('job', job.environment, job.id, value);
    if (running.has(job.id)) running.set(job.id, now);
  }

  async function end({ environment, id, value }: Versioned<Job>, state: 'done' | 'cancelled'): Promise<Versioned<Job>> {
    running.delete(id);
    return directory.put('job', environment, id, { ...value, state, endedMs: clock.now() });
  }

  function run(job: Versioned<Job>): void {
    running.set(job.id, job);
    void work(job.id).catch((error: unknown) => {
      if (stopped) return;
      onTrouble(error);
      clock.after(limits.jobRetryMs, () => {
        const now = running.get(job.id);
        if (now !== undefined && !stopped) run(now);
      });
    });
  }

  async function count(environment: string, id: string, kind: Job['kind'], filter: DeadLetterFilter): Promise<number> {
    const { uid } = lookUp(environment, id);
    let sum = 0;
    for await (const letters of lettersOf(uid, matcherOf(kind, filter))) sum += letters.length;
    return sum;
  }

  return {
    count,
    async begin(environment, id, kind, filter) {
      const { uid } = lookUp(environment, id);
      if (running.size >= limits.jobs)
        throw new Problem('too_many_requests', `${limits.jobs} jobs are running already`, {
          retryAfterMs: 10_000,
          advice: 'Wait for one of them, or cancel it: GET /v1/operations.',
        });
      const nowMs = clock.now();
      const total = await count(environment, id, kind, filter);
      const value: Job = {
        kind,
        subscription: id,
        subscriptionUid: uid,
        filter,
        state: 'running',
        total,
        done: 0,
        refused: 0,
        createdMs: nowMs,
      };
      const jobId = newId('job', nowMs, bytesFrom(clock));
      const job = await directory.put('job', environment, jobId, value, 'absent');
      run(job);
      return job;
    },
    async cancel(environment, id) {
      const found = await directory.get('job', environment, id);
      if (found === undefined) throw new Problem('not_found', `there is no operation '${id.slice(0, 80)}'`);
      if (!isOurs(found.value.subscriptionUid)) throw new Elsewhere(found.value.subscription, found.value.subscriptionUid);
      return found.value.state === 'running' ? end(running.get(id) ?? found, 'cancelled') : found;
    },
    async start(isOurs) {
      const nowMs = clock.now();
      for await (const job of allOf(directory, 'job')) {
        if (!isOurs(job.value.subscriptionUid)) continue;
        if (job.value.state === 'running') run(job);
        else if ((job.value.endedMs ?? 0) < nowMs - limits.jobKeptMs) await directory.delete('job', job.environment, job.id);
      }
    },
    leave(isTheirs) {
      for (const [id, { value }] of running) if (isTheirs(value.subscriptionUid)) running.delete(id);
    },
    stop: () => void (stopped = true),
  };
}

/** A range has nothing to send. */
function matcherOf(
  kind: Job['kind'],
  {
    cause,
    topic,
    topics,
    sinceMs = -Infinity,
    untilMs = Infinity,
    diedUntilMs = Infinity,
  }: DeadLetterFilter & { diedUntilMs?: number },
): (letter: DeadLetter) => boolean {
  const isAllowed = topics === undefined ? () => true : compileTopics(topics);
  return (letter) =>
    (kind === 'discard' || letter.kept !== undefined) &&
    (cause === undefined || [cause].flat().includes(letter.cause)) &&
    (topic === undefined || letter.topic === topic) &&
    (letter.topic === '' || isAllowed(letter.topic)) &&
    letter.diedMs >= sinceMs &&
    letter.diedMs <= Math.min(untilMs, diedUntilMs);
}
