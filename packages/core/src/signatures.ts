/**
 * Webhook signatures: Standard Webhooks 1.0.0 with `v1` (HMAC-SHA256) and `v1a` (Ed25519), and `simple`.
 *
 *   signed content      {webhook-id}.{webhook-timestamp}.{body}
 *   webhook-signature   v1,{base64 MAC} v1a,{base64 signature} …    one per secret while secrets overlap
 *   x-signature         lower-case hex HMAC-SHA256 over the body alone (`simple`)
 *
 * What is asynchronous here goes through WebCrypto. The synchronous parts are exported so that the gateway can sign with
 * node:crypto and share everything else.
 */
import { decodeBase64, encodeBase64 } from './base64.ts';
import { Problem } from './problem.ts';

export const SECRET_BYTES_MIN = 24;
export const SECRET_BYTES_MAX = 64;
export const TOLERANCE_SECONDS = 300;
/** Signatures of one header that are looked at; a stranger must not make us verify thousands. */
export const SIGNATURES_MAX = 32;

export type Secret =
  /** `whsec_`: signs and verifies `v1`. */
  | { readonly kind: 'symmetric'; readonly key: Uint8Array<ArrayBuffer> }
  /** `whsk_`: signs `v1a`. */
  | { readonly kind: 'private'; readonly seed: Uint8Array<ArrayBuffer> }
  /** `whpk_`: verifies `v1a`. */
  | { readonly kind: 'public'; readonly key: Uint8Array<ArrayBuffer> };

/**
 * Reads `whsec_` + base64 of 24 to 64 bytes, `whsk_` + base64 of an Ed25519 seed (32 bytes, or 64 with the public key
 * behind it), or `whpk_` + base64 of a public key (32 bytes). Anything else throws `invalid_secret`, never showing it.
 */
export function parseSecret(secret: string, pointer?: string): Secret {
  const refused = (message: string) => new Problem('invalid_secret', message, pointer === undefined ? {} : { pointer });
  const [, prefix, text] = /^(whsec|whsk|whpk)_(.*)$/s.exec(secret) ?? [];
  if (prefix === undefined || text === undefined) throw refused('a secret starts with whsec_, whsk_ or whpk_');
  const bytes = decodeBase64(text);
  if (bytes === undefined) throw refused(`what follows ${prefix}_ is not base64`);
  if (prefix === 'whsec') {
    if (bytes.length < SECRET_BYTES_MIN || bytes.length > SECRET_BYTES_MAX) throw refused('a whsec_ secret holds 24 to 64 bytes');
    return { kind: 'symmetric', key: bytes };
  }
  if (prefix === 'whpk') {
    if (bytes.length !== 32) throw refused('a whpk_ key holds 32 bytes');
    return { kind: 'public', key: bytes };
  }
  if (bytes.length !== 32 && bytes.length !== 64) throw refused('a whsk_ key holds 32 or 64 bytes');
  return { kind: 'private', seed: bytes.slice(0, 32) };
}

/** A new `whsec_` secret of 32 bytes. `random` gives that many unguessable bytes; the platform's by default. */
export function newSecret(random: (count: number) => Uint8Array = randomBytes): string {
  return `whsec_${encodeBase64(random(32))}`;
}

/** What Standard Webhooks signs: id, dot, seconds since 1970, dot, body. */
export function signedContent(id: string, timestampSeconds: number, body: Uint8Array): Uint8Array<ArrayBuffer> {
  const head = encoder.encode(`${id}.${timestampSeconds}.`);
  const content = new Uint8Array(head.length + body.length);
  content.set(head);
  content.set(body, head.length);
  return content;
}

export function formatV1(mac: Uint8Array): string {
  return `v1,${encodeBase64(mac)}`;
}

export function formatV1a(signature: Uint8Array): string {
  return `v1a,${encodeBase64(signature)}`;
}

