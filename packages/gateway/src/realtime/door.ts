/** The realtime door: sessions behind each of their transports, on the server of the HTTP door. */
import type { FastifyInstance } from 'fastify';
import type { IncomingMessage } from 'node:http';
import { Problem } from '@millrace/core/problem';
import type { From, Gateway } from '../api.ts';
import { type Access, type Caller, mayUseTopics } from '../http/access.ts';
import { mustBeLocal } from '../http/local.ts';
import type { Publish } from '../http/publish.ts';
import type { Room } from '../http/room.ts';
import { createSubscriptionQuota } from '../http/subscription-quota.ts';
import type { Limits } from '../limits.ts';
import { Elsewhere } from '../look-up.ts';
import type { Clock } from '../ports/clock.ts';
import type { Subscription, Versioned } from '../ports/directory.ts';
import type { SubFrame } from './frames.ts';
import { type GroupConsumer, type GroupSub, joinHere } from './member.ts';
import { createMessages } from './messages.ts';
import { pullDoor } from './pull.ts';
import { joinThere, RELAYED } from './relay.ts';
import type { Admitted, SessionNeeds } from './session-needs.ts';
import { createSessions, type Sessions } from './sessions.ts';
import { originRefused, type Origins } from '../tokens/origins.ts';
import type { Tokens } from '../tokens/tokens.ts';
import type { Quotas } from '../quotas/quotas.ts';
import type { Vault } from '../vault.ts';
import { sseDoor } from './sse.ts';
import { websocketDoor } from './websocket.ts';

interface Needs {
  readonly gateway: Gateway;
  readonly access: Access;
  readonly origins: Origins;
  readonly quotas: Quotas;
  readonly tokens: Tokens;
  readonly vault: Vault;
  readonly publish: Publish;
  readonly clock: Clock;
  readonly limits: Limits;
  /** For bodies, of all requests together. */
  readonly room: Room;
  /** For answers that their clients have not read yet. */
  readonly answers: Room;
  readonly isLocal?: boolean;
  readonly node?: string;
  /** In a cluster: where the subscription with this uid is worked; undefined where nobody knows now. */
  readonly addressOf?: (uid: string) => string | undefined;
  /** Resolves when that may be another. */
  readonly changed?: () => Promise<void>;
  readonly onError?: (error: unknown) => void;
}

/** How old the word of another node may be: clocks differ. */
const PROOF_MS = 600_000;

