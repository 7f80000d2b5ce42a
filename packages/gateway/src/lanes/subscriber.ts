/** A subscription, running: its settings compiled, what its lanes share, and the lanes themselves. */
import { compileFilter } from '@millrace/core/filter';
import { compileTopics } from '@millrace/core/topic';
import type { Target } from '../flow/deliver.ts';
import type { Lane } from '../flow/lane.ts';
import type { Wanted } from '../flow/match.ts';
import type { Limits } from '../limits.ts';
import type { Clock } from '../ports/clock.ts';
import type { Subscription, Versioned, Webhook } from '../ports/directory.ts';
import { simpleSign, standardSign } from '../signing.ts';
import type { Vault } from '../vault.ts';
import { createBounds, type Bounds } from './bounds.ts';
import { createEndpoint, type Endpoint } from './endpoint.ts';

/** What the match index holds: a subscription as it was configured, leading back to what runs it. */
export interface Indexed extends Wanted {
  readonly subscriber: Subscriber;
}

export interface Subscriber {
  readonly uid: string;
  readonly id: string;
  readonly environment: string;
  readonly slot: number;
  readonly bounds: Bounds;
  readonly endpoint: Endpoint;
  /** The endpoint of a drill: its health is not the subscription's. */
  endpointAt(url: string): Endpoint;
  /** Present settings. */
  readonly versioned: Versioned<Subscription>;
  /** The name of its live lanes. */
  readonly liveName: string;
  readonly indexed: Indexed;
  readonly target: Target;
  /** All its lanes by name and shard: live, runs, drains. */
  readonly lanes: Map<string, Lane>;
  configure(versioned: Versioned<Subscription>): void;
  /** Where a run with another endpoint sends to. */
  targetAt(url: string): Target;
  /** Lets its lanes start what may start, each time beginning with another. */
  pump(): void;
  stop(): void;
}

interface Needs {
  readonly versioned: Versioned<Subscription>;
  readonly vault: Vault;
  readonly clock: Clock;
  readonly limits: Limits;
}

export const SLOTS = 128;

export const laneKey = (name: string, shard: string): string => `${name}\n${shard}`;
/** The live lane's name; a rewind begins a new pass, so that what was settled before does not count for it. */
export const liveName = ({ uid, pass }: Pick<Subscription, 'uid' | 'pass'>): string => `${uid}.p${pass}`;
export const runName = (uid: string, run: string): string => `${uid}.${run}`;
export const uidOf = (lane: string): string => lane.slice(0, lane.indexOf('.'));

export function slotOf(uid: string): number {
  let sum = 0x811c9dc5;
  for (let at = 0; at < uid.length; at++) sum = Math.imul(sum ^ uid.charCodeAt(at), 0x01000193);
  return (sum >>> 0) % SLOTS;
}

export function createSubscriber({ versioned: first, vault, clock, limits }: Needs): Subscriber {
  let versioned = first;
  let name = liveName(versioned.value);
  let target = targetOf(versioned, vault);
  let turn = 0;
  const lanes = new Map<string, Lane>();
  const settings = (): Subscription => versioned.value;
  const bounds = createBounds({ subscription: settings, limits });
  const drills = new Map<string, Endpoint>();
  const newEndpoint = (): Endpoint => createEndpoint({ subscription: settings, bounds, clock, limits, wake: () => pump() });

  function pump(): void {
    // The usual case, once per delivery: one lane, nothing to take turns with.
    if (lanes.size === 1) {
      for (const lane of lanes.values()) lane.pump();
      return;
    }
    const all = [...lanes.values()];
    for (let at = 0; at < all.length; at++) all[(at + turn) % all.length]?.pump();
    turn++;
  }

  function index(): Indexed {
    const { topics, filter, app } = versioned.value;
    const base = { uid: versioned.value.uid, environment: versioned.environment, app, topics: compileTopics(topics), subscriber };
    return filter === undefined ? base : { ...base, filter: compileFilter(filter) };
  }

  const subscriber: Subscriber = {
    uid: first.value.uid,
    id: first.id,
    environment: first.environment,
    slot: slotOf(first.value.uid),
    bounds,
    endpoint: newEndpoint(),
    endpointAt: (url) => drills.getOrInsertComputed(url, newEndpoint),
    get versioned() {
      return versioned;
    },
    get liveName() {
      return name;
    },
    get indexed() {
      return indexed;
    },
    get target() {
      return target;
    },
    lanes,
    configure(next) {
      versioned = next;
      name = liveName(next.value);
      target = targetOf(next, vault);
      indexed = index();
    },
    targetAt: (url) => ({ ...target, url }),
    pump,
    stop() {
      subscriber.endpoint.stop();
      for (const endpoint of drills.values()) endpoint.stop();
    },
  };
  let indexed = index();
  return subscriber;
}

function targetOf({ id, value }: Versioned<Subscription>, vault: Vault): Target {
  const { webhook } = value.deliver;
  const { url, headers, timeoutMs, body } = webhook;
  return { uid: value.uid, id, url, headers, timeoutMs, body, sign: signOf(webhook, vault) };
}

function signOf({ signature, secrets }: Webhook, vault: Vault): Target['sign'] {
  const opened = secrets.map(({ sealed }) => vault.open(sealed));
  return signature === 'simple' ? simpleSign(opened) : standardSign(opened);
}
