/** A local endpoint gets what a subscription would send: signed as Standard Webhooks, the payload byte for byte. */
import { hash } from 'node:crypto';
import { encodeBinary } from '@millrace/core/cloud-events-http';
import { signStandard } from '@millrace/core/signatures';
import { webhookId } from '@millrace/core/webhook-id';
import type { Followed } from './following.ts';
import { pause } from './signals.ts';

/** A server that restarts while one works on it is back within this; then the event is given up, and said so. */
const RECONNECT_MS = [250, 500, 1_000, 2_000, 4_000];

/** The server is away, or went while it was asked: the same id tells it what it has seen. */
const GONE: ReadonlySet<string> = new Set(['refused', 'reset']);

export interface Forwarded {
  readonly webhookId: string;
  /** 0: there was no answer. */
  readonly status: number;
  /** Of no answer: why. */
  readonly cause?: string;
  readonly durationMs: number;
}

export interface ForwardNeeds {
  readonly url: string;
  readonly secret: string;
  readonly timeoutMs: number;
  /** Nothing listens at the url, or the connection broke: it is tried again after `againMs`. */
  readonly onWaiting: (cause: string, againMs: number) => void;
}

/** One attempt that got an answer, or the last one that got none. Never rejects. */
export async function forward(followed: Followed, needs: ForwardNeeds, signal: AbortSignal): Promise<Forwarded> {
  const id = idOf(followed);
  for (let tries = 0; ; tries++) {
    const result = await attempt(followed, id, needs, signal);
    const againMs = RECONNECT_MS[tries];
    if (!GONE.has(result.cause ?? '') || againMs === undefined || signal.aborted) return result;
    needs.onWaiting(result.cause ?? '', againMs);
    await pause(againMs, signal);
  }
}

async function attempt(
  { event, position }: Followed,
  id: string,
  { url, secret, timeoutMs }: ForwardNeeds,
  signal: AbortSignal,
): Promise<Forwarded> {
  const { extensions = {}, ...draft } = event;
  const { headers, body } = encodeBinary({ ...draft, extensions: { sequence: position, ...extensions } });
  const timestampSeconds = Math.floor(Date.now() / 1_000);
  const startedMs = performance.now();
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: {
        ...headers,
        'webhook-id': id,
        'webhook-timestamp': String(timestampSeconds),
        'webhook-signature': await signStandard({ id, timestampSeconds, body, secrets: [secret] }),
        'x-idempotency-key': id,
        'millrace-subscription': 'listen',
      },
      body: new Uint8Array(body),
      // As deliveries do: a redirect is an answer that is no success.
      redirect: 'manual',
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
    });
    await response.body?.cancel();
    return { webhookId: id, status: response.status, durationMs: performance.now() - startedMs };
  } catch (error) {
    return { webhookId: id, status: 0, cause: causeOf(error), durationMs: performance.now() - startedMs };
  }
}

/** Stable over attempts and calls, so that a receiver's idempotency can be tried. */
function idOf({ event }: Followed): string {
  const { id, source } = event;
  return webhookId({ subscription: 'listen', publisher: 'listen', source, id }, (bytes) => hash('sha256', bytes, 'buffer'));
}

/** In the words of the API: a subscription's attempts have the same. */
const CAUSES: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'refused',
  ECONNRESET: 'reset',
  EPIPE: 'reset',
  UND_ERR_SOCKET: 'reset',
  UND_ERR_CONNECT_TIMEOUT: 'connect_timeout',
  ETIMEDOUT: 'connect_timeout',
  ENOTFOUND: 'dns',
  EAI_AGAIN: 'dns',
  EHOSTUNREACH: 'unreachable',
  ENETUNREACH: 'unreachable',
};

function causeOf(error: unknown): string {
  const { name, message, cause } = error as Error & { readonly cause?: { readonly code?: string; readonly message?: string } };
  if (name === 'TimeoutError') return 'timeout';
  if (name === 'AbortError') return 'interrupted';
  const code = cause?.code ?? '';
  if (/^(ERR_SSL_|ERR_TLS_|CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|HOSTNAME_)/.test(code)) return 'tls';
  if (code.startsWith('HPE_')) return 'protocol';
  // Nothing was sent, as fetch sends nothing to some ports.
  return CAUSES[code] ?? cause?.message ?? message;
}
