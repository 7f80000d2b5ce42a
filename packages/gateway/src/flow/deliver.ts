/**
 * Deliver, the fourth step: one attempt. The event becomes a signed request, the sender sends it, the answer becomes an
 * outcome. What a failure means for the next attempt, the key and the breaker is the lane's matter.
 */
import { hash } from 'node:crypto';
import { encodeBinary, encodeStructured, STRUCTURED_TYPE } from '@millrace/core/cloud-events-http';
import { type Event, hasJsonData } from '@millrace/core/event';
import { stringified } from '@millrace/core/json-stringified';
import { webhookId } from '@millrace/core/webhook-id';
import type { Clock } from '../ports/clock.ts';
import type { LogRecord } from '../ports/log.ts';
import type { Sender, SendError, SendResult } from '../ports/sender.ts';
import type { Sign, Signer } from '../signing.ts';
import { HEADERS_ATTRIBUTE, webhookHeadersOf } from '../webhook-headers.ts';
import type { Evidence } from '../lanes/breaker.ts';
import { FILTER_TOO_COSTLY } from '../lanes/delivery.ts';
import type { Group } from '../lanes/group.ts';

export interface Deliver {
  /** Never rejects. */
  /** Without `attempt`: the first of one that stands in no lane. */
  (target: Target, record: LogRecord, attempt?: Attempt): Promise<Outcome>;
  /** The outcome of one that is not made: the filter has no answer, so whether the subscription wants the event is not known. */
  unsent(target: Target, record: LogRecord, run?: string): Outcome;
}

/** Which attempt of which delivery. */
export interface Attempt {
  readonly lane: string;
  /** 1 for the first. */
  readonly n: number;
  readonly key?: string | undefined;
  /** Of a replay that makes new ids. */
  readonly run?: string | undefined;
  /** How many of these attempts its present schedule does not count. */
  readonly before?: number;
}

/** Where deliveries of a subscription go, compiled from its present settings. */
export interface Target {
  /** The subscription's uid and id. */
  readonly uid: string;
  readonly id: string;
  /** Consumers over connections, where it delivers to these and to no address. */
  readonly group?: Group | undefined;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  readonly form: Form;
  readonly signer: Signer;
}

/** What the body holds: the event's data or the whole event as JSON; for `simple`, written as its receivers expect it, or as sent. */
export type Form = 'data' | 'event' | 'simple-data' | 'simple-event' | 'simple-data-as-sent' | 'simple-event-as-sent';

export interface Outcome {
  /** The delivery's `webhook-id`. */
  readonly webhookId: string;
  /** `aborted`: we stopped it ourselves, nothing is known. */
  readonly kind: 'delivered' | 'failed' | 'aborted';
  /** Stable code: `http_500`, `timeout`, `refused`, …; empty when delivered. */
  readonly cause: string;
  /** 0 without an answer. */
  readonly status: number;
  readonly evidence: Evidence;
  /** What the receiver asked for. */
  readonly retryAfterMs?: number;
  /** It is tried again after exactly this, whatever the schedule says, as long as the schedule has attempts left. */
  readonly againMs?: number;
  /** The receiver wants it never again. */
  readonly isFinal?: true;
  /** The receiver is overloaded: the whole subscription slows down. */
  readonly slowDown: boolean;
  readonly snippet: string;
  readonly startedMs: number;
  readonly durationMs: number;
}

const NOTHING = new Uint8Array(0);
const NO_DATA = new TextEncoder().encode('{}');
/** Also what may not be reached: told apart, by when the breaker opens, it would say which names lead inside. */
const UNREACHABLE: ReadonlySet<SendError> = new Set([
  'dns',
  'blocked_address',
  'refused',
  'unreachable',
  'connect_timeout',
  'tls',
]);
const SLOW_DOWN: ReadonlySet<number> = new Set([429, 502, 503, 504]);
const OTHER_SECRET: ReadonlySet<number> = new Set([401, 403, 500]);
const SHA256_BYTES = 32;
const JSON_TYPE = 'application/json';

