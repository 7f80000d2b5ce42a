/**
 * Payloads that say when they were to be sent, which one they are and whom they are for: members of fixed width at fixed
 * places, written and read without JSON, so that neither generator nor receiver does more than it must.
 */
import { randomBytes } from 'node:crypto';

export interface Stamp {
  /** On the machine's clock, see machineMs(). */
  readonly sentMs: number;
  readonly n: number;
  /** Number of an endpoint; a filter may ask for it, see addressedTo(). */
  readonly to: number;
}

const SENT_DIGITS = 16;
const N_DIGITS = 8;
const TO_DIGITS = 4;
const SENT_AT = '{"sent":"'.length;
const N_AT = SENT_AT + SENT_DIGITS + '","n":"'.length;
const TO_AT = N_AT + N_DIGITS + '","to":"'.length;

/** Milliseconds on a clock that all processes of this machine share, and that nobody sets: CLOCK_MONOTONIC. */
export function machineMs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1_000 + nanoseconds / 1e6;
}

/** JSON of that many bytes which does not compress, its stamp still empty. */
export function stampedPayload(bytes: number): Buffer {
  const zeros = (digits: number): string => '0'.repeat(digits);
  const text = `{"sent":"${zeros(SENT_DIGITS)}","n":"${zeros(N_DIGITS)}","to":"${zeros(TO_DIGITS)}","note":"${randomBytes(bytes).toString('base64')}`;
  return Buffer.from(`${text.slice(0, bytes - 2)}"}`);
}

/** Into the payload that begins at `at`. */
export function writeStamp(bytes: Buffer, at: number, { sentMs, n, to }: Stamp): void {
  writeDigits(bytes, at + SENT_AT, SENT_DIGITS, Math.round(sentMs * 1_000));
  writeDigits(bytes, at + N_AT, N_DIGITS, n);
  writeDigits(bytes, at + TO_AT, TO_DIGITS, to);
}

export function readStamp(bytes: Buffer, at: number): { readonly sentMs: number; readonly n: number } {
  return { sentMs: readDigits(bytes, at + SENT_AT, SENT_DIGITS) / 1_000, n: readDigits(bytes, at + N_AT, N_DIGITS) };
}

/** A filter for the events of one endpoint. */
export function addressedTo(to: number): object {
  return { data: { to: [String(to).padStart(TO_DIGITS, '0')] } };
}

function writeDigits(bytes: Buffer, at: number, digits: number, value: number): void {
  for (let place = at + digits - 1, left = value; place >= at; place--, left = Math.floor(left / 10))
    bytes[place] = 0x30 + (left % 10);
}

function readDigits(bytes: Buffer, at: number, digits: number): number {
  let value = 0;
  for (let place = at; place < at + digits; place++) value = value * 10 + (bytes[place] as number) - 0x30;
  return value;
}
