/**
 * `Idempotency-Key` on a POST that changes configuration (IETF draft-ietf-httpapi-idempotency-key-header, semantics): the
 * same request again is not done again, it gets the answer of the first time. Publishing has a window of its own, in the
 * log's transaction (flow/accept.ts); this is for everything else.
 *
 * The answer is kept when it is given: a crash between the change and that leaves nothing to repeat, and a further request
 * is a new one. It is for the key that got it alone: a secret may be in it that another key of the same app may not see.
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

/** Keys of requests that are being worked on. */
export interface UnderWay {
  /** False where one is. */
  begin(id: string): boolean | Promise<boolean>;
  end(id: string): void;
}

interface Needs {
  /** Where several workers take requests: of all of them. */
  readonly underWay?: UnderWay;
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

/** Done twice they are as done once: nothing is kept of them. Matches the address of a route, and as the document writes it. */
export const IDEMPOTENT = /^\/v1\/subscriptions\/[^/]+\/(pause|resume)$/;

interface Kept {
  count: number;
  bytes: number;
}

const REPLAYED = 'idempotency-replayed';
const KEPT_HEADERS = ['content-type', 'location', 'etag', 'cache-control'] as const;

export function answerRepeats(
  app: FastifyInstance,
  { directory, vault, clock, limits, underWay = createUnderWay() }: Needs,
): void {
  let all: Kept = { count: 0, bytes: 0 };
  /** By environment and app. */
  let byApp = new Map<string, Kept>();
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
    const old: [string, string][] = [];
    const [left, leftByApp] = [{ count: 0, bytes: 0 }, new Map<string, Kept>()];
    for await (const { environment, id, value } of allOf(directory, 'answer')) {
      if (value.createdMs > clock.now() - limits.repeatMs)
        for (const share of [left, shareOf(leftByApp, environment, appIn(id))]) add(share, value);
      else old.push([environment, id]);
    }
    [all, byApp] = [left, leftByApp];
    for (const [environment, id] of old) await directory.delete('answer', environment, id);
  }

  /** Throws where one more may not be kept. How large it will be is not known before it is done. */
  function checkRoom(environment: string, app: string): void {
    const own = shareOf(byApp, environment, app);
    const isFull = all.count >= limits.repeatsKept || all.bytes >= limits.repeatsBytes;
    if (!isFull && own.count < limits.repeatsOfApp && own.bytes < limits.repeatsOfAppBytes) return;
    const whose = isFull ? '' : ` of the app '${app}'`;
    const { count } = isFull ? all : own;
    throw new Problem('too_many_requests', `as many answers${whose} as may be are kept already: ${count}`, {
      retryAfterMs: HTTP_BOUNDS.repeatPruneMs,
      advice: 'Send it without an idempotency key, or later.',
    });
  }

  app.addHook('preHandler', async (request, reply) => {
    const key = keyOf(request);
    if (key === undefined) return;
    const { environment, app: caller } = request.caller;
    const id = `${caller}/${digestOf([caller, request.method, request.url, key])}`;
    if (!(await underWay.begin(id)))
      throw new Problem('in_flight', 'a request with this key is being worked on', { retryAfterMs: 1_000 });
    request.keyed = { id, digest: digestOf([request.caller.key, request.body]), isNew: false };
    if (clock.monotonic() - prunedMs > HTTP_BOUNDS.repeatPruneMs) await prune();
    const before = await find(environment, id);
    if (before !== undefined && before.digest !== request.keyed.digest)
      throw new Problem('idempotency_key_reused', 'the key was used before, for another request or with another credential', {
        advice: 'Use a new key for a new request; repeat one with the credential that sent it first.',
      });
    if (before !== undefined) return replay(reply, before);
    checkRoom(environment, caller);
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
      underWay.end(keyed.id);
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
    const { environment, app } = request.caller;
    await directory.put('answer', environment, keyed.id, answer);
    for (const share of [all, shareOf(byApp, environment, app)]) add(share, answer);
  }
}

export function createUnderWay(): UnderWay {
  const ids = new Set<string>();
  return {
    begin(id) {
      if (ids.has(id)) return false;
      ids.add(id);
      return true;
    },
    end: (id) => void ids.delete(id),
  };
}

function keyOf({ method, headers, caller, routeOptions }: FastifyRequest): string | undefined {
  const key = headers['idempotency-key'];
  // Where nobody is asked for a key, nothing is changed either.
  if (method !== 'POST' || key === undefined || (caller as unknown) === undefined) return undefined;
  if (IDEMPOTENT.test(routeOptions.url ?? '')) return undefined;
  if (typeof key === 'string' && key !== '' && key.length <= HTTP_BOUNDS.idempotencyKeyChars) return key;
  throw new Problem('invalid_request', `an idempotency key has 1 to ${HTTP_BOUNDS.idempotencyKeyChars} characters`);
}

function shareOf(shares: Map<string, Kept>, environment: string, app: string): Kept {
  const place = `${environment}\n${app}`;
  const share = shares.get(place) ?? { count: 0, bytes: 0 };
  shares.set(place, share);
  return share;
}

function add(share: Kept, { sealed }: Answer): void {
  share.count++;
  share.bytes += sealed.length;
}

/** The id of an app has no slash, a digest neither. */
const appIn = (id: string): string => id.slice(0, Math.max(0, id.indexOf('/')));

function digestOf(parts: readonly unknown[]): string {
  return hash('sha256', JSON.stringify(parts), 'base64url');
}
