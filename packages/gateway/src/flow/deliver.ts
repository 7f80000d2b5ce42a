/**
 * Deliver, the fourth step: one attempt. The event becomes a signed request, the sender sends it, the answer becomes an
 * outcome. What a failure means for the next attempt, the key and the breaker is the lane's matter.
 */
import { hash } from 'node:crypto';
import { encodeBinary, encodeStructured } from '@millrace/core/cloud-events-http';
import type { Event } from '@millrace/core/event';
import { webhookId } from '@millrace/core/webhook-id';
import type { Clock } from '../ports/clock.ts';
import type { LogRecord } from '../ports/log.ts';
import type { Sender, SendError, SendResult } from '../ports/sender.ts';
import type { Sign } from '../signing.ts';
import type { Evidence } from '../lanes/breaker.ts';

export interface Deliver {
  /** Never rejects. */
  (target: Target, record: LogRecord, run?: string): Promise<Outcome>;
}

/** Where deliveries of a subscription go, compiled from its present settings. */
export interface Target {
  /** The subscription's uid and id. */
  readonly uid: string;
  readonly id: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  readonly body: 'data' | 'event';
  readonly sign: Sign;
}

export interface Outcome {
  /** `aborted`: we stopped it ourselves, nothing is known. */
  readonly kind: 'delivered' | 'failed' | 'aborted';
  /** Stable code: `http_500`, `timeout`, `refused`, …; empty when delivered. */
  readonly cause: string;
  /** 0 without an answer. */
  readonly status: number;
  readonly evidence: Evidence;
  /** What the receiver asked for. */
  readonly retryAfterMs?: number;
  /** The receiver is overloaded: the whole subscription slows down. */
  readonly slowDown: boolean;
  readonly snippet: string;
  readonly startedMs: number;
  readonly durationMs: number;
}

const NOTHING = new Uint8Array(0);
const UNREACHABLE: ReadonlySet<SendError> = new Set(['dns', 'refused', 'unreachable', 'connect_timeout', 'tls', 'blocked_address']);
const SLOW_DOWN: ReadonlySet<number> = new Set([429, 502, 503, 504]);
const sha256 = (bytes: Uint8Array): Uint8Array => hash('sha256', bytes, 'buffer');

export function createDeliver({ sender, clock }: { sender: Sender; clock: Clock }): Deliver {
  return async (target, record, run) => {
    const startedMs = clock.now();
    const { headers, body } = messageOf(target, record);
    const identity = { subscription: target.uid, publisher: record.app, source: record.event.source, id: record.event.id };
    const id = webhookId(run === undefined ? identity : { ...identity, run }, sha256);
    const result = await sender.send({
      subscription: target.uid,
      url: target.url,
      headers: {
        ...target.headers,
        ...headers,
        ...target.sign(id, Math.floor(startedMs / 1_000), body),
        'x-idempotency-key': id,
        'millrace-subscription': target.id,
      },
      body,
      timeoutMs: target.timeoutMs,
    });
    return outcomeOf(result, startedMs);
  };
}

function messageOf({ body: form }: Target, { event, position }: LogRecord): { headers: Record<string, string>; body: Uint8Array } {
  const sequenced = withSequence(event, position);
  if (form === 'event') return { headers: { 'content-type': 'application/cloudevents+json' }, body: encodeStructured(sequenced) };
  const { headers, body } = encodeBinary(sequenced);
  return { headers, body: body ?? NOTHING };
}

/** The place in the log, sortable, by which a receiver may refuse what is older than it has. A publisher's own is kept. */
function withSequence(event: Event, position: string): Event {
  if (event.extensions['sequence'] !== undefined) return event;
  return { ...event, extensions: { ...event.extensions, sequence: position } };
}

function outcomeOf(result: SendResult, startedMs: number): Outcome {
  const common = { startedMs, durationMs: result.durationMs };
  if ('error' in result) {
    const evidence = UNREACHABLE.has(result.error) ? 'unreachable' : 'failing';
    const kind = result.error === 'aborted' ? 'aborted' : 'failed';
    return { ...common, kind, cause: result.error, status: 0, evidence, slowDown: false, snippet: result.detail.slice(0, 1_024) };
  }
  const { status, retryAfterMs, snippet = '' } = result;
  const delivered = status >= 200 && status < 300;
  return {
    ...common,
    kind: delivered ? 'delivered' : 'failed',
    cause: delivered ? '' : `http_${status}`,
    status,
    evidence: evidenceOf(status),
    // 502, 503 and 504 without Retry-After are the breaker's matter; 429 asks for slowness by itself.
    slowDown: status === 429 || (SLOW_DOWN.has(status) && retryAfterMs !== undefined),
    snippet: delivered ? '' : snippet,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  };
}

function evidenceOf(status: number): Evidence {
  if (status >= 200 && status < 300) return 'success';
  if (status === 429) return 'busy';
  return status >= 500 || status === 408 ? 'failing' : 'refusal';
}
