/**
 * Who is asking, and what they may do. A key belongs to one app in one environment and acts only there; what belongs to
 * another app does not exist for it. A key with the scope `admin` acts for every app of its environment.
 */
import { hash, randomBytes } from 'node:crypto';
import { base32 } from '@millrace/core/base32';
import { newId } from '@millrace/core/ids';
import { Problem } from '@millrace/core/problem';
import type { Clock } from '../ports/clock.ts';
import type { Directory, Key, Scope, Subscription, Versioned } from '../ports/directory.ts';
import { type Followed, follow } from './followed.ts';

export const SCOPES: readonly Scope[] = ['admin', 'publish', 'subscribe', 'manage'];

export interface Caller {
  readonly environment: string;
  readonly app: string;
  readonly scopes: readonly Scope[];
  readonly admin: boolean;
}

export interface Access {
  /** The caller behind an Authorization header. Throws `unauthorized`, or `forbidden` where none of `allowed` is held. */
  check(authorization: string | undefined, allowed: readonly Scope[]): Caller;
  /** The subscription, if it is there for this caller; else `not_found`, in both cases the same. */
  subscription(caller: Caller, id: string): Promise<Versioned<Subscription>>;
  /** As above, by uid. */
  subscriptionOf(caller: Caller, uid: string): Versioned<Subscription> | undefined;
  /** Ids of an app's subscriptions, whoever asks. */
  subscriptionsOf(environment: string, app: string): string[];
  keys(): Iterable<Versioned<Key>>;
  stop(): void;
}

const KEY = /^Bearer +(mr_[a-z2-7]{8}_[a-z2-7]{40})$/i;

export async function createAccess({
  directory,
  clock,
}: {
  readonly directory: Directory;
  readonly clock: Clock;
}): Promise<Access> {
  const keys: Followed<Key> = await follow(directory, 'key', (key) => key.hash);
  const subscriptions: Followed<Subscription> = await follow(directory, 'subscription', ({ uid }) => uid);

  return {
    check(authorization, allowed) {
      const text = KEY.exec(authorization ?? '')?.[1];
      const found = text === undefined ? undefined : keys.get(hashOf(text));
      if (found === undefined || (found.value.expiresMs ?? Infinity) <= clock.now()) throw unauthorized(authorization);
      const { app, scopes } = found.value;
      const admin = scopes.includes('admin');
      if (!admin && !allowed.some((scope) => scopes.includes(scope))) {
        throw new Problem(
          'forbidden',
          `this needs a key with the scope ${allowed.join(' or ')}; this one has ${scopes.join(', ')}`,
        );
      }
      return { environment: found.environment, app, scopes, admin };
    },
    async subscription(caller, id) {
      const found = await directory.get('subscription', caller.environment, id);
      if (found === undefined || !mayActFor(caller, found.value.app))
        throw new Problem('not_found', `there is no subscription '${id.slice(0, 80)}'`);
      return found;
    },
    subscriptionOf(caller, uid) {
      const found = subscriptions.get(uid);
      return found?.environment === caller.environment && mayActFor(caller, found.value.app) ? found : undefined;
    },
    subscriptionsOf: (environment, app) =>
      [...subscriptions.values()].filter((one) => one.environment === environment && one.value.app === app).map(({ id }) => id),
    keys: () => keys.values(),
    stop() {
      keys.stop();
      subscriptions.stop();
    },
  };
}

export function mayActFor(caller: Caller, app: string): boolean {
  return caller.admin || caller.app === app;
}

export interface NewKey {
  readonly id: string;
  readonly value: Key;
  /** The key itself: `mr_`, eight characters to recognise it by, `_`, 200 random bits. Shown once, kept by nobody. */
  readonly text: string;
}

export function makeKey({
  app,
  scopes,
  nowMs,
  expiresMs,
}: {
  readonly app: string;
  readonly scopes: readonly Scope[];
  readonly nowMs: number;
  readonly expiresMs?: number;
}): NewKey {
  const prefix = `mr_${base32(randomBytes(5), 8)}`;
  const text = `${prefix}_${base32(randomBytes(25), 40)}`;
  return {
    id: newId('key', nowMs, (count) => randomBytes(count)),
    text,
    value: keyOf(text, { app, scopes, nowMs, ...(expiresMs === undefined ? {} : { expiresMs }) }),
  };
}

/** What is stored of a key. */
export function keyOf(
  text: string,
  {
    app,
    scopes,
    nowMs,
    expiresMs,
  }: { readonly app: string; readonly scopes: readonly Scope[]; readonly nowMs: number; readonly expiresMs?: number },
): Key {
  return {
    app,
    hash: hashOf(text),
    prefix: text.slice(0, 11),
    scopes,
    createdMs: nowMs,
    ...(expiresMs === undefined ? {} : { expiresMs }),
  };
}

/** Plain SHA-256 is enough: a key is random, there is nothing to guess. */
function hashOf(text: string): string {
  return hash('sha256', text, 'hex');
}

function unauthorized(authorization: string | undefined): Problem {
  const message = authorization === undefined ? 'there is no Authorization header' : 'the key is not known, or it has expired';
  return new Problem('unauthorized', message, {
    advice: 'Send the header "Authorization: Bearer mr_…" with a key of this gateway.',
  });
}
