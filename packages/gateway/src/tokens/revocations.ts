/**
 * Tokens that were taken back before their end: single ones, or all that an app had made before a time. Kept in the directory,
 * so that every node hears of them within a second, and no longer than what they are about could live.
 */
import { Problem } from '@millrace/core/problem';
import type { Limits } from '../limits.ts';
import type { Clock } from '../ports/clock.ts';
import type { Directory, Revocation } from '../ports/directory.ts';
import { follow } from '../http/followed.ts';
import { TOKENS } from './times.ts';

export interface Revocations {
  isRevoked(token: Revocable): boolean;
  /** Counts here when resolved. One of a token that is none of the app's has no effect. */
  revoke(environment: string, what: { readonly app: string; readonly jti: string }): Promise<void>;
  revokeAll(environment: string, what: { readonly app: string; readonly beforeMs: number }): Promise<void>;
  stop(): void;
}

/** In the place of the app, of one that an admin takes back by its id alone. No app is called so. */
export const ANY_APP = '*';

export interface Revocable {
  readonly environment: string;
  readonly app: string;
  readonly jti: string;
  readonly madeMs: number;
}

interface Needs {
  readonly directory: Directory;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly onChange: () => void;
}

export async function openRevocations({ directory, clock, limits, onChange }: Needs): Promise<Revocations> {
  const known = await follow(directory, 'revocation', nameOf, onChange);
  let timer = clock.after(TOKENS.tidyMs, tidyLater);

  async function forget(): Promise<void> {
    for (const { environment, id, value } of known.values())
      if (value.untilMs <= clock.now()) await directory.delete('revocation', environment, id);
  }

  function tidyLater(): void {
    // What can not be deleted now is looked at again in an hour.
    void forget().catch(() => undefined);
    timer = clock.after(TOKENS.tidyMs, tidyLater);
  }

  async function mustHaveRoom(environment: string, app: string): Promise<void> {
    if (isFull(environment, app)) await forget();
    if (!isFull(environment, app)) return;
    throw new Problem('too_many_requests', `as many tokens of the app '${app}' as may be are revoked one by one already`, {
      retryAfterMs: TOKENS.ttlMsMax,
      advice: 'Revoke all that it has made: send the app instead of a jti.',
    });
  }

  function isFull(environment: string, app: string): boolean {
    const all = [...known.values()];
    const own = all.filter((one) => one.environment === environment && one.value.app === app);
    return all.length >= limits.revocations || own.length >= limits.revocationsOfApp;
  }

  const untilMs = (): number => clock.now() + TOKENS.ttlMsMax + TOKENS.leewayMs;

  return {
    isRevoked({ environment, app, jti, madeMs }) {
      if (known.get(placeFor(environment, app, jti)) !== undefined) return true;
      if (known.get(placeFor(environment, ANY_APP, jti)) !== undefined) return true;
      const all = known.get(placeFor(environment, app))?.value.beforeMs;
      return all !== undefined && madeMs < all;
    },
    async revoke(environment, { app, jti }) {
      if (known.get(placeFor(environment, app, jti)) !== undefined) return;
      await mustHaveRoom(environment, app);
      await directory.put('revocation', environment, `${app}/${jti}`, { app, jti, untilMs: untilMs() });
    },
    async revokeAll(environment, { app, beforeMs }) {
      const before = known.get(placeFor(environment, app))?.value.beforeMs ?? 0;
      await directory.put('revocation', environment, app, { app, beforeMs: Math.max(before, beforeMs), untilMs: untilMs() });
    },
    stop() {
      known.stop();
      timer.cancel();
    },
  };
}

function nameOf({ app, jti }: Revocation, { environment }: { readonly environment: string }): string {
  return placeFor(environment, app, jti);
}

/** The id of an app has no slash. */
function placeFor(environment: string, app: string, jti?: string): string {
  return `${environment}\n${app}${jti === undefined ? '' : `/${jti}`}`;
}
