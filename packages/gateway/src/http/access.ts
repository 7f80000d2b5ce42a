/**
 * Who is asking, and what they may do. A key belongs to one app in one environment and acts only there; what belongs to
 * another app does not exist for it. A key with the scope `admin` acts for every app of its environment.
 */
import { hash, randomBytes } from 'node:crypto';
import { base32 } from '@millrace/core/base32';
import { newId } from '@millrace/core/ids';
import { Problem } from '@millrace/core/problem';
import { coversPattern } from '@millrace/core/topic';
import type { Clock } from '../ports/clock.ts';
import type { Directory, Key, Scope, Subscription, Versioned } from '../ports/directory.ts';
import { TOKEN, type TokenCaller, type Tokens } from '../tokens/tokens.ts';
import { type Followed, follow } from './followed.ts';

export const SCOPES: readonly Scope[] = ['admin', 'publish', 'subscribe', 'manage'];

export interface Caller {
  /** The id of the key that asks, or that made the token that asks. */
  readonly key: string;
  readonly environment: string;
  readonly app: string;
  readonly scopes: readonly Scope[];
  readonly admin: boolean;
  /** Patterns of the topics it may publish, subscribe to and manage; all without them. */
  readonly topics?: readonly string[];
  /** Where it asks with a token. */
  readonly token?: TokenCaller;
}

export interface Access {
  /**
   * The caller behind an Authorization header. Throws or rejects with `unauthorized` or a `token_…` problem, or with `forbidden`
   * where none of `allowed` is held, and for a token where only keys are taken. A token that is new here takes a while.
   */
  check(authorization: string | undefined, allowed: readonly Scope[], takes?: 'keys' | 'tokens'): Caller | Promise<Caller>;
  /** The subscription, if it is there for this caller; else `not_found`, in both cases the same. */
  subscription(caller: Caller, id: string): Promise<Versioned<Subscription>>;
  /** As above, by uid. */
  subscriptionOf(caller: Caller, uid: string): Versioned<Subscription> | undefined;
  /** As above, whoever asks. */
  subscriptionWith(uid: string): Versioned<Subscription> | undefined;
  /** Ids of an app's subscriptions, whoever asks. */
  subscriptionsOf(environment: string, app: string): string[];
  keys(): Iterable<Versioned<Key>>;
  /** Keys that sign, begin so and count now: none or one; more by chance, and a few at most. */
  signing(prefix: string): readonly Versioned<Key>[];
  /** The caller whose signature by this key was right. */
  signed(key: Versioned<Key>): Caller;
  /** When the caller's key ends; undefined where it does not. */
  keyExpiresMs(caller: Caller): number | undefined;
  stop(): void;
}

/** How exactly it is kept when a key was last used: a write per request would cost more than it tells. */
const USED_MS = 3_600_000;

/** 40 random bits tell keys apart: two that begin alike are rare, and of more than these the last would not be tried. */
const ALIKE_MAX = 4;

const KEY = /^Bearer +(mr_[a-z2-7]{8}_[a-z2-7]{40})$/i;

