/** Publishes over HTTP so that each event is stored once: with a deadline, repeated under the same key, each refusal named. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Event {
  readonly type: string;
  readonly data?: unknown;
  /** Which events keep their order among each other. */
  readonly partitionkey?: string;
  /** `id`, `source`, `subject`, extension attributes. */
  readonly [attribute: string]: unknown;
}

export interface Published {
  readonly id: string;
  /** `duplicate`: it was there already, by an earlier attempt. */
  readonly status: 'appended' | 'duplicate';
  readonly shard: string;
  readonly position: string;
}

/** RFC 9457. `code` is stable; `unanswered`: nobody knows whether it is stored, so publish it again under the same key or id. */
export interface Problem {
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly pointer?: string;
  readonly advice?: string;
}

export type Result = Published | { readonly problem: Problem };

export class PublishError extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(`${problem.code}: ${problem.detail}${problem.advice === undefined ? '' : ` ${problem.advice}`}`);
    this.name = 'PublishError';
    this.problem = problem;
  }
}

export interface PublisherOptions {
  /** Of the gateway, without a slash at its end. */
  readonly url: string;
  readonly key: string;
  readonly attempts?: number;
  /** One attempt, until its answer is read. */
  readonly attemptMs?: number;
  /** All attempts with their pauses: below the time that your own caller waits. */
  readonly deadlineMs?: number;
}

export interface Publisher {
  /**
   * One event. The key says what happened (`order-42-paid`), so that it is the same after a crash of the publisher, too; a
   * random one protects only against repeats of this call. Rejects with PublishError.
   */
  publish(event: Event, idempotencyKey?: string): Promise<Published>;
  /** Any number of events, in order; one result for each. An event without an id gets one, as in a batch the id is what repeats are known by. */
  publishAll(events: readonly Event[]): Promise<readonly Result[]>;
}

const BATCH_EVENTS = 500;
const PAUSE_MS_MIN = 200;
const PAUSE_MS_MAX = 5_000;

interface Answer {
  readonly status: number;
  // oxlint-disable-next-line typescript/no-explicit-any -- JSON of every shape, or none where a proxy answered
  readonly json: any;
  readonly retryAfterMs: number;
}

/** What one attempt came to: an end, or again, not before so many ms. */
type Tried<T> = { readonly end: T } | { readonly problem: Problem; readonly retryAfterMs: number };

export function createPublisher({ url, key, attempts = 5, attemptMs = 5_000, deadlineMs = 20_000 }: PublisherOptions): Publisher {
  async function post(body: string, headers: Record<string, string>, signal: AbortSignal): Promise<Answer> {
    const response = await fetch(`${url}/v1/events`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...headers },
      body,
      signal,
    });
    // Read whatever it is: a connection whose answer is not read can't be used again.
    const text = await response.text();
    return { status: response.status, json: parsed(text), retryAfterMs: retryAfterOf(response) };
  }

  /** Once more after what may pass by itself: no answer, 408, 429, 5xx, and 409 while an earlier attempt is being worked on. */
  async function repeat<T>(once: (signal: AbortSignal) => Promise<Tried<T>>): Promise<T | Problem> {
    const deadline = AbortSignal.timeout(deadlineMs);
    for (let attempt = 1; ; attempt++) {
      const tried = await once(AbortSignal.any([deadline, AbortSignal.timeout(attemptMs)])).catch(unanswered);
      if ('end' in tried) return tried.end;
      // Spread, so that publishers that failed together don't come back together.
      const pauseMs = Math.min(PAUSE_MS_MAX, PAUSE_MS_MIN * 2 ** attempt) * Math.random();
      if (attempt === attempts) return tried.problem;
      await sleep(Math.max(tried.retryAfterMs, pauseMs), undefined, { signal: deadline }).catch(() => undefined);
      if (deadline.aborted) return tried.problem;
    }
  }

  /** Fills in what is settled; what is not stays without a result. */
  async function publishBatch(events: readonly Event[]): Promise<Result[]> {
    const results: (Result | undefined)[] = events.map(() => undefined);
    const last = await repeat<undefined>(async (signal) => {
      const open = events.flatMap((event, at) => (results[at] === undefined ? [{ event, at }] : []));
      const answer = await post(JSON.stringify(open.map(({ event }) => event)), {}, signal);
      // Also an answer that is no 202 may have results: of events that were all refused.
      const each: readonly Result[] = answer.json?.results ?? open.map(() => ({ problem: problemOf(answer) }));
      for (const [place, { at }] of open.entries()) if (isSettled(each[place])) results[at] = each[place];
      const waiting = each.find((one) => !isSettled(one));
      return waiting === undefined ? { end: undefined } : { problem: (waiting as { problem: Problem }).problem, ...answer };
    });
    return results.map((result) => result ?? { problem: last as Problem });
  }

  return {
    async publish(event, idempotencyKey = randomUUID()) {
      // Printed once: the same key with another body is refused.
      const body = JSON.stringify(event);
      const result = await repeat<Result>(async (signal) => {
        const answer = await post(body, { 'idempotency-key': idempotencyKey }, signal);
        const one: Result = answer.status === 202 ? answer.json : { problem: problemOf(answer) };
        return isSettled(one) ? { end: one } : { problem: problemOf(answer), ...answer };
      });
      if ('position' in result) return result;
      throw new PublishError('problem' in result ? result.problem : result);
    },
    async publishAll(events) {
      const named = events.map((event) => ({ id: randomUUID(), ...event }));
      const results: Result[] = [];
      for (let at = 0; at < named.length; at += BATCH_EVENTS)
        results.push(...(await publishBatch(named.slice(at, at + BATCH_EVENTS))));
      return results;
    },
  };
}

/** Stored, or refused for good. */
function isSettled(result: Result | undefined): boolean {
  if (result === undefined) return false;
  if (!('problem' in result)) return true;
  const { status, code } = result.problem;
  return status < 500 && status !== 408 && status !== 429 && code !== 'in_flight';
}

function problemOf({ status, json }: Answer): Problem {
  return typeof json?.code === 'string' ? json : { status, code: `http_${status}`, detail: 'this is no answer of a gateway' };
}

function unanswered(error: unknown): { problem: Problem; retryAfterMs: number } {
  const { message, cause } = error as Error;
  const detail = `no answer in time, it may be stored or not: ${message}${cause instanceof Error ? ` (${cause.message})` : ''}`;
  return { problem: { status: 503, code: 'unanswered', detail }, retryAfterMs: 0 };
}

/** Seconds or a date (RFC 9110, section 10.2.3). */
function retryAfterOf({ headers }: Response): number {
  const value = headers.get('retry-after') ?? '0';
  const ms = /^\d+$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : 0;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // the status says enough
  }
}
