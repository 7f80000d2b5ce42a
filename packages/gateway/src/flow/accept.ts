/**
 * Accept, the first step: drafts become entries for the log, or problems that say why not. Everything about an event is
 * validated here and nowhere later: what passes is stored, signed and sent as it is, for as long as its topic keeps it.
 */
import { hash } from 'node:crypto';
import { encodeEvent } from '@millrace/core/event-bytes';
import type { Event } from '@millrace/core/event';
import { hasJsonData } from '@millrace/core/event';
import { newId } from '@millrace/core/ids';
import { parseText } from '@millrace/core/json-parse';
import { compileKeyPath } from '@millrace/core/key-path';
import { Problem } from '@millrace/core/problem';
import { checkTopic } from '@millrace/core/topic';
import { formatTraceparent, formatTracestate, type TraceContext } from '@millrace/core/trace';
import type { Draft, Publish } from '../api.ts';
import type { Limits } from '../limits.ts';
import { bytesFrom, type Clock } from '../ports/clock.ts';
import type { Topic } from '../ports/directory.ts';
import type { Entry } from '../ports/log.ts';
import { checkHeadersAttribute, HEADERS_ATTRIBUTE } from '../webhook-headers.ts';

export interface Accept {
  /**
   * One per event, in order: what goes to the log, or why it does not; in pieces of at most `most`, each made when it is asked
   * for. Throws a Problem at once when the whole call is refused.
   */
  (request: Publish, most?: number): Iterable<readonly (Entry | Problem)[]>;
}

interface Needs {
  readonly topic: (environment: string, name: string) => Topic | undefined;
  readonly clock: Clock;
  readonly limits: Limits;
}

const KEY_BYTES_MAX = 255;
const ATTRIBUTE_NAME = /^[a-z0-9]{1,20}$/;
const RESERVED = new Set([
  'id',
  'source',
  'type',
  'subject',
  'time',
  'datacontenttype',
  'dataschema',
  'specversion',
  'data',
  'datab64',
]);

export function createAccept({ topic, clock, limits }: Needs): Accept {
  const randomBytes = bytesFrom(clock);
  const keyPaths = new Map<string, (data: unknown) => string | undefined>();
  let isoOfMs = Number.NaN;
  let iso = '';

  /** Events of one call are nearly always of one millisecond. */
  function isoOf(ms: number): string {
    if (ms !== isoOfMs) {
      iso = new Date(ms).toISOString();
      isoOfMs = ms;
    }
    return iso;
  }

  function entryOf(
    draft: Draft,
    { environment, app, idempotencyKey, trace }: Publish,
    topicOf: (name: string) => Topic | undefined,
  ): Entry {
    checkTopic(draft.type, '/type');
    const declared = topicOf(draft.type);
    if (declared === undefined) throw unknownTopic(draft.type);
    checkSize(draft, Math.min(declared.maxBytes, limits.payloadBytes));
    const { event, bytes } = encoded(complete(draft, app, declared), trace);
    const dedupe = dedupeOf(draft, event, idempotencyKey, limits.dedupeWindowMs);
    return dedupe === undefined ? { environment, app, event, bytes } : { environment, app, event, bytes, dedupe };
  }

  /** No event is refused for the trace of its call: where there is no room for it, it is left out. */
  function encoded(event: Event, trace: TraceContext | undefined): Pick<Entry, 'event' | 'bytes'> {
    const whole = trace === undefined ? event : traced(event, trace);
    const bytes = encodeEvent(whole);
    if (bytes.length - (event.data?.length ?? 0) <= limits.attributeBytes) return { event: whole, bytes };
    if (whole !== event) return encoded(event, undefined);
    throw new Problem('payload_too_large', `the attributes take more than ${limits.attributeBytes} bytes`);
  }

  /** Fills in what the publisher left out. The given members are taken as they are: a codec has checked their form, or we do. */
  function complete(draft: Draft, app: string, declared: Topic): Event {
    const nowMs = clock.now();
    checkText(draft.id, '/id', 255);
    checkText(draft.source, '/source', 1_024);
    checkText(draft.subject, '/subject', 1_024);
    const extensions: Record<string, string | number | boolean> = {};
    for (const [name, value] of draft.extensions === undefined ? [] : Object.entries(draft.extensions)) {
      if (!ATTRIBUTE_NAME.test(name) || RESERVED.has(name)) {
        throw new Problem('invalid_event', `'${name.slice(0, 40)}' is not a name for an extension attribute`, {
          pointer: `/${name.slice(0, 40)}`,
        });
      }
      extensions[name] = value;
    }
    const event = {
      ...draft,
      id: draft.id ?? newId('evt', nowMs, randomBytes),
      source: draft.source ?? `/apps/${app}`,
      time: draft.time ?? isoOf(nowMs),
      extensions,
    };
    if (declared.keyPath !== undefined && extensions['partitionkey'] === undefined) {
      const key = keyAt(declared.keyPath, event);
      if (key !== undefined) extensions['partitionkey'] = key;
    }
    checkText(extensions['partitionkey'], '/partitionkey', KEY_BYTES_MAX);
    checkText(extensions['audience'], '/audience', KEY_BYTES_MAX);
    if (extensions[HEADERS_ATTRIBUTE] !== undefined) checkHeadersAttribute(extensions[HEADERS_ATTRIBUTE]);
    return event;
  }

  function keyAt(path: string, event: Event): string | undefined {
    if (event.data === undefined || !hasJsonData(event)) return undefined;
    let read = keyPaths.get(path);
    if (read === undefined) keyPaths.set(path, (read = compileKeyPath(path)));
    const key = read(parseOrUndefined(event.data));
    return key === undefined || key === '' || Buffer.byteLength(key) > KEY_BYTES_MAX ? undefined : key;
  }

  function check(request: Publish): void {
    if (request.app === '') throw new Problem('invalid_request', 'an event needs a publishing app');
    if (request.events.length === 0 || request.events.length > limits.batchEvents) {
      throw new Problem(
        'invalid_request',
        `a call takes 1 to ${limits.batchEvents} events, this one has ${request.events.length}`,
      );
    }
    if (request.idempotencyKey !== undefined) checkIdempotencyKey(request);
  }

  function* pieces(request: Publish, most: number): Generator<readonly (Entry | Problem)[]> {
    const seen = new Map<string, Topic | undefined>();
    // One look per topic: one that is declared between two pieces would let the end of a call in before its beginning.
    const topicOf = (name: string): Topic | undefined => {
      if (!seen.has(name)) seen.set(name, topic(request.environment, name));
      return seen.get(name);
    };
    for (let at = 0; at < request.events.length; at += most) {
      yield request.events.slice(at, at + most).map((draft) => {
        try {
          return entryOf(draft, request, topicOf);
        } catch (error) {
          if (error instanceof Problem) return error;
          throw error;
        }
      });
    }
  }

  return (request, most = request.events.length) => {
    check(request);
    return pieces(request, most);
  };
}

