/**
 * `Idempotency-Key` on a POST that changes configuration (IETF draft-ietf-httpapi-idempotency-key-header, semantics): the
 * same request again is not done again, it gets the answer of the first time. Publishing has a window of its own, in the
 * log's transaction (flow/accept.ts); this is for everything else.
 *
 * The answer is kept when it is given: a crash between the change and that leaves nothing to repeat, and a further request
 * is a new one.
 */
import { allOf } from '../all-of.ts';
import { hash } from 'node:crypto';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Problem } from '@millrace/core/problem';
import type { Limits } from '../limits.ts';
import type { Clock } from '../ports/clock.ts';
import type { Answer, Directory } from '../ports/directory.ts';
import type { Vault } from '../vault.ts';
import { HTTP_BOUNDS } from './bounds.ts';

interface Needs {
  readonly directory: Directory;
  readonly vault: Vault;
  readonly clock: Clock;
  readonly limits: Limits;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Of a request with an idempotency key: where its answer will be kept, if it is the first of its kind. */
    keyed?: { readonly id: string; readonly digest: string; isNew: boolean };
  }
}

const REPLAYED = 'idempotency-replayed';
const KEPT_HEADERS = ['content-type', 'location', 'etag', 'cache-control'] as const;

export function answerRepeats(app: FastifyInstance, { directory, vault, clock, limits }: Needs): void {
  /** Being worked on in this process. */
  const underWay = new Set<string>();
  let kept = 0;
  let prunedMs = -Infinity;

  async function find(environment: string, id: string): Promise<Answer | undefined> {
    const found = await directory.get('answer', environment, id);
    return found !== undefined && found.value.createdMs > clock.now() - limits.repeatMs ? found.value : undefined;
  }

  function replay(reply: FastifyReply, { status, headers, sealed }: Answer): FastifyReply {
    const body = vault.open(sealed);
    return reply
      .code(status)
      .headers({ ...headers, [REPLAYED]: 'true' })
      .send(body === '' ? undefined : body);
  }

  /** What is older than it counts; while it is at it, it counts the rest. */
  async function prune(): Promise<void> {
    prunedMs = clock.monotonic();
    let left = 0;
    for await (const { environment, id, value } of allOf(directory, 'answer')) {
      if (value.createdMs > clock.now() - limits.repeatMs) left++;
      else await directory.delete('answer', environment, id);
    }
    kept = left;
  }

  app.addHook('preHandler', async (request, reply) => {
    const key = keyOf(request);
    if (key === undefined) return;
    const { environment, app: caller } = request.caller;
    const id = digestOf([caller, request.method, request.url, key]);
    if (underWay.has(id)) throw new Problem('in_flight', 'a request with this key is being worked on', { retryAfterMs: 1_000 });
    underWay.add(id);
    request.keyed = { id, digest: digestOf([request.body]), isNew: false };
    if (clock.monotonic() - prunedMs > HTTP_BOUNDS.repeatPruneMs) await prune();
    const before = await find(environment, id);
    if (before !== undefined && before.digest !== request.keyed.digest)
      throw new Problem('idempotency_key_reused', 'the key was used before for another request', {
        advice: 'Use a new key for a new request.',
      });
    if (before !== undefined) return replay(reply, before);
    if (kept >= limits.repeatsKept)
      throw new Problem('too_many_requests', `the answers of ${limits.repeatsKept} keys are kept already`, {
        retryAfterMs: HTTP_BOUNDS.repeatPruneMs,
        advice: 'Send it without an idempotency key, or later.',
      });
    request.keyed.isNew = true;
    return undefined;
  });

  app.addHook('onSend', async (request, reply, payload) => {
    const { keyed } = request;
    if (keyed === undefined) return payload;
    try {
      if (keyed.isNew && reply.statusCode < 300) await keep(request, reply, payload);
    } finally {
      // Here and not when the answer was taken: of a client that has gone nobody ever tells that.
      underWay.delete(keyed.id);
    }
    return payload;
  });

  async function keep(request: FastifyRequest, reply: FastifyReply, payload: unknown): Promise<void> {
    const { keyed } = request;
    if (keyed === undefined) return;
    const headers = Object.fromEntries(
      KEPT_HEADERS.flatMap((name) => (reply.hasHeader(name) ? [[name, String(reply.getHeader(name))]] : [])),
    );
    // A secret may be in it.
    const sealed = vault.seal(typeof payload === 'string' ? payload : '');
    const answer: Answer = { digest: keyed.digest, status: reply.statusCode, headers, sealed, createdMs: clock.now() };
    await directory.put('answer', request.caller.environment, keyed.id, answer);
    kept++;
  }
}

function keyOf({ method, headers, caller }: FastifyRequest): string | undefined {
  const key = headers['idempotency-key'];
  // Where nobody is asked for a key, nothing is changed either.
  if (method !== 'POST' || key === undefined || (caller as unknown) === undefined) return undefined;
  if (typeof key === 'string' && key !== '' && key.length <= HTTP_BOUNDS.idempotencyKeyChars) return key;
  throw new Problem('invalid_request', `an idempotency key has 1 to ${HTTP_BOUNDS.idempotencyKeyChars} characters`);
}

function digestOf(parts: readonly unknown[]): string {
  return hash('sha256', JSON.stringify(parts), 'base64url');
}