/** A MAC as `simple` sends it. */
export function formatSimple(mac: Uint8Array): string {
  return Array.from(mac, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** The HMAC key of `simple`: the UTF-8 bytes of the whole secret, prefix and all. */
export function simpleKey(secret: string): Uint8Array<ArrayBuffer> {
  return encoder.encode(secret);
}

export interface SignRequest {
  readonly id: string;
  /** Whole seconds since 1970. */
  readonly timestampSeconds: number;
  readonly body: Uint8Array;
  /** `whsec_` or `whsk_`, newest first. */
  readonly secrets: readonly string[];
}

/** The value of `webhook-signature`. Throws `invalid_secret` for a secret that can't sign. */
export async function signStandard({ id, timestampSeconds, body, secrets }: SignRequest): Promise<string> {
  const content = signedContent(id, timestampSeconds, body);
  const signatures = await Promise.all(secrets.map((secret) => signOne(parseSecret(secret), content)));
  return signatures.join(' ');
}

/** The value of `x-signature`. */
export async function signSimple(secret: string, body: Uint8Array): Promise<string> {
  return formatSimple(await hmac(simpleKey(secret), new Uint8Array(body)));
}

export type Refusal =
  | 'missing_header'
  | 'invalid_timestamp'
  | 'timestamp_too_old'
  | 'timestamp_too_new'
  | 'no_matching_signature'
  /** One of our own secrets can't be read: a fault of the receiver's configuration, not of the sender. */
  | 'bad_secret';

export type Verification =
  | { readonly ok: true; readonly id: string; readonly timestampSeconds: number }
  | { readonly ok: false; readonly reason: Refusal };

/** A request's headers by lower-case name. */
export type HeaderReader = (name: string) => string | null | undefined;

export interface VerifyRequest {
  readonly headers: HeaderReader;
  /** The very bytes that came in. */
  readonly body: Uint8Array;
  /** `whsec_`, `whpk_` or `whsk_`: any of them may have signed. */
  readonly secrets: readonly string[];
  readonly nowMs: number;
  /** How far `webhook-timestamp` may lie behind or ahead: 300 by default. */
  readonly toleranceSeconds?: number;
}

/** Verifies a Standard Webhooks request. Never throws for what a sender sends; replays inside the tolerance are the caller's to refuse, by id. */
export async function verifyStandard(request: VerifyRequest): Promise<Verification> {
  const { headers, body, secrets, nowMs, toleranceSeconds = TOLERANCE_SECONDS } = request;
  const [id, timestamp, signatures] = ['webhook-id', 'webhook-timestamp', 'webhook-signature'].map((name) => headers(name));
  if (!id || !timestamp || !signatures) return { ok: false, reason: 'missing_header' };
  if (!/^(?:0|[1-9]\d{0,11})$/.test(timestamp)) return { ok: false, reason: 'invalid_timestamp' };
  const timestampSeconds = Number(timestamp);
  const ageSeconds = Math.floor(nowMs / 1000) - timestampSeconds;
  if (ageSeconds > toleranceSeconds) return { ok: false, reason: 'timestamp_too_old' };
  if (ageSeconds < -toleranceSeconds) return { ok: false, reason: 'timestamp_too_new' };
  const keys = readSecrets(secrets);
  if (keys === undefined) return { ok: false, reason: 'bad_secret' };
  const content = signedContent(id, timestampSeconds, body);
  const offered = signatures.split(' ').slice(0, SIGNATURES_MAX);
  for (const key of keys) {
    const matched = await matchesOne(key, content, offered);
    if (matched === undefined) return { ok: false, reason: 'bad_secret' };
    if (matched) return { ok: true, id, timestampSeconds };
  }
  return { ok: false, reason: 'no_matching_signature' };
}

/** Verifies an `x-signature` value: any of the secrets may have signed. */
export async function verifySimple(
  signature: string | null | undefined,
  body: Uint8Array,
  secrets: readonly string[],
): Promise<{ readonly ok: true } | { readonly ok: false; readonly reason: Refusal }> {
  if (!signature) return { ok: false, reason: 'missing_header' };
  for (const secret of secrets) {
    if (secret === '') return { ok: false, reason: 'bad_secret' };
    if (equalBytes(encoder.encode(await signSimple(secret, body)), encoder.encode(signature))) return { ok: true };
  }
  return { ok: false, reason: 'no_matching_signature' };
}

/** Compares in a time that depends on the lengths alone. */
export function equalBytes(one: Uint8Array, other: Uint8Array): boolean {
  if (one.length !== other.length) return false;
  let difference = 0;
  for (let at = 0; at < one.length; at += 1) difference |= (one[at] ?? 0) ^ (other[at] ?? 0);
  return difference === 0;
}

const encoder = new TextEncoder();
/** PKCS #8 of an Ed25519 private key up to its seed (RFC 8410): WebCrypto imports private keys in no shorter form. */
const PKCS8_HEAD = [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

async function signOne(secret: Secret, content: Uint8Array<ArrayBuffer>): Promise<string> {
  if (secret.kind === 'symmetric') return formatV1(await hmac(secret.key, content));
  if (secret.kind === 'public') throw new Problem('invalid_secret', 'a whpk_ key can verify but not sign');
  const key = await crypto.subtle.importKey('pkcs8', new Uint8Array([...PKCS8_HEAD, ...secret.seed]), 'Ed25519', false, ['sign']);
  return formatV1a(new Uint8Array(await crypto.subtle.sign('Ed25519', key, content)));
}

/** Undefined where the platform refuses the key: 32 bytes need not be a point of the curve. */
async function matchesOne(
  secret: Secret,
  content: Uint8Array<ArrayBuffer>,
  offered: readonly string[],
): Promise<boolean | undefined> {
  if (secret.kind === 'private') {
    // Ed25519 is deterministic, so the key that signs can also verify: by signing again.
    const expected = encoder.encode(await signOne(secret, content));
    return offered.some((signature) => equalBytes(expected, encoder.encode(signature)));
  }
  if (secret.kind === 'symmetric') {
    const expected = encoder.encode(formatV1(await hmac(secret.key, content)));
    return offered.some((signature) => equalBytes(expected, encoder.encode(signature)));
  }
  const key = await crypto.subtle.importKey('raw', secret.key, 'Ed25519', false, ['verify']).catch(() => undefined);
  if (key === undefined) return undefined;
  for (const signature of offered) {
    const bytes = signature.startsWith('v1a,') ? decodeBase64(signature.slice(4)) : undefined;
    if (bytes?.length === 64 && (await crypto.subtle.verify('Ed25519', key, bytes, content))) return true;
  }
  return false;
}

function readSecrets(secrets: readonly string[]): readonly Secret[] | undefined {
  try {
    return secrets.map((secret) => parseSecret(secret));
  } catch {
    return undefined;
  }
}

async function hmac(key: Uint8Array<ArrayBuffer>, content: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const imported = await crypto.subtle.importKey('raw', key, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
  return new Uint8Array(await crypto.subtle.sign('HMAC', imported, content));
}

function randomBytes(count: number): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(count));
}
