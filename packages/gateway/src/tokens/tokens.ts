/**
 * Short-lived tokens: made by an app's backend with its key, for a browser or a device that must not have that key. A token may
 * never do more than the key that made it, and counts no longer than that key, its app, and the key that signed it do.
 */
import { hash, randomBytes } from 'node:crypto';
import { newId } from '@millrace/core/ids';
import { Problem } from '@millrace/core/problem';
import { readClaims, TOKEN_ALGORITHM, TOKEN_TYPE, type TokenClaims, type TokenScope } from '@millrace/core/token';
import { jwtVerify, SignJWT } from 'jose';
import type { Caller } from '../http/access.ts';
import { type Followed, follow, placeOf } from '../http/followed.ts';
import type { Limits } from '../limits.ts';
import type { Clock } from '../ports/clock.ts';
import type { App, Directory, Key } from '../ports/directory.ts';
import type { Vault } from '../vault.ts';
import { expired, headerOf, notOurs, problemOf, revoked, unknownKey } from './refusals.ts';
import { openRevocations, type Revocations } from './revocations.ts';
import { TOKENS } from './times.ts';
import { openTokenKeys, type TokenKeys } from './token-keys.ts';

export interface Tokens {
  /** What is granted has been checked against the caller. */
  make(caller: Caller, grant: Grant): Promise<MadeToken>;
  /**
   * Whom it speaks for. At once for one that was seen before; throws or rejects with one of the `token_…` problems, or with
   * `unauthorized` for what is none of ours.
   */
  check(text: string): Caller | Promise<Caller>;
  /** Why somebody who was let in, with a token or a key, would not be any more; undefined while nothing speaks against it. */
  refusalOf(caller: Caller): Problem | undefined;
  /**
   * Called when some who were let in may not be any more, but not for tokens that simply expire: whoever keeps connections
   * asks refusalOf() for each. Until the returned function is called.
   */
  onRevoked(listener: () => void): () => void;
  readonly revocations: Revocations;
  readonly keys: TokenKeys;
  stop(): void;
}

export interface Grant {
  readonly app: string;
  /** No token of it is older, whatever the clock of this node says. */
  readonly appCreatedMs: number;
  readonly scopes: readonly TokenScope[];
  /** Patterns. */
  readonly topics: readonly string[];
  readonly ttlMs: number;
  readonly audience?: string;
  readonly subject?: string;
  readonly origin?: string;
}

export interface MadeToken {
  readonly token: string;
  readonly jti: string;
  readonly audience: string;
  readonly expiresMs: number;
}

/** What is known of the token behind a caller. */
export interface TokenCaller {
  readonly id: string;
  readonly madeMs: number;
  readonly expiresMs: number;
  readonly audience: string;
  readonly subject?: string;
  readonly origin?: string;
  /** The key that signed it. */
  readonly kid: string;
}

interface Needs {
  readonly directory: Directory;
  readonly vault: Vault;
  readonly clock: Clock;
  readonly limits: Limits;
  /** By place. */
  readonly apps: Followed<App>;
}

/** A token has three parts; no key of ours has a dot. */
export const TOKEN = /^Bearer +([\w-]+\.[\w-]*\.[\w-]*)$/i;

