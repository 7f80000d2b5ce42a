/**
 * Deliver, the fourth step: one attempt. The event becomes a signed request, the sender sends it, the answer becomes an
 * outcome. What a failure means for the next attempt, the key and the breaker is the lane's matter.
 */
import { hash } from 'node:crypto';
import { encodeBinary, encodeStructured, STRUCTURED_TYPE } from '@millrace/core/cloud-events-http';
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
const UNREACHABLE: ReadonlySet<SendError> = new Set([
  'dns',
  'refused',
  'unreachable',
  'connect_timeout',
  'tls',
  'blocked_address',
]);
const SLOW_DOWN: ReadonlySet<number> = new Set([429, 502, 503, 504]);
const SHA256_BYTES = 32;

export function createDeliver({ sender, clock }: { sender: Sender; clock: Clock }): Deliver {
  const messageOf = createMessages();

  // No async function: one promise fewer per delivery.
  return (target, record, run) => {
    const startedMs = clock.now();
    const { headers, body } = messageOf(record, target.body);
    const { app: publisher, event } = record;
    const identity = { subscription: target.uid, publisher, source: event.source, id: event.id };
    const id = webhookId(run === undefined ? identity : { ...identity, run }, sha256);
    const sent = sender.send({
      subscription: target.uid,
      url: target.url,
      headers: signed(target, { id, startedMs, headers, body }),
      body,
      timeoutMs: target.timeoutMs,
    });
    return sent.then((result) => outcomeOf(result, startedMs));
  };
}

/** Good until the next call. By way of a string, as that costs half of having node:crypto make a Buffer. */
const digest = new Uint8Array(SHA256_BYTES);

function sha256(bytes: Uint8Array): Uint8Array {
  const text = hash('sha256', bytes, 'latin1');
  for (let at = 0; at < SHA256_BYTES; at++) digest[at] = text.charCodeAt(at);
  return digest;
}

interface Message {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/** The request of one delivery: what is the event's, what the target adds, what proves who sent it. */
function signed(
  target: Target,
  { id, startedMs, headers: own, body }: Message & { id: string; startedMs: number },
): Record<string, string> {
  // One copy, then member by member: each further spread cost as much as the first.
  const headers: Record<string, string> = { ...own };
  for (const name in target.headers) headers[name] ??= target.headers[name] as string;
  const signature = target.sign(id, Math.floor(startedMs / 1_000), body);
  for (const name in signature) headers[name] = signature[name] as string;
  headers['x-idempotency-key'] = id;
  headers['millrace-subscription'] = target.id;
  return headers;
}

/** Messages of records, the last one kept: an event for many subscriptions goes out to one after the other. */
function createMessages(): (record: LogRecord, form: Target['body']) => Message {
  let lastRecord: LogRecord | undefined;
  let lastForm: Target['body'] | undefined;
  let last: Message = { headers: {}, body: NOTHING };
  return (record, form) => {
    if (record === lastRecord && form === lastForm) return last;
    last = form === 'event' ? asEvent(record) : asData(record);
    lastRecord = record;
    lastForm = form;
    return last;
  };
}

function asEvent({ event, position }: LogRecord): Message {
  const sequenced = hasSequence(event) ? event : { ...event, extensions: { ...event.extensions, sequence: position } };
  return { headers: { 'content-type': STRUCTURED_TYPE }, body: encodeStructured(sequenced) };
}

function asData({ event, position }: LogRecord): Message {
  const { headers, body } = encodeBinary(event);
  if (!hasSequence(event)) headers['ce-sequence'] = position;
  return { headers, body };
}

/** The place in the log, sortable, by which a receiver may refuse what is older than it has. A publisher's own is kept. */
function hasSequence({ extensions }: Event): boolean {
  return extensions['sequence'] !== undefined;
}

function outcomeOf(result: SendResult, startedMs: number): Outcome {
  const { durationMs } = result;
  if ('error' in result) {
    const evidence = UNREACHABLE.has(result.error) ? 'unreachable' : 'failing';
    const kind = result.error === 'aborted' ? 'aborted' : 'failed';
    const snippet = result.detail.slice(0, 1_024);
    return { kind, cause: result.error, status: 0, evidence, slowDown: false, snippet, startedMs, durationMs };
  }
  const { status, retryAfterMs, snippet = '' } = result;
  const delivered = status >= 200 && status < 300;
  return {
    kind: delivered ? 'delivered' : 'failed',
    cause: delivered ? '' : `http_${status}`,
    status,
    evidence: evidenceOf(status),
    // 502, 503 and 504 without Retry-After are the breaker's matter; 429 asks for slowness by itself.
    slowDown: status === 429 || (SLOW_DOWN.has(status) && retryAfterMs !== undefined),
    snippet: delivered ? '' : snippet,
    startedMs,
    durationMs,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  };
}

function evidenceOf(status: number): Evidence {
  if (status >= 200 && status < 300) return 'success';
  if (status === 429) return 'busy';
  return status >= 500 || status === 408 ? 'failing' : 'refusal';
}
