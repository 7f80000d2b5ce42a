/**
 * Columns of many rows as one parameter each: Postgres arrays in the binary form of the protocol. A commit of thousands of
 * rows then has a dozen parameters, nothing is quoted or escaped, and bytes are not sent as hex.
 *
 * The form: five int32 (dimensions, whether there are nulls, type of the elements, how many, first index), then per element
 * its length (-1 for null) and its bytes. Statements must name the type, as in `$1::text[]`.
 */
import { encodeText } from './text.ts';

const INT8 = 20;
const TEXT = 25;
const BYTEA = 17;
const HEAD_BYTES = 20;
const NULL = -1;
const TWO_TO_32 = 2 ** 32;

export function integers(values: readonly (number | null)[]): Buffer {
  const buffer = Buffer.allocUnsafe(HEAD_BYTES + values.length * 12);
  let at = head(buffer, INT8, values);
  for (const value of values) {
    at = buffer.writeInt32BE(value === null ? NULL : 8, at);
    // In halves: BigInt costs ten times as much, and there are tens of thousands.
    if (value === null) continue;
    const high = Math.floor(value / TWO_TO_32);
    buffer.writeInt32BE(high, at);
    at = buffer.writeUInt32BE(value - high * TWO_TO_32, at + 4);
  }
  return buffer.subarray(0, at);
}

export function texts(values: readonly (string | null)[]): Buffer {
  const encoded = values.map((value) => (value === null ? null : encodeText(value)));
  // UTF-8 takes at most three bytes for each of JavaScript's characters.
  const size = encoded.reduce((sum, value) => sum + 4 + (value === null ? 0 : value.length * 3), HEAD_BYTES);
  const buffer = Buffer.allocUnsafe(size);
  let at = head(buffer, TEXT, values);
  for (const value of encoded) {
    const length = value === null ? NULL : buffer.write(value, at + 4);
    buffer.writeInt32BE(length, at);
    at += 4 + Math.max(0, length);
  }
  return buffer.subarray(0, at);
}

export function blobs(values: readonly (Uint8Array | null)[]): Buffer {
  const size = values.reduce((sum, value) => sum + 4 + (value?.byteLength ?? 0), HEAD_BYTES);
  const buffer = Buffer.allocUnsafe(size);
  let at = head(buffer, BYTEA, values);
  for (const value of values) {
    at = buffer.writeInt32BE(value === null ? NULL : value.byteLength, at);
    if (value === null) continue;
    buffer.set(value, at);
    at += value.byteLength;
  }
  return buffer.subarray(0, at);
}

/** An array without elements has no dimension either. */
function head(buffer: Buffer, type: number, values: readonly unknown[]): number {
  buffer.writeInt32BE(values.length === 0 ? 0 : 1, 0);
  buffer.writeInt32BE(values.includes(null) ? 1 : 0, 4);
  buffer.writeInt32BE(type, 8);
  if (values.length === 0) return 12;
  buffer.writeInt32BE(values.length, 12);
  return buffer.writeInt32BE(1, 16);
}