interface Needs {
  readonly sender: Sender;
  readonly clock: Clock;
  /** Where its receiver reports that it failed after it has answered, as a header; undefined where nobody knows. */
  readonly failedAt?: (record: LogRecord, attempt: Attempt) => string | undefined;
}

export function createDeliver({ sender, clock, failedAt = () => undefined }: Needs): Deliver {
  const messageOf = createMessages();

  /** One request, signed by one secret (`simple`) or all. */
  function send(target: Target, signing: Signing): Promise<SendResult> {
    return sender.send({
      subscription: target.uid,
      url: target.url,
      headers: signed(target, signing),
      body: signing.body,
      timeoutMs: target.timeoutMs,
    });
  }

  // No async function: one promise fewer per delivery.
  const deliver = ((target, record, attempt = ALONE) => {
    const startedMs = clock.now();
    const { run } = attempt;
    if (target.group !== undefined) return handOver(target.group, record, attempt, idOf(target, record, run), startedMs);
    const message = messageOf(record, target.form);
    const id = idOf(target, record, run);
    const signing = { ...message, id, startedMs, failed: attempt === ALONE ? undefined : failedAt(record, attempt) };
    return send(target, { ...signing, sign: target.signer.sign }).then((result) => {
      const other = mayBeOtherSecret(result) ? target.signer.other(Math.floor(startedMs / 1_000)) : undefined;
      if (other === undefined) return outcomeOf(result, id, startedMs);
      return send(target, { ...signing, sign: other }).then((second) => {
        if (!isDelivered(second)) return outcomeOf(result, id, startedMs);
        target.signer.prefer(other);
        return outcomeOf(second, id, startedMs);
      });
    });
  }) as Deliver;
  deliver.unsent = (target, record, run) => ({
    webhookId: idOf(target, record, run),
    kind: 'failed',
    cause: FILTER_TOO_COSTLY,
    status: 0,
    evidence: 'refusal',
    slowDown: false,
    snippet: 'the filter takes too many steps on this event: whether it matches is not known, so it was not sent',
    startedMs: clock.now(),
    durationMs: 0,
  });
  return deliver;
}

/** To a consumer that is connected. */
async function handOver(
  group: Group,
  record: LogRecord,
  { lane, n: attempt, key }: Attempt,
  webhookId: string,
  startedMs: number,
): Promise<Outcome> {
  const { shard, position } = record;
  const {
    kind,
    delayMs,
    reason = '',
    durationMs,
  } = await group.deliver({
    lane,
    shard,
    position,
    record,
    key,
    attempt,
    webhookId,
  });
  const outcome = { webhookId, status: 0, slowDown: false, snippet: reason, startedMs, durationMs } as const;
  if (kind === 'acked') return { ...outcome, kind: 'delivered', cause: '', evidence: 'success' };
  if (kind === 'returned') return { ...outcome, kind: 'aborted', cause: '', evidence: 'busy' };
  // A consumer's no is about this event; one that is gone or late says nothing about the others.
  const failed = { ...outcome, kind: 'failed', cause: CAUSES[kind], evidence: 'refusal' } as const;
  if (kind === 'dead') return { ...failed, isFinal: true };
  const againMs = kind === 'nacked' ? delayMs : 0;
  return againMs === undefined ? failed : { ...failed, againMs };
}

const ALONE: Attempt = { lane: '', n: 1 };

const CAUSES = { nacked: 'nack', dead: 'nack_dead', timeout: 'ack_timeout', gone: 'consumer_gone' } as const;

function idOf(target: Target, { app: publisher, event }: LogRecord, run?: string): string {
  const identity = { subscription: target.uid, publisher, source: event.source, id: event.id };
  return webhookId(run === undefined ? identity : { ...identity, run }, sha256);
}

/** What receivers answer where a signature does not fit: also 500, as code written in a hurry throws. */
function mayBeOtherSecret(result: SendResult): boolean {
  return 'status' in result && OTHER_SECRET.has(result.status);
}

