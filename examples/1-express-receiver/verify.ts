/** Who sent this? Both forms take several secrets, so that old and new ones count while a secret is rotated. */
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { Webhook } from 'standardwebhooks';

export interface Verify {
  /** `body`: the very bytes that came in, never JSON that was parsed and printed again. */
  (headers: IncomingHttpHeaders, body: Buffer): boolean;
}

/**
 * Standard Webhooks, the default of a subscription: signs id, timestamp and body. The library refuses timestamps that
 * are more than five minutes off, and reads bodies as UTF-8: for binary ones take ../2-fetch-receiver/verify.ts.
 */
export function standard(secrets: readonly string[]): Verify {
  const webhooks = secrets.map((secret) => new Webhook(secret));
  return (headers, body) => webhooks.some((webhook) => isSignedFor(webhook, headers, body));
}

function isSignedFor(webhook: Webhook, headers: IncomingHttpHeaders, body: Buffer): boolean {
  try {
    // Left to itself, it parses the body, and a text that is no JSON looks like a forgery.
    webhook.verify(body, headers as Record<string, string>, { jsonParse: false });
    return true;
  } catch {
    return false; // whatever is wrong with a signature, the answer is the same
  }
}

/**
 * `"signature": "simple"`: `x-signature` is the HMAC-SHA256 of the body in lower-case hex. It signs neither id nor time:
 * who has seen one delivery can send it again under another id.
 */
export function simple(secrets: readonly string[]): Verify {
  return ({ 'x-signature': given }, body) =>
    typeof given === 'string' &&
    secrets.some((secret) => isEqual(given, createHmac('sha256', secret).update(body).digest('hex')));
}

/** As texts: Buffer.from(given, 'hex') would stop at the first letter that is none, and compare the rest. */
function isEqual(given: string, expected: string): boolean {
  const [one, other] = [Buffer.from(given), Buffer.from(expected)];
  return one.length === other.length && timingSafeEqual(one, other);
}