export async function createAccess({
  directory,
  clock,
  tokens,
}: {
  readonly directory: Directory;
  readonly clock: Clock;
  readonly tokens: Tokens;
}): Promise<Access> {
  /** Keys that sign, by what they begin with; made when it is asked for after a change. */
  let signers: ReadonlyMap<string, readonly Versioned<Key>[]> | undefined;
  const keys: Followed<Key> = await follow(
    directory,
    'key',
    (key) => key.hash,
    () => (signers = undefined),
  );
  /** Keys whose last use is being written down. */
  const noting = new Set<string>();
  const subscriptions: Followed<Subscription> = await follow(directory, 'subscription', ({ uid }) => uid);

  /** Told to the directory without waiting: what a request wants does not depend on it. */
  function noteUse({ environment, id, version, value }: Versioned<Key>): void {
    const nowMs = clock.now();
    if (nowMs - (value.usedMs ?? 0) < USED_MS || noting.has(id)) return;
    noting.add(id);
    void directory
      .put('key', environment, id, { ...value, usedMs: nowMs }, version)
      .catch(() => undefined) // it was deleted or changed meanwhile, or can't be written now: then the next use tells
      .finally(() => noting.delete(id));
  }

  function ofKey(authorization: string | undefined, allowed: readonly Scope[]): Caller {
    const text = KEY.exec(authorization ?? '')?.[1];
    const found = text === undefined ? undefined : keys.get(hashOf(text));
    if (found === undefined || isOver(found)) throw refusalOf(authorization);
    const caller = allowedAs(callerOf(found), allowed);
    noteUse(found);
    return caller;
  }

  const isOver = ({ value }: Versioned<Key>): boolean => (value.expiresMs ?? Infinity) <= clock.now();

  return {
    check(authorization, allowed, takes = 'keys') {
      const token = TOKEN.exec(authorization ?? '')?.[1];
      if (token === undefined) return ofKey(authorization, allowed);
      if (takes !== 'tokens') throw forKeys();
      const caller = tokens.check(token);
      return caller instanceof Promise ? caller.then((one) => allowedAs(one, allowed)) : allowedAs(caller, allowed);
    },
    async subscription(caller, id) {
      const found = await directory.get('subscription', caller.environment, id);
      if (found === undefined || !mayActFor(caller, found.value.app))
        throw new Problem('not_found', `there is no subscription '${id.slice(0, 80)}'`);
      mayUseTopics(caller, found.value.topics, '/topics');
      return found;
    },
    subscriptionOf(caller, uid) {
      const found = subscriptions.get(uid);
      return found?.environment === caller.environment && maySee(caller, found.value) ? found : undefined;
    },
    subscriptionWith: (uid) => subscriptions.get(uid),
    subscriptionsOf: (environment, app) =>
      [...subscriptions.values()].filter((one) => one.environment === environment && one.value.app === app).map(({ id }) => id),
    keys: () => keys.values(),
    signing(prefix) {
      signers ??= Map.groupBy(
        [...keys.values()].filter(({ value }) => value.sealed !== undefined),
        ({ value }) => value.prefix,
      );
      return (signers.get(prefix) ?? []).slice(0, ALIKE_MAX).filter((key) => !isOver(key));
    },
    signed(key) {
      noteUse(key);
      return callerOf(key);
    },
    keyExpiresMs: ({ environment, key }) => keys.at({ environment, id: key })?.value.expiresMs,
    stop() {
      keys.stop();
      subscriptions.stop();
    },
  };
}

function callerOf({ id, environment, value: { app, scopes, topics } }: Versioned<Key>): Caller {
  const caller = { key: id, environment, app, scopes, admin: scopes.includes('admin') };
  return topics === undefined ? caller : { ...caller, topics };
}

/** The caller, who holds one of the scopes. */
function allowedAs(caller: Caller, allowed: readonly Scope[]): Caller {
  const { admin, scopes, token } = caller;
  if (admin || allowed.some((scope) => scopes.includes(scope))) return caller;
  const what = token === undefined ? 'key' : 'token';
  throw new Problem(
    'forbidden',
    `this needs a ${what} with the scope ${allowed.join(' or ')}; this one has ${scopes.join(', ')}`,
    {
      advice: `Use ${token === undefined ? 'another key, which an admin makes' : 'a token with that scope, from the backend of the app'}.`,
    },
  );
}

function forKeys(): Problem {
  return new Problem('forbidden', 'tokens publish and read events; this needs a key', {
    advice: 'Call it from the backend of the app, with the key there.',
  });
}

export function mayActFor(caller: Caller, app: string): boolean {
  return caller.admin || caller.app === app;
}

/** Whether a subscription is the caller's, and of its topics. */
export function maySee(caller: Caller, { app, topics }: Subscription): boolean {
  return mayActFor(caller, app) && topics.every((topic) => coversTopic(caller, topic));
}

/**
 * Whether what became of an event of this topic is the caller's. Not by its subscription alone: that may have been for other
 * topics when the event came. What stands for a range of events has no topic, and is its subscription's.
 */
export function maySeeTopic(caller: Caller, topic: string): boolean {
  return topic === '' || coversTopic(caller, topic);
}

/** Told apart they say whether a name leads somewhere inside: whoever sets endpoints could map that network by them. */
const OF_INSIDE: readonly string[] = ['unreachable', 'dns', 'blocked_address'];

/** The cause of a failed attempt as the caller may know it. */
export function causeFor({ admin }: Caller, cause: string): string {
  return !admin && OF_INSIDE.includes(cause) ? 'unreachable' : cause;
}

/** What one means that asks for this cause: also to count by it is to tell them apart. */
export function causesOf({ admin }: Caller, cause: string): readonly string[] {
  return !admin && OF_INSIDE.includes(cause) ? OF_INSIDE : [cause];
}

