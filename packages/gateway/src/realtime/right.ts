/** A session's right to be here: whose it is, when another token is asked for, what that one may not see, and when it ends. */
import { Problem } from '@millrace/core/problem';
import type { Caller } from '../http/access.ts';
import type { Limits } from '../limits.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type { ClientFrame } from './frames.ts';
import type { Admitted, SessionNeeds } from './session-needs.ts';
import type { Talk } from './talk.ts';

export interface Right {
  caller(): Caller | undefined;
  /** What the client last came in with, for another node. */
  credentials(): string | undefined;
  begin(one: Admitted): void;
  /** Rejects with what ends the session. */
  renew(frame: Extract<ClientFrame, { op: 'auth' }>): Promise<void>;
  /** For `welcome` and `authed`. */
  lifeOf(one: Admitted): { readonly tokenMs?: number };
}

interface Needs {
  readonly admit: SessionNeeds['admit'];
  readonly talk: Talk;
  readonly clock: Clock;
  readonly limits: Limits;
  /** Drops the subs that this caller may not see, and answers their numbers. */
  readonly review: (caller: Caller) => Promise<readonly number[]>;
  readonly onExpired: () => void;
}

/** A client has one token at a time. */
const RENEWALS_MAX = 8;
/** Of a token's life, until another one is asked for. */
const REFRESH_AT = 0.8;

export function createRight({ admit, talk, clock, limits, review, onExpired }: Needs): Right {
  let caller: Caller | undefined;
  let credentials: string | undefined;
  let refreshTimer: Timer | undefined;
  let expiryTimer: Timer | undefined;
  let renewals = 0;
  let last: Promise<void> | undefined;

  function begin({ caller: now, credentials: own, expiresMs }: Admitted): void {
    caller = now;
    credentials = own;
    talk.drop(refreshTimer);
    talk.drop(expiryTimer);
    if (expiresMs === undefined) return;
    const leftMs = Math.max(0, expiresMs - clock.now());
    // Keys last longer than a timer; they are not renewed anyway.
    if (now.token !== undefined)
      refreshTimer = talk.after(leftMs * REFRESH_AT, () =>
        talk.say({ op: 'refresh', withinMs: Math.round(leftMs * (1 - REFRESH_AT)) }),
      );
    expireAt(expiresMs + limits.tokenGraceMs);
  }

  /** A timer lasts a day at most. */
  function expireAt(atMs: number): void {
    expiryTimer = talk.after(Math.max(0, atMs - clock.now()), () => {
      if (clock.now() < atMs) return expireAt(atMs);
      onExpired();
    });
  }

  const lifeOf = ({ expiresMs }: Admitted): { readonly tokenMs?: number } =>
    expiresMs === undefined ? {} : { tokenMs: Math.max(0, expiresMs - clock.now()) };

  async function renew(token: string): Promise<void> {
    const before = caller as Caller;
    if (talk.isOver()) return;
    const one = await admit(token);
    if (talk.isOver()) return;
    if (one.caller.app !== before.app || one.caller.environment !== before.environment)
      throw new Problem('forbidden', 'a session stays with the app it began with');
    begin(one);
    const dropped = await review(one.caller);
    talk.say({ op: 'authed', ...lifeOf(one), dropped });
  }

  return {
    caller: () => caller,
    credentials: () => credentials,
    begin,
    lifeOf,
    async renew({ token }) {
      if (renewals >= RENEWALS_MAX)
        throw new Problem('too_many_requests', `at most ${RENEWALS_MAX} tokens of a session are looked at at once`);
      renewals++;
      try {
        // One after the other: the last one is to count.
        const renewed = last === undefined ? renew(token) : last.then(() => renew(token));
        last = renewed.catch(() => undefined);
        await renewed;
      } finally {
        renewals--;
      }
    },
  };
}
