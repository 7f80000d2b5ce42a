/**
 * Any node takes any request: what only the owner of a subscription can answer is asked of it, as its caller asked, and answered
 * as it answers. Who is asked asks nobody else: a node that has lost the slot meanwhile says so.
 *
 * While a slot moves nobody can answer, and that is over in seconds: the door waits for it, woken by its node when that has looked
 * who works what, and only then tells the caller to ask again. It asks again itself only where nothing was done: nobody was there to
 * be asked, or who was said `moving`. Whoever waits holds a connection and a place for its body, which are bounded.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { request as send } from 'undici';
import type { Limits } from '../limits.ts';
import type { Elsewhere } from '../look-up.ts';
import type { Clock } from '../ports/clock.ts';

/** Set on what was forwarded: it is not forwarded again. */
export const FORWARDED = 'millrace-forwarded';
/** Longer than the longest request to an endpoint, which a test of a subscription waits for. */
const ANSWER_MS = 65_000;
/** A page of a list, and what a single resource may be several times over. */
const ANSWER_BYTES = 16 * 1024 * 1024;
const ASKED = ['authorization', 'if-match', 'if-none-match', 'idempotency-key', 'traceparent'] as const;
const ANSWERED = ['content-type', 'etag', 'location', 'retry-after', 'cache-control', 'idempotency-replayed'] as const;

export interface Forward {
  /** False where nobody can be asked, or was. */
  (elsewhere: Elsewhere, request: FastifyRequest, reply: FastifyReply): Promise<boolean>;
}

export interface NodeAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
  /** Undefined where it is none. */
  readonly json: unknown;
}

interface Needs {
  readonly addressOf?: (uid: string) => string | undefined;
  /** Resolves when another answer may be had, of `addressOf` or from there. Without it nothing is waited for. */
  readonly changed?: () => Promise<void>;
  readonly clock: Clock;
  readonly limits: Limits;
}

export function createForward(needs: Needs): Forward {
  return async ({ uid }, request, reply) => {
    if (isForwarded(request)) return false;
    const answer = await askOwner(uid, request, needs);
    if (answer === undefined) return false;
    void reply
      .code(answer.status)
      .headers(answer.headers)
      .send(answer.text === '' ? undefined : answer.text);
    return true;
  };
}

/** Of whoever works it, or comes to within the time. */
async function askOwner(
  uid: string,
  request: FastifyRequest,
  { addressOf = () => undefined, changed, clock, limits: { movingMs } }: Needs,
): Promise<NodeAnswer | undefined> {
  const over = Promise.withResolvers<'over'>();
  const timer = clock.after(movingMs, () => over.resolve('over'));
  try {
    for (;;) {
      // From before it is asked: what changes meanwhile is not missed.
      const next = changed?.();
      const address = addressOf(uid);
      const answer = address === undefined ? undefined : await askNode(address, request);
      if (next === undefined || (address !== undefined && !isMoving(answer))) return answer;
      if ((await Promise.race([over.promise, next])) === 'over') return answer;
    }
  } finally {
    timer.cancel();
  }
}

function isMoving(answer: NodeAnswer | undefined): boolean {
  return answer?.status === 503 && (answer.json as { readonly code?: unknown } | undefined)?.code === 'moving';
}

const isForwarded = (request: FastifyRequest): boolean => request.headers[FORWARDED] !== undefined;

/** The same request, asked of another node; undefined where it was forwarded already, or the node can't be asked now. */
export async function askNode(address: string, request: FastifyRequest): Promise<NodeAnswer | undefined> {
  if (isForwarded(request)) return undefined;
  try {
    const answer = await send(addressAt(address, request.url), {
      method: request.method as 'GET',
      headers: { ...taken(request.headers, ASKED), ...bodyHeaders(request), [FORWARDED]: '1' },
      body: hasContent(request) ? JSON.stringify(request.body) : null,
      headersTimeout: ANSWER_MS,
      bodyTimeout: ANSWER_MS,
    });
    const text = await textOf(answer.body);
    return { status: answer.statusCode, headers: taken(answer.headers, ANSWERED), text, json: jsonOf(text) };
  } catch {
    // It is gone, or cut off from us: until its slots are taken the caller is told to ask again.
    return undefined;
  }
}

/**
 * Path and query alone: a request target may name a host of its own (RFC 9112, section 3.2.2), which the router passes over and
 * to which nothing may go from here.
 */
function addressAt(address: string, target: string): URL {
  if (!/^\/(?!\/)/.test(target)) throw new TypeError('the target of the request is no path');
  return new URL(address + target);
}

async function textOf(body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > ANSWER_BYTES) throw new RangeError('the answer of the node is too long');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const hasContent = ({ method }: FastifyRequest): boolean => method !== 'GET' && method !== 'DELETE';

const bodyHeaders = (request: FastifyRequest): Record<string, string> =>
  hasContent(request) ? { 'content-type': 'application/json' } : {};

function taken(
  headers: Readonly<Record<string, string | string[] | undefined>>,
  names: readonly string[],
): Record<string, string> {
  return Object.fromEntries(names.flatMap((name) => (headers[name] === undefined ? [] : [[name, String(headers[name])]])));
}