export async function realtimeDoor(app: FastifyInstance, needs: Needs): Promise<Sessions> {
  const {
    gateway,
    access,
    origins,
    quotas,
    tokens,
    vault,
    publish,
    clock,
    limits,
    room,
    answers,
    isLocal = false,
    node = '',
    onError = () => undefined,
  } = needs;
  const subscriptionQuota = createSubscriptionQuota(needs);
  // What a node opens for a client of its own is counted there.
  const count: SessionNeeds['count'] = (caller, what, isRelayed) => {
    if (isRelayed) return () => undefined;
    const { environment, app } = caller;
    return what === 'subscriptions' ? subscriptionQuota.open(caller) : quotas.open({ environment, id: app }, what);
  };
  const proof = (): string => vault.seal(`${RELAYED} ${clock.now()}`);
  const messages = createMessages();
  const sessions = createSessions({
    // Read when a session is opened: the door's document is made without a gateway.
    get feeds() {
      return gateway.feeds;
    },
    get log() {
      return gateway.feeds.log;
    },
    groupOf,
    enterGroup,
    count,
    publish: async (caller, event, idempotencyKey) => {
      const [published] = await publish(caller, [event], { idempotencyKey });
      if (published === undefined) throw new Problem('internal_error', 'a publish was not answered');
      return published;
    },
    messages,
    clock,
    limits,
    node,
    onError,
  });

  async function groupOf(
    caller: Caller,
    { group = '', topics, filter, from, create = true }: SubFrame,
  ): Promise<Versioned<Subscription>> {
    // Left aside, it would bring a consumer what it does not want.
    if (filter !== undefined)
      throw new Problem('invalid_request', 'a group has a filter of its own, for all its consumers', {
        advice: 'PATCH /v1/subscriptions/ID with "filter" changes it.',
      });
    try {
      return await access.subscription(caller, group);
    } catch (error) {
      if (!create || topics === undefined || (error as Problem).code !== 'not_found') throw error;
    }
    // Something that stays: as over HTTP, no token makes it.
    if (!caller.admin && (caller.token !== undefined || !caller.scopes.includes('manage')))
      throw new Problem(
        'forbidden',
        `there is no group '${group.slice(0, 80)}', and to make one needs a key with the scope manage`,
        {
          advice: 'Make it once: PUT /v1/subscriptions/ID with "deliver": {"stream": {}}.',
        },
      );
    mayUseTopics(caller, topics, '/topics');
    const spec = { app: caller.app, topics, deliver: { stream: {} }, ordering: 'key', ...beginsOf(from) } as const;
    try {
      return (await subscriptionQuota.create(caller, group, spec)).subscription;
    } catch (error) {
      // Two consumers that come at once: one makes it.
      if ((error as Problem).code !== 'already_exists') throw error;
      return access.subscription(caller, group);
    }
  }

  /** Here, or at the node that works it; a move is waited for. */
  async function enterGroup(
    subscription: Versioned<Subscription>,
    consumer: GroupConsumer,
    credentials: string | undefined,
  ): Promise<GroupSub> {
    try {
      return joinHere({ groups: gateway.groups, messages }, subscription, consumer);
    } catch (error) {
      if (!(error instanceof Elsewhere) || credentials === undefined) throw error;
      const address = needs.addressOf?.(subscription.value.uid);
      if (address === undefined) throw error;
      return joinThere({ address, group: subscription.id, consumer, credentials, proof: proof(), limits });
    }
  }

  /** Of the first frame, or, from clients that can set headers, of the request. */
  function admitFor({ headers: { authorization, origin, [RELAYED]: relayed } }: IncomingMessage): SessionNeeds['admit'] {
    const isRelayed = isOfNode(relayed);
    return async (token) => {
      const header = token === undefined ? authorization : `Bearer ${token}`;
      const caller = await access.check(header, ['publish', 'subscribe'], 'tokens');
      mayBeHere(origin, caller);
      const expiresMs = expiresMsOf(caller);
      const life = expiresMs === undefined ? {} : { expiresMs };
      return { caller, isRelayed, credentials: isRelayed ? undefined : header, ...life } satisfies Admitted;
    };
  }

  /** Nodes of a cluster have one key for what they seal: who can seal is one of them. */
  function isOfNode(proof: string | string[] | undefined): boolean {
    if (typeof proof !== 'string') return false;
    try {
      const [what, atMs] = vault.open(proof).split(' ');
      return what === RELAYED && Math.abs(clock.now() - Number(atMs)) < PROOF_MS;
    } catch {
      return false;
    }
  }

  /** A token counts no longer than the key that made it. That a key has expired nobody tells: it is asked when somebody comes in. */
  function expiresMsOf(caller: Caller): number | undefined {
    const endsMs = Math.min(caller.token?.expiresMs ?? Infinity, access.keyExpiresMs(caller) ?? Infinity);
    return endsMs === Infinity ? undefined : endsMs;
  }

  /** What stands in a page anybody can read there: it comes with a token. On one's own machine it is one's own page. */
  function mayBeHere(origin: string | undefined, caller: Caller): void {
    if (origin === undefined || isLocal) return;
    if (caller.token === undefined)
      throw new Problem('forbidden', 'a page connects with a token, not with a key', {
        advice:
          'Have the backend of the app make one: POST /v1/tokens; only a gateway of "millrace dev" takes a key here, from pages of its own machine.',
      });
    if (!origins.mayConnect(origin, caller)) throw originRefused(origin, caller);
  }

  const forget = tokens.onRevoked(() => sessions.check((caller) => tokens.refusalOf(caller)));
  app.addHook('onClose', () => forget());

  websocketDoor(app, {
    sessions,
    limits,
    clock,
    checkClient: ({ headers }) => {
      if (isLocal) mustBeLocal(headers);
    },
    admitFor,
  });
  await sseDoor(app, {
    sessions,
    feeds: () => gateway.feeds,
    messages,
    room,
    clock,
    limits,
    admitFor,
    mayBeHere,
    expiresMsOf,
  });
  await pullDoor(app, {
    gateway,
    messages,
    sessions,
    room,
    answers,
    clock,
    limits,
    groupOf,
    count,
    mayBeHere,
    expiresMsOf,
    isRelayed: ({ headers }) => isOfNode(headers[RELAYED]),
    proof,
    addressOf: needs.addressOf,
    changed: needs.changed,
    onError,
  });
  return sessions;
}

/** Where a group begins that is made. */
function beginsOf(from: SubFrame['from']): { readonly from?: From } {
  if (from === undefined) return {};
  if (from === 'latest' || from === 'earliest') return { from };
  if (typeof from === 'object' && from.timeMs !== undefined) return { from: { timeMs: from.timeMs } };
  throw new Problem('invalid_request', 'a group begins at latest, earliest, or a timeMs: it keeps its cursors here');
}
