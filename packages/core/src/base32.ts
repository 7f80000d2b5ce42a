/** Base32 without padding, in lower-case letters and digits: safe in URLs, file names and headers. */

const RFC_4648 = 'abcdefghijklmnopqrstuvwxyz234567';
/** The same characters in the order of their codes, so that texts sort as the bytes do. */
const SORTABLE = '234567abcdefghijklmnopqrstuvwxyz';

/** RFC 4648, section 6: the first `chars` characters for `bytes`, all by default. Throws a RangeError where the bytes are too few. */
export function base32(bytes: Uint8Array, chars?: number): string {
  return fiveBits(bytes, RFC_4648, chars);
}

/** As base32, in an alphabet that keeps the order: of two byte strings of one length the smaller one sorts first. */
export function sortableBase32(bytes: Uint8Array, chars?: number): string {
  return fiveBits(bytes, SORTABLE, chars);
}

function fiveBits(bytes: Uint8Array, alphabet: string, chars = Math.ceil((bytes.length * 8) / 5)): string {
  if (chars > Math.ceil((bytes.length * 8) / 5)) throw new RangeError(`${bytes.length} bytes make no ${chars} characters`);
  let text = '';
  let waiting = 0;
  let bits = 0;
  for (let at = 0; text.length < chars;) {
    if (bits < 5) {
      // Past the end the last group is filled up with zeros.
      waiting = ((waiting & 0x1f) << 8) | (bytes[at++] ?? 0);
      bits += 8;
    }
    bits -= 5;
    text += alphabet.charAt((waiting >> bits) & 31);
  }
  return text;
}
