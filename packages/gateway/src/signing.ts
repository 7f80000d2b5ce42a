/**
 * Signing in the hot path: synchronous, over what core says is signed. WebCrypto would cost a
 * promise and a thread hop per delivery. Shares the vectors of spec/vectors/signatures.json with core.
 */
import { createPrivateKey, sign as signWith } from 'node:crypto';
import { createHmacSha256 } from './hmac.ts';
import { formatV1a, parseSecret, signedContent, simpleKey } from '@millrace/core/signatures';

/** The signature headers of one delivery. */
export interface Sign {
  (id: string, timestampSeconds: number, body: Uint8Array): { readonly [header: string]: string };
}

/** PKCS #8 framing of an Ed25519 seed (RFC 8410, section 7). */
const ED25519_PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex');

/** A secret in clear text, and until when it counts (seconds since 1970). */
export interface OpenSecret {
  readonly text: string;
  readonly untilSeconds: number;
}

/** How one subscription signs: with the secrets that count at the time of the delivery. */
export interface Signer {
  readonly sign: Sign;
  /**
   * For a receiver that holds one secret only, while two of them count: signs with another one than `sign`. Undefined
   * where there is none, or where one delivery carries all signatures anyway.
   */
  other(timestampSeconds: number): Sign | undefined;
  /** The other one was right: it is the first to be tried from now on. */
  prefer(other: Sign): void;
}

/** Standard Webhooks: every secret signs, newest first, so that a receiver may verify with either during a rotation. */
export function standardSigner(secrets: readonly OpenSecret[]): Signer {
  const signers = secrets.map(({ text, untilSeconds }) => ({ sign: signerOf(text), untilSeconds }));
  return {
    sign: (id, timestampSeconds, body) => ({
      'webhook-id': id,
      'webhook-timestamp': String(timestampSeconds),
      'webhook-signature': signers
        .filter(({ untilSeconds }) => untilSeconds > timestampSeconds)
        .map(({ sign }) => sign(id, timestampSeconds, body))
        .join(' '),
    }),
    other: () => undefined,
    prefer: () => undefined,
  };
}

/** `x-signature`: lower-case hex HMAC-SHA256 of the very bytes sent, by the secret that worked last, at first the newest. */
export function simpleSigner(secrets: readonly OpenSecret[]): Signer {
  const signers = secrets.map(({ text, untilSeconds }) => ({ sign: simpleSign(text), untilSeconds }));
  let preferred = 0;
  let turn = 0;
  const counts = (at: number, timestampSeconds: number): boolean => (signers[at]?.untilSeconds ?? 0) > timestampSeconds;
  const first = (timestampSeconds: number): number => (counts(preferred, timestampSeconds) ? preferred : 0);
  return {
    sign: (id, timestampSeconds, body) =>
      (signers[first(timestampSeconds)] as (typeof signers)[number]).sign(id, timestampSeconds, body),
    other(timestampSeconds) {
      if (signers.length === 1) return undefined;
      const others = [...signers.keys()].filter((at) => at !== first(timestampSeconds) && counts(at, timestampSeconds));
      // After several rotations in a row there are more than one: one of them per attempt.
      return others.length === 0 ? undefined : signers[others[turn++ % others.length] as number]?.sign;
    },
    prefer(other) {
      preferred = Math.max(
        0,
        signers.findIndex(({ sign }) => sign === other),
      );
    },
  };
}

function simpleSign(secret: string): Sign {
  const hmac = createHmacSha256(simpleKey(secret));
  return (id, timestampSeconds, body) => ({
    'webhook-id': id,
    'webhook-timestamp': String(timestampSeconds),
    'x-signature': hmac('', body, 'hex'),
  });
}

/** One signature, as it stands in `webhook-signature`. */
export type SignOne = (id: string, timestampSeconds: number, body: Uint8Array) => string;

function signerOf(text: string): SignOne {
  const secret = parseSecret(text);
  if (secret.kind === 'private') {
    const key = createPrivateKey({ key: Buffer.concat([ED25519_PKCS8, secret.seed]), format: 'der', type: 'pkcs8' });
    return (id, timestampSeconds, body) => formatV1a(signWith(null, signedContent(id, timestampSeconds, body), key));
  }
  return v1With(secret.key);
}

/** What signedContent and formatV1 of core say, in pieces. */
export function v1With(key: Uint8Array): SignOne {
  const hmac = createHmacSha256(key);
  return (id, timestampSeconds, body) => `v1,${hmac(`${id}.${timestampSeconds}.`, body, 'base64')}`;
}
