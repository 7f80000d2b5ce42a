/**
 * Short-lived tokens: what one says, and how it is told from any other JWT (RFC 8725). Made and checked by the gateway; an edge
 * that has the published keys can check one as well.
 */

/** `typ` of the header, to be compared exactly: no JWT that was made for something else is a token of ours. */
export const TOKEN_TYPE = 'millrace+jwt';

/** The only `alg` there is. What a token says of its algorithm chooses nothing. */
export const TOKEN_ALGORITHM = 'EdDSA';

export type TokenScope = 'publish' | 'subscribe';

export interface TokenClaims {
  readonly iss: string;
  readonly aud: string;
  /** Whom it was made for, in the words of the app's own backend. */
  readonly sub?: string;
  /** Seconds since 1970, as all JWTs have them. */
  readonly iat: number;
  readonly nbf: number;
  readonly exp: number;
  readonly jti: string;
  /** When it was made, to the millisecond: what was made in the second of a revocation, but after it, still counts. */
  readonly iatMs: number;
  readonly app: string;
  /** The environment. */
  readonly env: string;
  /** Id of the key that made it: it counts for as long as that does. */
  readonly key: string;
  readonly scopes: readonly TokenScope[];
  /** Patterns. */
  readonly topics: readonly string[];
  /** The one origin whose pages may use it. */
  readonly origin?: string;
}

/** The claims, once a signature has been verified; undefined where one is missing or of another shape. */
export function readClaims(payload: Readonly<Record<string, unknown>>): TokenClaims | undefined {
  const { iss, aud, sub, iat, nbf, exp, jti, iatMs, app, env, key, scopes, topics, origin } = payload;
  if (![iss, aud, jti, app, env, key].every(isText)) return undefined;
  if (![iat, nbf, exp, iatMs].every(Number.isFinite)) return undefined;
  if (![sub, origin].every((one) => one === undefined || isText(one))) return undefined;
  if (!isList(scopes) || !scopes.every((one) => one === 'publish' || one === 'subscribe') || !isList(topics)) return undefined;
  return payload as unknown as TokenClaims;
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

function isList(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.length > 0 && value.every(isText);
}
