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

/** Standard Webhooks: every secret signs, newest first, so that a receiver may verify with either during a rotation. */
export function standardSign(secrets: readonly string[]): Sign {
  const signers = secrets.map(signerOf);
  return (id, timestampSeconds, body) => ({
    'webhook-id': id,
    'webhook-timestamp': String(timestampSeconds),
    'webhook-signature': signers.map((sign) => sign(id, timestampSeconds, body)).join(' '),
  });
}

/** `x-signature`: lower-case hex HMAC-SHA256 of the very bytes sent, by the newest secret. */
export function simpleSign(secrets: readonly string[]): Sign {
  const hmac = createHmacSha256(simpleKey(secrets[0] ?? ''));
  return (id, timestampSeconds, body) => ({
    'webhook-id': id,
    'webhook-timestamp': String(timestampSeconds),
    'x-signature': hmac('', body, 'hex'),
  });
}

function signerOf(text: string): (id: string, timestampSeconds: number, body: Uint8Array) => string {
  const secret = parseSecret(text);
  if (secret.kind === 'private') {
    const key = createPrivateKey({ key: Buffer.concat([ED25519_PKCS8, secret.seed]), format: 'der', type: 'pkcs8' });
    return (id, timestampSeconds, body) => formatV1a(signWith(null, signedContent(id, timestampSeconds, body), key));
  }
  const hmac = createHmacSha256(secret.key);
  // What signedContent and formatV1 of core say, in pieces.
  return (id, timestampSeconds, body) => `v1,${hmac(`${id}.${timestampSeconds}.`, body, 'base64')}`;
}
