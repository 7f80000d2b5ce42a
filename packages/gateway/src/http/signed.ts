/**
 * Publishing with a signature in the key's place, for an app that must not send a secret with every request. The headers are those of
 * Standard Webhooks: the key signs `{webhook-id}.{webhook-timestamp}.` and the very bytes of the body, and of the key itself only what it
 * begins with is sent. What a signature does not cover must not count: so it is taken by one address, without ce- headers, and
 * `webhook-id` is the idempotency key, by which what somebody has recorded and sends again appends nothing.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { BATCH_TYPE, STRUCTURED_TYPE } from '@millrace/core/cloud-events-http';
import { Problem } from '@millrace/core/problem';
import { equalBytes, SIGNATURES_MAX, simpleKey } from '@millrace/core/signatures';
import { allOf } from '../all-of.ts';
import type { Limits } from '../limits.ts';
import type { OwnTurn } from '../pace.ts';
import type { Clock } from '../ports/clock.ts';
import type { Directory, Key, Versioned } from '../ports/directory.ts';
import { type SignOne, v1With } from '../signing.ts';
import type { Vault } from '../vault.ts';
import type { Access } from './access.ts';
import { isLines } from './lines.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** A signature of the body does as well as a key. */
    readonly signed?: boolean;
  }
  interface FastifyRequest {
    /** Of a request that says it is signed: what it says. Who signed is known, and `caller` set, once its body is there. */
    signed?: Signed;
  }
}

export interface Signed {
  readonly id: string;
  readonly timestampSeconds: number;
  readonly signatures: readonly string[];
  /** What the key begins with. */
  readonly prefix: string;
}

export interface Signatures {
  /** False where the request is not signed. Throws where its signature is of no use, whatever the body is: before that is read. */
  begin(request: FastifyRequest, reply: FastifyReply): boolean;
  /** Once the body is there, and before anything in it is looked at: sets the caller, or rejects with `unauthorized`. */
  verify(request: FastifyRequest, signed: Signed): Promise<void>;
}

interface Needs {
  readonly access: Access;
  readonly vault: Vault;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly ownTurn: OwnTurn;
}

const SIGNATURE = /^signature(?: |$)/i;
const PREFIX = /^signature +(mrs_[a-z2-7]{8})$/i;
/** Printable ASCII: a dot would leave open where it ends in what is signed. */
const ID = /^[!-\-/-~]{1,128}$/;
/** As core reads it: no other writing of the same number. */
const SECONDS = /^(?:0|[1-9]\d{0,11})$/;
/** A larger body is hashed in a turn of the event loop of its own, as it is read in one (events.ts). */
const ALONE_BYTES = 16_384;
const EMPTY = new Uint8Array(0);
const TYPES: readonly string[] = ['application/json', 'text/json', STRUCTURED_TYPE, BATCH_TYPE];

/** Rejects with `invalid_secret` where a key that signs was sealed with a key that is not in the vault: then the gateway does not start. */
export async function checkSealed(directory: Directory, vault: Vault): Promise<void> {
  for await (const { value } of allOf(directory, 'key')) if (value.sealed !== undefined) vault.open(value.sealed);
}

export function createSignatures({ access, vault, clock, limits, ownTurn }: Needs): Signatures {
  // A request is worth something from so long before its time until so long after it. All that while, and the time a body takes,
  // its id must be remembered.
  const skewMs = Math.min(limits.signatureSkewMs, limits.dedupeWindowMs / 4);
  /** By the key as the directory gave it: a changed one is opened anew. */
  const opened = new WeakMap<Key, SignOne>();

  function signerOf({ value }: Versioned<Key>): SignOne {
    const known = opened.get(value);
    if (known !== undefined) return known;
    const signer = v1With(simpleKey(textOf(value)));
    opened.set(value, signer);
    return signer;
  }

  /** That one can't be opened which another node has sealed since is a fault of this process, and none of the client. */
  function textOf({ sealed = '' }: Key): string {
    try {
      return vault.open(sealed);
    } catch (cause) {
      throw new Error('a key that signs could not be opened', { cause });
    }
  }

  function checkTime({ timestampSeconds }: Signed): void {
    const aheadSeconds = timestampSeconds - Math.floor(clock.now() / 1_000);
    if (Math.abs(aheadSeconds) > skewMs / 1_000) throw wrongTime(aheadSeconds, skewMs);
  }

  function isBy(key: Versioned<Key>, { id, timestampSeconds, signatures }: Signed, body: Uint8Array): boolean {
    const right = Buffer.from(signerOf(key)(id, timestampSeconds, body));
    return signatures.some((one) => equalBytes(right, Buffer.from(one)));
  }

  return {
    begin(request, reply) {
      const { authorization = '' } = request.headers;
      if (request.routeOptions.config.signed !== true || !SIGNATURE.test(authorization)) return false;
      refusePages(request, reply);
      refuseUncovered(request);
      const signed = signedOf(request);
      checkTime(signed);
      // Refused here, as whatever can be, and in the words of a wrong signature. By how soon, one can tell that keys begin so: of
      // 40 random bits, which are no secret and say nothing of the others. In return nobody's body is read who knows of no key.
      if (access.signing(signed.prefix).length === 0) throw notSigned();
      request.signed = signed;
      return true;
    },
    async verify(request, signed) {
      const body = request.body instanceof Uint8Array ? request.body : EMPTY;
      if (body.length > ALONE_BYTES) await ownTurn();
      // A body may take its time: what counted at the door must count now.
      checkTime(signed);
      const key = access.signing(signed.prefix).find((one) => isBy(one, signed, body));
      if (key === undefined) throw notSigned();
      request.caller = access.signed(key);
    },
  };
}

