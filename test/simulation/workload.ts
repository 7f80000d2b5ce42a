/** The publishers: several apps, topics and keys, batches, and idempotency keys used again in every way. */
import type { Event } from '@millrace/core/event';
import { encodeEvent } from '@millrace/core/event-bytes';
import { Problem } from '@millrace/core/problem';
import type { Draft, Gateway, Publish } from '@millrace/gateway/api';
import type { Entry } from '@millrace/gateway/ports/log';
import type { Invariants } from './invariants.ts';
import type { Intent } from './oracle/facts.ts';
import { APPS, KEYS, KINDS } from './scenario.ts';
import type { Scenario, TopicPlan } from './scenario.ts';
import type { World } from './world.ts';

export interface Workload {
  start(): void;
  stop(): void;
  published(): number;
  /** Events that come to the log past this gateway. */
  elsewhere(count: number): readonly Entry[];
}

interface Needs {
  readonly world: World;
  readonly scenario: Scenario;
  readonly invariants: Invariants;
  /** The gateway, while it is up. */
  readonly gateway: () => Gateway | undefined;
  readonly dedupeWindowMs: number;
}

interface Call {
  readonly request: Publish;
  readonly intents: readonly Intent[];
}

/** A call that may be made again. */
interface Used extends Call {
  readonly atMs: number;
  readonly wallMs: number;
}

const encoder = new TextEncoder();
const EXPECTED = new Set(['log_unavailable', 'ledger_unavailable', 'overloaded', 'shutting_down', 'in_flight']);

export function createWorkload({ world, scenario, invariants, gateway, dedupeWindowMs }: Needs): Workload {
  const random = world.random.fork('workload');
  let stopped = false;
  let numbers = 0;
  let keys = 0;
  let used: Used[] = [];

  function intentOf({ environment, topic }: TopicPlan, app: string): Intent {
    return {
      n: ++numbers,
      environment,
      app,
      topic,
      kind: random.pick(KINDS),
      amount: random.int(0, 9),
      ...(random.chance(0.7) ? { key: random.pick(KEYS) } : {}),
      ...(random.chance(0.12) ? { audience: random.pick(APPS) } : {}),
    };
  }

  function draftOf(intent: Intent, keyPath: boolean, id?: string): Draft {
    const { n, topic, key, kind, amount, audience } = intent;
    const data = { n, topic, ...(key === undefined ? {} : { key }), kind, amount, pad: 'x'.repeat(random.int(0, 150)) };
    const extensions = {
      ...(key === undefined || keyPath ? {} : { partitionkey: key }),
      ...(audience === undefined ? {} : { audience }),
    };
    return {
      type: topic,
      ...(id === undefined ? {} : { id, source: `/made/by/${intent.app}` }),
      extensions,
      data: encoder.encode(JSON.stringify(data)),
    };
  }

  function newCall(): Call {
    const app = random.pick(APPS);
    const environment = random.chance(0.85) ? 'default' : 'staging';
    const topics = scenario.topics.filter((topic) => topic.environment === environment);
    if (random.chance(0.3)) return keyed(random.pick(topics), app, `key-${random.int(++keys, keys + 2)}`);
    const made = Array.from({ length: random.pick([1, 1, 2, 4, 7]) }, () => {
      const topic = random.pick(topics);
      const id = random.chance(0.2) ? `id-${numbers + 1}` : undefined;
      const intent = { ...intentOf(topic, app), ...(id === undefined ? {} : { scope: `${environment} ${app} id ${id}` }) };
      return { intent, draft: draftOf(intent, topic.keyPath, id) };
    });
    return { request: { environment, app, events: made.map(({ draft }) => draft) }, intents: made.map(({ intent }) => intent) };
  }

  function keyed(topic: TopicPlan, app: string, idempotencyKey: string): Call {
    const intent = { ...intentOf(topic, app), scope: `${topic.environment} ${app} key ${idempotencyKey}` };
    return {
      request: { environment: topic.environment, app, events: [draftOf(intent, topic.keyPath)], idempotencyKey },
      intents: [intent],
    };
  }

  /** The same again, the same key by another app, or other content under a used key. Only well inside the window. */
  function reuse(): Call | undefined {
    used = used.filter(
      ({ atMs, wallMs }) => world.monotonic() - atMs < dedupeWindowMs / 2 && Math.abs(world.now() - wallMs) < dedupeWindowMs / 2,
    );
    const before = used.length === 0 ? undefined : random.pick(used);
    if (before === undefined) return undefined;
    const key = before.request.idempotencyKey;
    if (key === undefined || random.chance(0.4)) return before;
    const topic = scenario.topics.find((plan) => plan.environment === before.request.environment)!;
    return keyed(topic, random.chance(0.5) ? before.request.app : random.pick(APPS), key);
  }

  function canBeRepeated({ request, intents }: Call): boolean {
    return request.idempotencyKey !== undefined || intents.every(({ scope }) => scope !== undefined);
  }

  async function publish(call: Call): Promise<void> {
    const target = gateway();
    if (target === undefined) return;
    for (const intent of call.intents) invariants.intend(intent);
    if (canBeRepeated(call)) used.push({ ...call, atMs: world.monotonic(), wallMs: world.now() });
    world.trace.note(`publish ${call.intents.map(({ n, topic, key }) => `${n} ${topic} ${key ?? '-'}`).join(', ')}`);
    try {
      const results = await target.publish(call.request);
      invariants.answeredPublish(call.intents, results);
      for (const result of results)
        if (result.status === 'refused' && result.problem.code !== 'idempotency_key_reused' && !EXPECTED.has(result.problem.code))
          unexpected(result.problem);
    } catch (error) {
      if (!(error instanceof Problem) || !EXPECTED.has(error.code)) unexpected(error);
    }
  }

  function unexpected(error: unknown): void {
    invariants.broken(
      'contract',
      'publish refuses only with a problem that says why',
      error instanceof Error ? (error.stack ?? error.message) : String(error),
    );
  }

  function next(): void {
    if (stopped) return;
    const call = (random.chance(0.2) ? reuse() : undefined) ?? newCall();
    void publish(call);
    if (canBeRepeated(call) && random.chance(0.15)) void publish(call);
    world.at(random.gap(scenario.publishMs), 'publisher', next);
  }

  return {
    start: () => void world.at(1, 'publisher', next),
    stop: () => {
      stopped = true;
    },
    published: () => numbers,
    elsewhere(count) {
      return Array.from({ length: count }, () => {
        const intent = intentOf(random.pick(scenario.topics), random.pick(APPS));
        const { extensions = {}, data, type } = draftOf(intent, false);
        const event: Event = {
          id: `native-${intent.n}`,
          source: '/elsewhere',
          type,
          extensions,
          ...(data === undefined ? {} : { data }),
        };
        invariants.intend(intent);
        return { environment: intent.environment, app: intent.app, event, bytes: encodeEvent(event) };
      });
    },
  };
}
