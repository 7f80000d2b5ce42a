/** Publishing at the door: a caller's drafts go to the gateway, each with an answer of its own. */
import { pointerTo } from '@millrace/core/json-pointer';
import { Problem } from '@millrace/core/problem';
import type { Draft, Gateway, Published } from '../api.ts';
import type { Limits } from '../limits.ts';
import type { Clock } from '../ports/clock.ts';
import type { Directory } from '../ports/directory.ts';
import type { Caller } from './access.ts';
import { HTTP_BOUNDS } from './bounds.ts';
import { topicOf } from './topic-settings.ts';

/** Where the first event of a topic declares it: told of every topic that came about this way. */
export type Undeclared = { readonly onDeclared: (topic: string, owner: string) => void };

export interface Publish {
  /** One answer per draft, in order. A Problem among the drafts is answered as it is. */
  (caller: Caller, drafts: readonly (Draft | Problem)[], idempotencyKey?: string): Promise<readonly Published[]>;
  readonly batchEvents: number;
}

interface Needs {
  readonly gateway: Gateway;
  readonly directory: Directory;
  readonly clock: Clock;
  readonly limits: Pick<Limits, 'batchEvents'>;
  readonly undeclared?: Undeclared;
}

export function createPublish({ gateway, directory, clock, limits, undeclared }: Needs): Publish {
  let declaredHere = 0;

  async function send(
    { environment, app }: Caller,
    events: readonly Draft[],
    idempotencyKey: string | undefined,
  ): Promise<readonly Published[]> {
    const published = await gateway.publish({
      environment,
      app,
      events,
      ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
    });
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
      ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
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
      if (declaredHere >= HTTP_BOUNDS.topicsOnTheFly) return false;
      declaredHere++;
      const made = await directory
        .put('topic', environment, topic, topicOf({}, { owner, nowMs: clock.now() }), 'absent')
        .catch(ifThere);
      if (made !== undefined) undeclared?.onDeclared(topic, owner);
    }
    return true;
  }

  async function publish(
    caller: Caller,
    drafts: readonly (Draft | Problem)[],
    idempotencyKey?: string,
  ): Promise<readonly Published[]> {
    const events = drafts.filter((draft): draft is Draft => !(draft instanceof Problem));
    const sent = events.length === 0 ? [] : await send(caller, events, idempotencyKey);
    let next = 0;
    return drafts.map((draft, at) =>
      draft instanceof Problem ? { status: 'refused', problem: draft } : inPlace(sent[next++] as Published, at, drafts.length),
    );
  }

  return Object.assign(publish, { batchEvents: limits.batchEvents });
}

function isUnknownTopic(one: Published): boolean {
  return one.status === 'refused' && one.problem.code === 'unknown_topic';
}

function ifThere(error: unknown): undefined {
  if (error instanceof Problem && error.code === 'already_exists') return undefined;
  throw error;
}

/** The gateway points into the event, the publisher sees the list. */
function inPlace(one: Published, at: number, count: number): Published {
  if (one.status !== 'refused' || count === 1 || one.problem.pointer === undefined) return one;
  const { code, message, advice, retryAfterMs, pointer } = one.problem;
  const details = {
    pointer: pointerTo('', at) + pointer,
    ...(advice === undefined ? {} : { advice }),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  };
  return { status: 'refused', problem: new Problem(code, message, details) };
}