export async function createTokens({ directory, vault, clock, limits, apps }: Needs): Promise<Tokens> {
  const listeners = new Set<() => void>();
  const onChange = (): void => listeners.forEach((listener) => listener());
  const keys = await openTokenKeys({ directory, vault, clock, limits, onChange });
  const revocations = await openRevocations({ directory, clock, limits, onChange });
  const makers: Followed<Key> = await follow(directory, 'key', (_key, place) => placeOf(place), onChange);
  // Whoever follows the apps does so before: what is asked for then knows of it already.
  const unwatch = directory.watch(({ kind }) => void (kind === 'app' && onChange()));
  /** By the hash of their text, oldest first: of what lets somebody in, nothing readable is kept. */
  const seen = new Map<string, Caller>();

  function keep(digest: string, caller: Caller): void {
    seen.set(digest, caller);
    for (const [oldest] of seen)
      if (seen.size > limits.tokensKept) seen.delete(oldest);
      else break;
  }

  async function verify(text: string, digest: string): Promise<Caller> {
    const { kid } = headerOf(text);
    if (keys.verifying(kid) === undefined) await keys.refresh();
    const key = keys.verifying(kid);
    if (key === undefined) throw unknownKey();
    const { payload } = await jwtVerify(text, key, {
      algorithms: [TOKEN_ALGORITHM],
      typ: TOKEN_TYPE,
      issuer: keys.issuer,
      audience: keys.issuer,
      clockTolerance: TOKENS.leewayMs / 1_000,
      currentDate: new Date(clock.now()),
    }).catch((error: unknown) => {
      throw problemOf(error);
    });
    const claims = readClaims(payload);
    if (claims === undefined) throw notOurs('it does not say what a token says');
    const caller = callerOf(claims, kid);
    const refusal = refusalOf(caller);
    if (refusal !== undefined) throw refusal;
    keep(digest, caller);
    return caller;
  }

  function refusalOf({ environment, app, key, token }: Caller): Problem | undefined {
    if (token !== undefined && token.expiresMs + TOKENS.leewayMs <= clock.now()) return expired();
    const maker = makers.get(placeOf({ environment, id: key }))?.value;
    const isMakerGone = maker === undefined || (maker.expiresMs ?? Infinity) <= clock.now();
    if (token === undefined) return isMakerGone ? new Problem('unauthorized', 'the key was deleted, or has expired') : undefined;
    if (isMakerGone) return revoked('the key that made the token was deleted, or has expired');
    const { id, madeMs, kid } = token;
    const createdMs = apps.get(placeOf({ environment, id: app }))?.value.createdMs;
    if (createdMs === undefined) return revoked('the app of the token was deleted');
    // To the millisecond: `iat` would be before an app that was made in the same second.
    if (madeMs < createdMs) return revoked('the app of the token was deleted, and another one is called so by now');
    if (revocations.isRevoked({ environment, app, jti: id, madeMs })) return revoked('the token was revoked');
    return keys.verifying(kid) === undefined ? unknownKey() : undefined;
  }

  return {
    async make(
      { environment, key: maker },
      { app, appCreatedMs, scopes, topics, ttlMs, audience = keys.issuer, subject, origin },
    ) {
      const nowMs = clock.now();
      const seconds = Math.floor(nowMs / 1_000);
      const makerEndsMs = makers.get(placeOf({ environment, id: maker }))?.value.expiresMs ?? Infinity;
      // Never longer than was asked for, nor than the key.
      const exp = Math.floor(Math.min(nowMs + ttlMs, makerEndsMs) / 1_000);
      const { kid, key } = keys.signing();
      const jti = newId('tok', nowMs, (count) => randomBytes(count));
      const claims: TokenClaims = {
        iss: keys.issuer,
        aud: audience,
        ...(subject === undefined ? {} : { sub: subject }),
        iat: seconds,
        nbf: seconds,
        exp,
        jti,
        iatMs: Math.max(nowMs, appCreatedMs),
        app,
        env: environment,
        key: maker,
        scopes,
        topics,
        ...(origin === undefined ? {} : { origin }),
      };
      const header = { alg: TOKEN_ALGORITHM, typ: TOKEN_TYPE, kid };
      const token = await new SignJWT({ ...claims }).setProtectedHeader(header).sign(key);
      if (token.length > TOKENS.charsMax)
        throw new Problem(
          'invalid_request',
          `the token would have ${token.length} characters, and at most ${TOKENS.charsMax} fit`,
          {
            pointer: '/topics',
            advice: 'Grant fewer or shorter topic patterns.',
          },
        );
      return { token, jti, audience, expiresMs: exp * 1_000 };
    },
    check(text) {
      if (text.length > TOKENS.charsMax) throw notOurs('no token is that long');
      const digest = hash('sha256', text, 'base64url');
      const caller = seen.get(digest);
      if (caller === undefined) return verify(text, digest);
      const refusal = refusalOf(caller);
      if (refusal === undefined) return caller;
      seen.delete(digest);
      throw refusal;
    },
    refusalOf,
    onRevoked(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    revocations,
    keys,
    stop() {
      keys.stop();
      revocations.stop();
      makers.stop();
      unwatch();
    },
  };
}

function callerOf({ jti, iatMs, exp, aud, sub, origin, app, env, key, scopes, topics }: TokenClaims, kid: string): Caller {
  const token = {
    id: jti,
    madeMs: iatMs,
    expiresMs: exp * 1_000,
    audience: aud,
    ...(sub === undefined ? {} : { subject: sub }),
    ...(origin === undefined ? {} : { origin }),
    kid,
  };
  return { key, environment: env, app, scopes, admin: false, topics, token };
}