/** CloudEvents, extension Distributed Tracing: where an event came from. What its publisher wrote into it is never rewritten. */
function traced(event: Event, trace: TraceContext): Event {
  if (event.extensions['traceparent'] !== undefined) return event;
  const { tracestate: _foreign, ...extensions } = event.extensions;
  const tracestate = formatTracestate(trace);
  const origin = { traceparent: formatTraceparent(trace), ...(tracestate === undefined ? {} : { tracestate }) };
  return { ...event, extensions: { ...extensions, ...origin } };
}

function unknownTopic(name: string): Problem {
  return new Problem('unknown_topic', `the topic '${name}' is not declared`, {
    pointer: '/type',
    advice: `Declare it first: PUT /v1/topics/${name}`,
  });
}

function checkIdempotencyKey({ idempotencyKey = '', events }: Publish): void {
  const length = Buffer.byteLength(idempotencyKey);
  if (length === 0 || length > KEY_BYTES_MAX)
    throw new Problem('invalid_request', `an idempotency key has 1 to ${KEY_BYTES_MAX} bytes`);
  if (events.length > 1) {
    throw new Problem('invalid_request', 'an idempotency key is for one event', {
      advice: 'In a batch give each event an id: it dedupes together with its source.',
    });
  }
}

function checkSize(draft: Draft, maxBytes: number): void {
  if (draft.data !== undefined && draft.data.length > maxBytes) {
    throw new Problem('payload_too_large', `the payload has ${draft.data.length} bytes, the topic takes ${maxBytes}`, {
      pointer: '/data',
    });
  }
}

// oxlint-disable-next-line no-control-regex -- control characters are what is looked for
const CONTROL = /[\u0000-\u001f\u007f]/;

function checkText(value: unknown, pointer: string, bytesMax: number): void {
  if (value === undefined) return;
  const isText = typeof value === 'string' && value !== '' && value.isWellFormed() && !CONTROL.test(value);
  if (isText && Buffer.byteLength(value) <= bytesMax) return;
  throw new Problem('invalid_event', `${pointer.slice(1)} must be text of 1 to ${bytesMax} bytes without control characters`, {
    pointer,
  });
}

function parseOrUndefined(data: Uint8Array): unknown {
  try {
    return parseText(Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString());
  } catch {
    return undefined; // not JSON after all: such an event has no key
  }
}

/** Promise 6: the header's key, else source and id where the publisher set an id. The two never meet: they start differently. */
function dedupeOf(draft: Draft, event: Event, idempotencyKey: string | undefined, windowMs: number): Entry['dedupe'] {
  if (idempotencyKey !== undefined) return { key: `key:${idempotencyKey}`, digest: digestOf(draft), windowMs };
  if (draft.id === undefined) return undefined;
  return { key: `id:${hash('sha256', `${event.source}\n${event.id}`, 'base64url')}`, digest: digestOf(draft), windowMs };
}

/** Of what the publisher means. `time` and the trace are left out: a client that retries makes them anew. */
function digestOf({ data, time: _time, extensions = {}, ...rest }: Draft): string {
  const { traceparent: _parent, tracestate: _state, ...kept } = extensions;
  const sorted = (members: object): unknown[] =>
    Object.entries(members)
      .filter(([, value]) => value !== undefined)
      .toSorted(([one], [other]) => (one < other ? -1 : 1));
  const head = Buffer.from(JSON.stringify([sorted(rest), sorted(kept), data === undefined]));
  return hash('sha256', data === undefined ? head : Buffer.concat([head, data]), 'base64url');
}
