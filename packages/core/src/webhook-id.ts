/**
 * The id of a delivery: the same on every attempt, retry, redrive, replay, node and log; different deliveries never
 * share it. It goes out as `webhook-id` and `x-idempotency-key`.
 */
import { base32 } from './base32.ts';

export { base32 };

export interface DeliveryIdentity {
  /** The subscription's uid. */
  readonly subscription: string;
  /** Who published: an app's id, or the identity of the native log. */
  readonly publisher: string;
  readonly source: string;
  /** The event's id. */
  readonly id: string;
  /** Only of a replay `--as-new`: the run's id. */
  readonly run?: string;
}

/** SHA-256 of bytes; the gateway passes node:crypto's. */
export type Sha256 = (bytes: Uint8Array) => Uint8Array;

const encoder = new TextEncoder();

/**
 * `msg_` and 26 base32 characters (130 bits) of a SHA-256 over `millrace-webhook-id-v1` and the members in the order of
 * DeliveryIdentity, each as its length in bytes (4 bytes, big endian) and its UTF-8. The lengths make it unambiguous:
 * no two identities have one encoding. A member that is left out adds nothing, an empty one adds its length 0.
 */
export function webhookId(identity: DeliveryIdentity, sha256: Sha256): string {
  const { subscription, publisher, source, id, run } = identity;
  const members = ['millrace-webhook-id-v1', subscription, publisher, source, id];
  if (run !== undefined) members.push(run);
  return `msg_${base32(sha256(prefixed(members)), 26)}`;
}

function prefixed(members: readonly string[]): Uint8Array {
  const texts = members.map((member) => encoder.encode(member));
  const bytes = new Uint8Array(texts.reduce((sum, text) => sum + 4 + text.length, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const text of texts) {
    view.setUint32(at, text.length);
    bytes.set(text, at + 4);
    at += 4 + text.length;
  }
  return bytes;
}
