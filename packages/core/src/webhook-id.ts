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

/** SHA-256 of bytes, which are good until it returns; the gateway passes node:crypto's. */
export type Sha256 = (bytes: Uint8Array) => Uint8Array;

const encoder = new TextEncoder();
/** Used again for every id: an array of its own per delivery cost more than hashing it. Longer identities get one. */
const scratch = new Uint8Array(4_096);

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
  // A code unit takes at most three bytes of UTF-8.
  const bytesMax = members.reduce((sum, member) => sum + 4 + 3 * member.length, 0);
  const bytes = bytesMax <= scratch.length ? scratch : new Uint8Array(bytesMax);
  let at = 0;
  for (const member of members) {
    const length = writeUtf8(member, bytes, at + 4);
    bytes[at] = length >>> 24;
    bytes[at + 1] = length >>> 16;
    bytes[at + 2] = length >>> 8;
    bytes[at + 3] = length;
    at += 4 + length;
  }
  return bytes.subarray(0, at);
}

/** Ids are short and nearly always ASCII: then a loop is quicker than a call of the encoder. */
function writeUtf8(text: string, bytes: Uint8Array, at: number): number {
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code > 0x7f) return encoder.encodeInto(text, bytes.subarray(at)).written;
    bytes[at + index] = code;
  }
  return text.length;
}
