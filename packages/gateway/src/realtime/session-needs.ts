/** What a session is made of: who may be in it, what it reads, and where its publishes go. */
import type { Published } from '../api.ts';
import type { Caller } from '../http/access.ts';
import type { Limits } from '../limits.ts';
import type { Clock } from '../ports/clock.ts';
import type { Subscription, Versioned } from '../ports/directory.ts';
import type { Feeds } from './feeds.ts';
import type { ClientFrame, SubFrame } from './frames.ts';
import type { EnterGroup } from './member.ts';
import type { Messages, Shared } from './messages.ts';
import type { Unsent } from './unsent.ts';
import type { CloseCode } from './close-codes.ts';

/** What carries a session. */
export interface Connection {
  send(text: string): void;
  sendShared(shared: Shared): void;
  /** Given to it and not taken by the network yet. No getter: see talk.ts. */
  unsentBytes(): number;
  /** Of all that was given to it. */
  takenBytes(): number;
  close(code: CloseCode, reason: string): void;
  /** Nothing more is read from the client, or is again. */
  hold?(isHeld: boolean): void;
  /** Behind its close: what was sent still goes out, and nothing is waited for. */
  cut?(): void;
}

export interface SessionNeeds {
  readonly connection: Connection;
  /** The caller behind a token or key; throws or rejects with a Problem. */
  readonly admit: (token: string | undefined) => Admitted | Promise<Admitted>;
  /** Counts one more that is open for the caller's app: throws `quota_exceeded`, or answers how to give it back. */
  readonly count: (caller: Caller, what: 'connections' | 'subscriptions', isRelayed: boolean) => () => void;
  readonly feeds: Feeds;
  readonly enterGroup: EnterGroup;
  /** The subscription that a group is, made where it is not there yet and may be made. */
  readonly groupOf: (caller: Caller, frame: SubFrame) => Promise<Versioned<Subscription>>;
  readonly publish: (caller: Caller, event: ClientEvent, idempotencyKey: string | undefined) => Promise<Published>;
  readonly messages: Messages;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly unsent: Unsent;
  readonly id: string;
  readonly node: string;
  /** Identity of the log. */
  readonly log: string;
  /** It is known who it is. */
  readonly onGreeted: () => void;
  readonly onEnd: () => void;
  readonly onError: (error: unknown) => void;
}

export type ClientEvent = Extract<ClientFrame, { op: 'pub' }>['event'];

export interface Admitted {
  readonly caller: Caller;
  /** As an Authorization header. */
  readonly credentials?: string | undefined;
  /** Another node speaks for the client. */
  readonly isRelayed?: boolean;
  /** When the right ends, wall time. */
  readonly expiresMs?: number;
}
