/**
 * HMAC-SHA256 (RFC 2104) for many short messages under one key, out of two one-shot hashes. An Hmac object of node:crypto
 * is made anew for each message, and that costs more than hashing a kilobyte (bench: deliver).
 */
import { createHmac, hash } from 'node:crypto';

/** Of `head` (ASCII) and `body` one after the other, as `encoding`. */
export interface HmacSha256 {
  (head: string, body: Uint8Array, encoding: 'base64' | 'hex'): string;
}

const BLOCK_BYTES = 64;
const DIGEST_BYTES = 32;
/** Longer messages go the ordinary way: there the hashing is what costs. */
const MESSAGE_BYTES_MAX = 16_384;

/** Shared, as all of it happens at once: the inner key's block and a message; the outer key's block and the inner hash. */
const inner = new Uint8Array(BLOCK_BYTES + MESSAGE_BYTES_MAX);
const outer = new Uint8Array(BLOCK_BYTES + DIGEST_BYTES);

export function createHmacSha256(key: Uint8Array): HmacSha256 {
  const short = key.length > BLOCK_BYTES ? hash('sha256', key, 'buffer') : key;
  const innerBlock = paddedWith(0x36, short);
  const outerBlock = paddedWith(0x5c, short);
  return (head, body, encoding) => {
    const length = head.length + body.length;
    if (length > MESSAGE_BYTES_MAX) return createHmac('sha256', key).update(head, 'latin1').update(body).digest(encoding);
    inner.set(innerBlock);
    for (let at = 0; at < head.length; at++) inner[BLOCK_BYTES + at] = head.charCodeAt(at);
    inner.set(body, BLOCK_BYTES + head.length);
    // By way of a string: having a Buffer made costs more.
    const digest = hash('sha256', inner.subarray(0, BLOCK_BYTES + length), 'latin1');
    outer.set(outerBlock);
    for (let at = 0; at < DIGEST_BYTES; at++) outer[BLOCK_BYTES + at] = digest.charCodeAt(at);
    return hash('sha256', outer, encoding);
  };
}

function paddedWith(byte: number, key: Uint8Array): Uint8Array {
  const block = new Uint8Array(BLOCK_BYTES).fill(byte);
  for (const [at, value] of key.entries()) block[at] = byte ^ value;
  return block;
}
