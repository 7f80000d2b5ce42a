/** Which web pages may speak to the gateway: each app lists the origins of its own. */
import { isOriginAmong } from '@millrace/core/origin';
import { Problem } from '@millrace/core/problem';
import type { Caller } from '../http/access.ts';
import { type Followed, placeOf } from '../http/followed.ts';
import type { App } from '../ports/directory.ts';

export interface Origins {
  /** Whether any app lists it: all that can be said before it is known who asks. */
  isKnown(origin: string): boolean;
  /**
   * Whether a page of this origin (the header as it came) may speak as this caller; without an origin it is no page of a
   * browser. Also for the upgrade to a WebSocket, which browsers make across origins without asking.
   */
  mayConnect(origin: string | undefined, caller: Caller): boolean;
}

export function createOrigins(apps: Followed<App>): Origins {
  return {
    isKnown(origin) {
      for (const { value } of apps.values()) if (isOriginAmong(value.origins ?? [], origin)) return true;
      return false;
    },
    mayConnect(origin, { environment, app, token }) {
      if (origin === undefined) return true;
      if (token?.origin !== undefined && token.origin !== origin) return false;
      return isOriginAmong(apps.get(placeOf({ environment, id: app }))?.value.origins ?? [], origin);
    },
  };
}

/** `caller`: where it is known who asks. */
export function originRefused(origin: string, { token, app = '{app}' }: Partial<Pick<Caller, 'app' | 'token'>> = {}): Problem {
  const page = `'${origin.slice(0, 80)}'`;
  if (token?.origin !== undefined && token.origin !== origin)
    return new Problem('origin_not_allowed', `this token is for pages of '${token.origin}', and this one is of ${page}`, {
      advice: 'POST /v1/tokens takes the origin that a token is for; without one it is for all origins of its app.',
    });
  return new Problem('origin_not_allowed', `a page of ${page} may not call with this token`, {
    advice: `Add it to the origins of the app, all of which are named: millrace app update ${app} --origin …, or PATCH /v1/apps/${app} with {"origins": [...]}.`,
  });
}