function coversTopic({ topics: allowed }: Caller, topic: string): boolean {
  return allowed === undefined || allowed.some((pattern) => coversPattern(pattern, topic));
}

/** Throws `forbidden` unless the key's topics cover each of these, which are topics or patterns. */
export function mayUseTopics(caller: Caller, topics: readonly string[], pointer: string): void {
  const outside = topics.find((topic) => !coversTopic(caller, topic));
  if (outside !== undefined)
    throw new Problem(
      'forbidden',
      `this ${caller.token === undefined ? 'key' : 'token'} is for the topics ${caller.topics?.join(', ')}, not for '${outside.slice(0, 80)}'`,
      {
        pointer,
        advice: `Name topics that it is for, or use another ${caller.token === undefined ? 'key' : 'token'}.`,
      },
    );
}

export interface NewKey {
  readonly id: string;
  readonly value: Key;
  /**
   * The key itself: `mr_` (`mrs_` of one that signs), eight characters to recognise it by, `_`, 200 random bits. Shown once; kept
   * by nobody, but sealed where it signs.
   */
  readonly text: string;
}

/** What a key is made of. */
export interface KeyGrant {
  readonly app: string;
  readonly scopes: readonly Scope[];
  readonly topics?: readonly string[];
  readonly nowMs: number;
  readonly expiresMs?: number;
}

/** Of a key that signs, whoever stores it seals its text beside the value. */
export function makeKey(grant: KeyGrant, kind: 'mr' | 'mrs' = 'mr'): NewKey {
  const prefix = `${kind}_${base32(randomBytes(5), 8)}`;
  const text = `${prefix}_${base32(randomBytes(25), 40)}`;
  return {
    id: newId('key', grant.nowMs, (count) => randomBytes(count)),
    text,
    value: keyOf(text, grant),
  };
}

/** What is stored of a key. */
export function keyOf(text: string, { app, scopes, topics, nowMs, expiresMs }: KeyGrant): Key {
  return {
    app,
    hash: hashOf(text),
    prefix: text.slice(0, text.startsWith('mrs_') ? 12 : 11),
    scopes,
    ...(topics === undefined ? {} : { topics }),
    createdMs: nowMs,
    ...(expiresMs === undefined ? {} : { expiresMs }),
  };
}

/** Plain SHA-256 is enough: a key is random, there is nothing to guess. */
function hashOf(text: string): string {
  return hash('sha256', text, 'hex');
}

function refusalOf(authorization: string | undefined): Problem {
  if (/^signature( |$)/i.test(authorization ?? ''))
    return new Problem('forbidden', 'a signature is taken by POST /v1/events alone; this needs a key', {
      advice: 'Sign what goes there, its topic with it; for anything else use a key that is sent.',
    });
  // Whether there is such a key is not said.
  if (/^(bearer +)?mrs_/i.test(authorization ?? ''))
    return new Problem('unauthorized', 'a key that begins with mrs_ signs, and is never sent', {
      advice: 'Sign with it, and make another one if anybody may have seen it on its way.',
    });
  return new Problem('unauthorized', whyUnauthorized(authorization), {
    advice: `Send the header "Authorization: Bearer mr_…" with a key of this gateway${isEmpty(authorization) ? '; if it comes from a variable, look whether that is set' : ''}.`,
  });
}

const isEmpty = (authorization: string | undefined): boolean => /^\s*(bearer\s*)?$/i.test(authorization ?? 'none');

/** Never with what was sent, but for the name of the scheme. */
function whyUnauthorized(authorization: string | undefined): string {
  if (authorization === undefined) return 'there is no Authorization header';
  const [scheme = '', ...rest] = authorization.trim().split(/\s+/);
  if (scheme === '') return 'the Authorization header is empty';
  if (/^bearer$/i.test(scheme) && rest.length === 0)
    return "the key is empty: the Authorization header says 'Bearer' and nothing behind it";
  if (/^mr_/i.test(scheme)) return "the Authorization header holds the key alone: 'Bearer' and a space go before it";
  if (!/^bearer$/i.test(scheme))
    return `the Authorization header says ${/^[\w-]{1,20}$/.test(scheme) && rest.length > 0 ? `'${scheme}'` : 'something else'}, but a key is sent as 'Bearer'`;
  return 'the key is not known, or it has expired';
}
