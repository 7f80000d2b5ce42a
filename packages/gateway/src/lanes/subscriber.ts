/** A subscription, running: its settings compiled, what its lanes share, and the lanes themselves. */
import { compileFilter } from '@millrace/core/filter';
import { compileTopics } from '@millrace/core/topic';
import type { Form, Target } from '../flow/deliver.ts';
import type { Lane } from '../flow/lane.ts';
import type { Wanted } from '../flow/match.ts';
import type { Limits } from '../limits.ts';
import type { Clock } from '../ports/clock.ts';
import type { DisabledCause, Failing, Subscription, Versioned, Webhook } from '../ports/directory.ts';
import { type Signer, simpleSigner, standardSigner } from '../signing.ts';
import type { Vault } from '../vault.ts';
import { headersAt, openHeaders } from '../webhook-headers.ts';
import { createBounds, type Bounds } from './bounds.ts';
import { createEndpoint, type Endpoint } from './endpoint.ts';
import { createGroup, type Group } from './group.ts';
import type { Share } from './turns.ts';

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
  /** Its consumers, where it delivers to streams. */
  readonly group: Group | undefined;
  /** Of the process's places; drills take theirs from it, too. */
  readonly share: Share;
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
  readonly share: Share;
  readonly vault: Vault;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly keepFailing: (subscription: Versioned<Subscription>, kept: Failing | undefined) => void;
  readonly isEgressFailing: () => boolean;
  readonly onDisable: (subscription: Versioned<Subscription>, cause: DisabledCause) => void;
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

export function createSubscriber(needs: Needs): Subscriber {
  const { versioned: first, vault, clock, limits } = needs;
  let versioned = first;
  let name = liveName(versioned.value);
  let turn = 0;
  const lanes = new Map<string, Lane>();
  const settings = (): Subscription => versioned.value;
  const bounds = createBounds({ subscription: settings, limits });
  const drills = new Map<string, Endpoint>();
  // What it delivers to is fixed when it is made.
  const group =
    first.value.deliver.stream === undefined
      ? undefined
      : createGroup({ clock, ackWaitMs: () => settings().deliver.stream?.ackWaitMs ?? 0, wake: () => pump() });
  let target = targetOf(versioned, vault, group);
  const shared = { subscription: settings, bounds, clock, limits, wake: () => pump(), isEgressFailing: needs.isEgressFailing };
  // Whatever comes of a drill says nothing of the subscription's own endpoint.
  const newDrill = (): Endpoint => createEndpoint({ ...shared, keepFailing: () => undefined, onDisable: () => undefined });

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
    share: needs.share,
    group,
    endpoint: createEndpoint({
      ...shared,
      ...(group === undefined ? {} : { hasRoom: () => group.hasRoom }),
      keepFailing: (kept) => needs.keepFailing(versioned, kept),
      onDisable: (cause) => needs.onDisable(versioned, cause),
    }),
    endpointAt: (url) => drills.getOrInsertComputed(url, newDrill),
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
      target = targetOf(next, vault, group);
      indexed = index();
    },
    targetAt(url) {
      const { webhook } = settings().deliver;
      return webhook === undefined ? target : { ...target, url, headers: headersAt(url, webhook, target.headers) };
    },
    pump,
    stop() {
      subscriber.endpoint.stop();
      for (const endpoint of drills.values()) endpoint.stop();
      group?.leave();
    },
  };
  let indexed = index();
  return subscriber;
}

function targetOf({ id, value }: Versioned<Subscription>, vault: Vault, group: Group | undefined): Target {
  const { webhook } = value.deliver;
  if (webhook === undefined)
    return { uid: value.uid, id, group, url: '', headers: {}, timeoutMs: 0, form: 'event', signer: UNSIGNED };
  const { url, timeoutMs } = webhook;
  const headers = openHeaders(webhook, vault);
  return { uid: value.uid, id, url, headers, timeoutMs, form: formOf(webhook), signer: signerOf(webhook, vault) };
}

/** To consumers whose connection says who they are. */
const UNSIGNED: Signer = standardSigner([]);

function formOf({ signature, body, json = 'canonical' }: Webhook): Form {
  if (signature !== 'simple') return body;
  return json === 'as-sent' ? `simple-${body}-as-sent` : `simple-${body}`;
}

function signerOf({ signature, secrets }: Webhook, vault: Vault): Signer {
  const opened = secrets.map(({ sealed, untilMs = Infinity }) => ({ text: vault.open(sealed), untilSeconds: untilMs / 1_000 }));
  return signature === 'simple' ? simpleSigner(opened) : standardSigner(opened);
}
