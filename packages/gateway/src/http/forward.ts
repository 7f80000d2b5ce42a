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
const ASKED = ['authorization', 'if-match', 'if-none-match', 'idempotency-key', 'traceparent'] as const;
const ANSWERED = ['content-type', 'etag', 'location', 'retry-after', 'cache-control', 'idempotency-replayed'] as const;

export interface Forward {
  /** False where nobody can be asked, or was. */
  (elsewhere: Elsewhere, request: FastifyRequest, reply: FastifyReply): Promise<boolean>;
}

interface Needs {
  readonly addressOf?: (uid: string) => string | undefined;
}

export function createForward({ addressOf = () => undefined }: Needs): Forward {
  return async ({ uid }, request, reply) => {
    const address = addressOf(uid);
    if (address === undefined || request.headers[FORWARDED] !== undefined) return false;
    try {
      const answer = await send(new URL(request.url, address), {
        method: request.method as 'GET',
        headers: { ...taken(request.headers, ASKED), ...bodyHeaders(request), [FORWARDED]: '1' },
        body: hasContent(request) ? JSON.stringify(request.body) : null,
        headersTimeout: ANSWER_MS,
        bodyTimeout: ANSWER_MS,
      });
      const body = await answer.body.text();
      void reply
        .code(answer.statusCode)
        .headers(taken(answer.headers, ANSWERED))
        .send(body === '' ? undefined : body);
      return true;
    } catch {
      // It is gone, or cut off from us: until its slots are taken the caller is told to ask again.
      return false;
    }
  };
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
