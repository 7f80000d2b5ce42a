/** Base64 (RFC 4648, section 4) with padding, by Web APIs only. */

/** Arguments of one call are bounded by the engines; this many is safe in all of them. */
const CHUNK_BYTES = 8192;

export function encodeBase64(bytes: Uint8Array): string {
  let latin = '';
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) latin += String.fromCharCode(...bytes.subarray(at, at + CHUNK_BYTES));
  return btoa(latin);
}

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
const NONE = 64;
/** By character code; what is no sign of the alphabet has a bit that no value has. */
const VALUES = new Uint8Array(128).fill(NONE);
for (let value = 0; value < ALPHABET.length; value += 1) VALUES[ALPHABET.charCodeAt(value)] = value;

/**
 * Undefined where `text` is not base64: unlike `atob` it takes no white space and no missing padding. By a table: a regular
 * expression that looks at groups of four runs out of its stack at some megabytes, which is an error and no answer.
 */
export function decodeBase64(text: string): Uint8Array<ArrayBuffer> | undefined {
  if (text.length % 4 !== 0) return undefined;
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  const bytes = new Uint8Array((text.length / 4) * 3 - padding);
  const signs = text.length - padding;
  let seen = 0;
  for (let at = 0, to = 0; at < signs; at += 4) {
    let group = 0;
    for (let next = at; next < at + 4; next += 1) {
      const value = next < signs ? (VALUES[text.charCodeAt(next)] ?? NONE) : 0;
      seen |= value;
      group = (group << 6) | value;
    }
    // Behind the end nothing is set: what padding stands for is left out.
    bytes[to++] = group >> 16;
    bytes[to++] = group >> 8;
    bytes[to++] = group;
  }
  return (seen & NONE) === 0 ? bytes : undefined;
}