/** Whoever reads a page has the keys that are in it. */
function refusePages({ headers: { origin } }: FastifyRequest, reply: FastifyReply): void {
  if (origin === undefined) return;
  void reply.removeHeader('access-control-allow-origin');
  throw new Problem('forbidden', 'a web page must have no key, and a signature is by one', {
    advice: 'Let the backend of the app make a token for the page: POST /v1/tokens.',
  });
}

/**
 * A signature is over the body. In binary mode the event is in ce- headers, which anybody on the way could change; a stream of lines is
 * not there as a whole before its first events are stored.
 */
function refuseUncovered(request: FastifyRequest): void {
  const advice = 'Send the whole event as JSON: application/json, application/cloudevents+json, or a list of them.';
  if (isLines(request)) throw new Problem('invalid_request', 'a stream of lines can not be signed', { advice });
  const header = Object.keys(request.headers).find((name) => name.startsWith('ce-'));
  if (header !== undefined)
    throw new Problem('invalid_request', 'a signature covers the body alone, and this event has attributes in headers', {
      pointer: `/headers/${header.slice(0, 40)}`,
      advice,
    });
  const type = request.headers['content-type']?.split(';')[0]?.trim().toLowerCase();
  if (type === undefined || !TYPES.includes(type))
    throw new Problem('unsupported_media_type', 'an event that is signed is sent as JSON, and the content type says so', {
      advice,
    });
}

function signedOf({ headers }: FastifyRequest): Signed {
  const prefix = PREFIX.exec(headers.authorization ?? '')?.[1];
  if (prefix === undefined)
    throw new Problem('unauthorized', 'the Authorization header does not say which key has signed', {
      advice: 'Send "Authorization: Signature mrs_…", of the key only mrs_ and the eight characters behind it.',
    });
  const [id, timestamp, signatures] = ['webhook-id', 'webhook-timestamp', 'webhook-signature'].map((name) =>
    headerOf(headers, name),
  ) as [string, string, string];
  if (!ID.test(id))
    throw new Problem('unauthorized', 'webhook-id has 1 to 128 printable ASCII characters, no space or dot among them', {
      advice: 'Make one at random for each event, and keep it when the event is sent again.',
    });
  if (!SECONDS.test(timestamp))
    throw new Problem('unauthorized', 'webhook-timestamp is a number of whole seconds since 1970', {
      advice: 'Take the time now, each time it is sent: seconds, not milliseconds.',
    });
  const { 'idempotency-key': key } = headers;
  if (key !== undefined && key !== id)
    throw new Problem('invalid_request', 'the Idempotency-Key is another one than the webhook-id', {
      pointer: '/headers/idempotency-key',
      advice: 'Leave it out: the webhook-id is the idempotency key of what is signed.',
    });
  return { id, timestampSeconds: Number(timestamp), signatures: signatures.split(' ').slice(0, SIGNATURES_MAX), prefix };
}

function headerOf(headers: FastifyRequest['headers'], name: string): string {
  const value = headers[name];
  if (typeof value === 'string' && value !== '') return value;
  throw new Problem('unauthorized', `the header ${name} is missing`, {
    advice: 'What is signed is sent with webhook-id, webhook-timestamp and webhook-signature.',
  });
}

function wrongTime(aheadSeconds: number, skewMs: number): Problem {
  const seconds = Math.abs(aheadSeconds).toLocaleString('en');
  return new Problem(
    'unauthorized',
    `webhook-timestamp is ${seconds} s ${aheadSeconds > 0 ? 'ahead of' : 'behind'} the clock of this gateway, and may be ${skewMs / 1_000} s`,
    { advice: 'Sign anew each time it is sent. If it was signed just now, the clocks differ: set them by NTP.' },
  );
}

/** Also where there is no such key, or it has expired: who guesses is not told which. */
function notSigned(): Problem {
  return new Problem('unauthorized', 'the signature is not that of the key that is named, or there is no such key (any more)', {
    advice:
      'Sign "{webhook-id}.{webhook-timestamp}." and the very bytes that are sent, with HMAC-SHA256 and the whole key (mrs_…_…) as its key; send "v1," and the base64 of it.',
  });
}
