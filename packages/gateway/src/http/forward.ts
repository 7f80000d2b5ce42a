/**
 * Any node takes any request: what only the owner of a subscription can answer is asked of it, as its caller asked, and answered
 * as it answers. Once: a node that has lost the slot meanwhile says so, and the caller asks again.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { request as send } from 'undici';
import type { Elsewhere } from '../look-up.ts';

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
}

export function createForward({ addressOf = () => undefined }: Needs): Forward {
  return async ({ uid }, request, reply) => {
    const address = addressOf(uid);
    const answer = address === undefined ? undefined : await askNode(address, request);
    if (answer === undefined) return false;
    void reply
      .code(answer.status)
      .headers(answer.headers)
      .send(answer.text === '' ? undefined : answer.text);
    return true;
  };
}

/** The same request, asked of another node; undefined where it was forwarded already, or the node can't be asked now. */
export async function askNode(address: string, request: FastifyRequest): Promise<NodeAnswer | undefined> {
  if (request.headers[FORWARDED] !== undefined) return undefined;
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
