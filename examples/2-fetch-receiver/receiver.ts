/**
 * A receiver as one web-standard fetch handler: verify, keep, ack at once, work under `waitUntil`. Nothing here is Node's:
 * it runs on Workers, Deno, Bun and Node.
 */
import type { Claim, Inbox, Message } from '../1-express-receiver/inbox.ts';
import type { Verify } from './verify.ts';

/** Millrace sends at most 512 KB of payload; with `"body": "event"` attributes and base64 come on top. */
const BODY_BYTES_MAX = 1024 * 1024;
/** What a sender is asked to wait while the inbox is full. */
const FULL_SECONDS = 1;

export interface ReceiverNeeds {
  readonly verify: Verify;
  readonly inbox: Inbox;
  /** Works on what is in the inbox: a Drain. */
  readonly drain: () => Promise<void>;
  /** Has the platform wait for this after the answer; it must not lose a rejection. */
  readonly waitUntil: (promise: Promise<void>) => void;
}

export function createReceiver({ verify, inbox, drain, waitUntil }: ReceiverNeeds): (request: Request) => Promise<Response> {
  return async (request) => {
    if (request.method !== 'POST') return answer(405, { allow: 'POST' });
    const body = await readBody(request);
    if (body === undefined) return answer(413);
    if (!(await verify(request.headers, body))) return answer(401);
    // Not `x-idempotency-key`: it says the same, and is not among what is signed.
    const id = request.headers.get('webhook-id');
    if (id === null) return answer(400);
    const found = await inbox.seen({ id, headers: headersOf(request), body });
    if (found === 'full') return answer(503, { 'retry-after': String(FULL_SECONDS) });
    if (found === 'new') waitUntil(drain());
    return answer(204);
  };
}

const answer = (status: number, headers: Record<string, string> = {}): Response => new Response(null, { status, headers });

/** Undefined: too long. Counted as it comes, as Content-Length may be absent. */
export async function readBody({ body }: Request): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let bytes = 0;
  const reader = body?.getReader();
  for (let next = await reader?.read(); next?.done === false; next = await reader?.read()) {
    bytes += next.value.length;
    if (bytes > BODY_BYTES_MAX) return undefined;
    chunks.push(next.value);
  }
  return new Uint8Array(await new Blob(chunks).arrayBuffer());
}

/** What the work may want to know; no signatures. */
function headersOf({ headers }: Request): Record<string, string> {
  return Object.fromEntries([...headers].filter(([name]) => name === 'content-type' || name.startsWith('ce-')));
}

export interface DrainNeeds {
  readonly inbox: Inbox;
  /** Throwing means: once more, after a pause. Must bear being done twice. */
  readonly work: (message: Message, signal: AbortSignal) => Promise<void>;
  /** The longest that one may take. A platform that ends earlier (30 s after the answer on Workers) leaves a claim that runs out. */
  readonly workMs?: number;
  /** Pauses before further attempts, ms: their number is the number of further attempts. */
  readonly retryMs?: readonly number[];
  readonly onFailed?: (message: Message, error: string) => void;
}

/**
 * One message after the other until nothing is due. Each request brings at most one of these along, so there are never more
 * than the inbox holds messages. Call it from a cron trigger, too: that finds what a platform cut off.
 */
export function createDrain({
  inbox,
  work,
  workMs = 10_000,
  retryMs = [1_000, 5_000],
  onFailed,
}: DrainNeeds): () => Promise<void> {
  /** When it is to be tried again; undefined: it is settled. */
  async function attempt(claim: Claim): Promise<number | undefined> {
    const error = claim.attempt > retryMs.length + 1 ? 'cut off while it was worked on' : await errorOf(claim.message);
    const pauseMs = retryMs[claim.attempt - 1];
    if (error === undefined) await inbox.markSeen(claim.message.id);
    else if (pauseMs !== undefined) {
      const dueMs = Date.now() + pauseMs;
      await inbox.postpone(claim, dueMs, error);
      return dueMs;
    } else {
      await inbox.fail(claim, error);
      onFailed?.(claim.message, error);
    }
    return undefined;
  }

  async function errorOf(message: Message): Promise<string | undefined> {
    const signal = AbortSignal.timeout(workMs);
    const late = new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
    return Promise.race([work(message, signal), late]).then(() => undefined, String);
  }

  return async () => {
    for (let againMs: number | undefined = 0; againMs !== undefined;) {
      await until(againMs);
      againMs = undefined;
      // A claim outlasts the work, so that it runs out only when its worker is gone.
      for (let claim = await next(); claim !== undefined; claim = await next()) {
        const dueMs = await attempt(claim);
        againMs = dueMs === undefined ? againMs : Math.min(dueMs, againMs ?? Infinity);
      }
    }
  };

  function next(): Promise<Claim | undefined> {
    return inbox.claim(Date.now() + 2 * workMs);
  }
}

/** Timers go by another clock and may come a millisecond early: then nothing would be due yet, and nobody would look again. */
async function until(timeMs: number): Promise<void> {
  // real time: a pause between attempts
  while (Date.now() < timeMs) await new Promise((resolve) => setTimeout(resolve, timeMs - Date.now()));
}
