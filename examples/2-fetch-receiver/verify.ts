/** Who sent this? With WebCrypto alone, over the very bytes that came in. */

export interface Verify {
  (headers: Headers, body: Uint8Array<ArrayBuffer>): Promise<boolean>;
}

/** Either way; no more are looked at, as a stranger must not make us verify thousands. */
const SIGNATURES_MAX = 10;

export interface StandardOptions {
  /** `whsec_…`: old and new ones, while a secret is rotated. */
  readonly secrets: readonly string[];
  readonly toleranceSeconds?: number;
  /** Wall time, ms since 1970. */
  readonly now?: () => number;
}

/** Standard Webhooks: `v1`, HMAC-SHA256 over id, timestamp and body, in base64. */
export function standard({ secrets, toleranceSeconds = 300, now = Date.now }: StandardOptions): Verify {
  const keys = secrets.map((secret) => bytesOf(secret.replace(/^whsec_/, '')));
  return async (headers, body) => {
    const [id, timestamp, signatures] = ['webhook-id', 'webhook-timestamp', 'webhook-signature'].map((name) => headers.get(name));
    if (!id || !signatures || !timestamp || !/^\d{1,12}$/.test(timestamp)) return false;
    if (Math.abs(now() / 1_000 - Number(timestamp)) > toleranceSeconds) return false;
    const content = joined(new TextEncoder().encode(`${id}.${timestamp}.`), body);
    const macs = signatures
      .split(' ')
      .slice(0, SIGNATURES_MAX)
      .filter((one) => one.startsWith('v1,'));
    return isSignedByAny(
      keys,
      macs.map((one) => bytesOf(one.slice('v1,'.length))),
      content,
    );
  };
}

/** `"signature": "simple"`: HMAC-SHA256 over the body, in lower-case hex; its key is the whole text of the secret. No id, no time. */
export function simple({ secrets }: { readonly secrets: readonly string[] }): Verify {
  const keys = secrets.map((secret) => new TextEncoder().encode(secret));
  return async (headers, body) => {
    const given = headers.get('x-signature') ?? '';
    if (!/^[0-9a-f]{64}$/.test(given)) return false;
    const mac = Uint8Array.from(given.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16));
    return isSignedByAny(keys, [mac], body);
  };
}

type Bytes = Uint8Array<ArrayBuffer>;

/** Keys are imported anew for each request: on Workers nothing asynchronous may be carried from one request to the next. */
async function isSignedByAny(keys: readonly Bytes[], macs: readonly Bytes[], content: Bytes): Promise<boolean> {
  for (const bytes of keys) {
    const key = await crypto.subtle.importKey('raw', bytes, { name: 'HMAC', hash: 'SHA-256' }, false, ['verify']);
    // verify() compares in constant time; comparing texts would not.
    for (const mac of macs) if (await crypto.subtle.verify('HMAC', key, mac, content)) return true;
  }
  return false;
}

/** Of base64; none where it is not. */
function bytesOf(base64: string): Bytes {
  try {
    return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  } catch {
    return new Uint8Array(0); // matches nothing
  }
}

function joined(one: Uint8Array, other: Uint8Array): Bytes {
  const all = new Uint8Array(one.length + other.length);
  all.set(one);
  all.set(other, one.length);
  return all;
}