function isDelivered(result: SendResult): boolean {
  return 'status' in result && result.status >= 200 && result.status < 300;
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
  /** Of this event, by its publisher. */
  readonly own?: Readonly<Record<string, string>>;
}

interface Signing extends Message {
  readonly id: string;
  readonly startedMs: number;
  readonly sign: Sign;
  readonly failed: string | undefined;
}

/** The request of one delivery: what is the event's, what the target adds, what proves who sent it. */
function signed(target: Target, { id, startedMs, headers: of, own, body, sign, failed }: Signing): Record<string, string> {
  // One copy, then member by member: each further spread cost as much as the first.
  const headers: Record<string, string> = { ...of };
  addTo(headers, target.headers);
  // Of two that set one, the subscription's owner goes before the event's publisher.
  if (own !== undefined) addTo(headers, own);
  const signature = sign(id, Math.floor(startedMs / 1_000), body);
  for (const name in signature) headers[name] = signature[name] as string;
  headers['x-idempotency-key'] = id;
  headers['millrace-subscription'] = target.id;
  if (failed !== undefined) headers['millrace-failed'] = failed;
  return headers;
}

/** Those that are not there yet. By own names: `constructor` is there in every object, and is a header like others. */
function addTo(headers: Record<string, string>, more: Readonly<Record<string, string>>): void {
  for (const name in more) {
    if (Object.hasOwn(headers, name)) continue;
    const value = more[name] as string;
    if (name !== '__proto__') headers[name] = value;
    else Object.defineProperty(headers, name, { value, enumerable: true, writable: true, configurable: true });
  }
}

/** Messages of records, the last one kept: an event for many subscriptions goes out to one after the other. */
function createMessages(): (record: LogRecord, form: Form) => Message {
  let lastRecord: LogRecord | undefined;
  let lastForm: Form | undefined;
  let last: Message = { headers: {}, body: NOTHING };
  return (record, form) => {
    if (record === lastRecord && form === lastForm) return last;
    last = messageIn(form, record);
    lastRecord = record;
    lastForm = form;
    return last;
  };
}

function messageIn(form: Form, record: LogRecord): Message {
  const own = record.event.extensions[HEADERS_ATTRIBUTE];
  const bare = own === undefined ? record : withoutHeaders(record);
  const message = form === 'event' || form.startsWith('simple-event') ? asEvent(bare) : asData(bare);
  const written = form.startsWith('simple') ? asSimple(message, record.event, form) : message;
  return own === undefined ? written : { ...written, own: webhookHeadersOf(own) };
}

function withoutHeaders(record: LogRecord): LogRecord {
  const { [HEADERS_ATTRIBUTE]: _own, ...extensions } = record.event.extensions;
  return { ...record, event: { ...record.event, extensions } };
}

/**
 * For receivers that read JSON with a framework and sign what they print of it again: the content type every framework
 * takes for JSON, a body in the form JSON.stringify gives, `{}` where there is none.
 */
function asSimple({ headers, body }: Message, event: Event, form: Form): Message {
  const isWhole = form.startsWith('simple-event');
  if (!isWhole && !hasJsonData(event)) return { headers, body };
  if (body.length === 0) return { headers: { ...headers, 'content-type': JSON_TYPE }, body: NO_DATA };
  const bytes = form.endsWith('as-sent') ? body : (stringified(body) ?? body);
  return { headers: { ...headers, 'content-type': JSON_TYPE }, body: bytes };
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

function outcomeOf(result: SendResult, webhookId: string, startedMs: number): Outcome {
  const { durationMs } = result;
  if ('error' in result) {
    const evidence = UNREACHABLE.has(result.error) ? 'unreachable' : 'failing';
    const kind = result.error === 'aborted' ? 'aborted' : 'failed';
    const snippet = result.detail.slice(0, 1_024);
    return { webhookId, kind, cause: result.error, status: 0, evidence, slowDown: false, snippet, startedMs, durationMs };
  }
  const { status, retryAfterMs, snippet = '' } = result;
  const delivered = status >= 200 && status < 300;
  return {
    webhookId,
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
