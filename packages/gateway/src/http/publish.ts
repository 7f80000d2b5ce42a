/** Publishing at the door: a caller's drafts go to the gateway, each with an answer of its own. */
import { pointerTo } from '@millrace/core/json-pointer';
import { Problem } from '@millrace/core/problem';
import type { TraceContext } from '@millrace/core/trace';
import type { Draft, Gateway, Published } from '../api.ts';
import type { Limits } from '../limits.ts';
import type { Clock } from '../ports/clock.ts';
import type { Directory } from '../ports/directory.ts';
import type { Entered, Quotas } from '../quotas/quotas.ts';
import { type Caller, mayUseTopics } from './access.ts';
import { topicOf } from './topic-settings.ts';

/** Where the first event of a topic declares it: told of every topic that came about this way. */
export type Undeclared = { readonly onDeclared: (topic: string, owner: string) => void };

export interface Publish {
  /** One answer per draft, in order. A Problem among the drafts is answered as it is. Rejects where it is more than the app's quotas. */
  (caller: Caller, drafts: readonly (Draft | Problem)[], how?: How): Promise<readonly Published[]>;
  readonly limits: Limits;
}

export interface How {
  readonly idempotencyKey?: string | undefined;
  /** Of the whole body that counts. Default: that of the payloads. */
  readonly bytes?: number;
  /** What was taken of the quotas at the door. */
  readonly entered?: Entered | undefined;
  /** Of the call: goes along with its events. */
  readonly trace?: TraceContext | undefined;
}

interface Needs {
  readonly gateway: Gateway;
  readonly directory: Directory;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly undeclared?: Undeclared;
  readonly quotas: Quotas;
}

export function createPublish({ gateway, directory, clock, limits, undeclared, quotas }: Needs): Publish {
  let declaredHere = 0;

  async function send(
    { environment, app }: Caller,
    events: readonly Draft[],
    { idempotencyKey, trace }: Pick<How, 'idempotencyKey' | 'trace'>,
  ): Promise<readonly Published[]> {
    const how = { ...(idempotencyKey === undefined ? {} : { idempotencyKey }), ...(trace === undefined ? {} : { trace }) };
    const published = await gateway.publish({ environment, app, events, ...how });
    const unknown = undeclared === undefined ? [] : published.flatMap((one, at) => (isUnknownTopic(one) ? [at] : []));
    if (
      unknown.length === 0 ||
      !(await declare({ environment, owner: app, topics: new Set(unknown.map((at) => (events[at] as Draft).type)) }))
    )
      return published;
    const again = await gateway.publish({
      environment,
      app,
      events: unknown.map((at) => events[at] as Draft),
      ...how,
    });
    return published.map((one, at) => (unknown.includes(at) ? (again[unknown.indexOf(at)] as Published) : one));
  }

  /** False where this process has made up enough topics. */
  async function declare({
    environment,
    owner,
    topics,
  }: {
    environment: string;
    owner: string;
    topics: ReadonlySet<string>;
  }): Promise<boolean> {
    for (const topic of topics) {
      if (declaredHere >= limits.topicsOnTheFly) return false;
      declaredHere++;
      const made = await directory
        .put('topic', environment, topic, topicOf({}, { owner, nowMs: clock.now(), limits }), 'absent')
        .catch(ifThere);
      if (made !== undefined) undeclared?.onDeclared(topic, owner);
    }
    return true;
  }

  async function publish(
    caller: Caller,
    drafts: readonly (Draft | Problem)[],
    { idempotencyKey, bytes = bytesOf(drafts), entered, trace }: How = {},
  ): Promise<readonly Published[]> {
    const allowed = caller.topics === undefined ? drafts : drafts.map((draft, at) => checked(caller, draft, at, drafts.length));
    const events = allowed.filter((draft): draft is Draft => !(draft instanceof Problem));
    const owner = { environment: caller.environment, id: caller.app };
    const count = quotas.publish(owner, { events: events.length, bytes }, entered);
    let sent: readonly Published[] = [];
    try {
      if (events.length > 0) sent = await send(caller, events, { idempotencyKey, trace });
    } finally {
      count(sent.filter(({ status }) => status === 'appended').length);
    }
    let next = 0;
    return allowed.map((draft, at) =>
      draft instanceof Problem ? { status: 'refused', problem: draft } : inPlace(sent[next++] as Published, at, drafts.length),
    );
  }

  return Object.assign(publish, { limits });
}

function bytesOf(drafts: readonly (Draft | Problem)[]): number {
  return drafts.reduce((all, draft) => all + (draft instanceof Problem ? 0 : (draft.data?.length ?? 0)), 0);
}

/** The draft, or why this key may not publish it. A type that is no topic is refused later, with the reason. */
function checked(caller: Caller, draft: Draft | Problem, at: number, count: number): Draft | Problem {
  if (draft instanceof Problem) return draft;
  try {
    mayUseTopics(caller, [draft.type], '/type');
    return draft;
  } catch (error) {
    if (error instanceof Problem) return problemInPlace(error, at, count);
    throw error;
  }
}

function isUnknownTopic(one: Published): boolean {
  return one.status === 'refused' && one.problem.code === 'unknown_topic';
}

function ifThere(error: unknown): undefined {
  if (error instanceof Problem && error.code === 'already_exists') return undefined;
  throw error;
}

function inPlace(one: Published, at: number, count: number): Published {
  return one.status === 'refused' ? { status: 'refused', problem: problemInPlace(one.problem, at, count) } : one;
}

/** The gateway points into the event, the publisher sees the list. */
function problemInPlace(problem: Problem, at: number, count: number): Problem {
  const { code, message, advice, retryAfterMs, pointer } = problem;
  if (count === 1 || pointer === undefined) return problem;
  const details = {
    pointer: pointerTo('', at) + pointer,
    ...(advice === undefined ? {} : { advice }),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  };
  return new Problem(code, message, details);
}
