/** `POST /v1/events` and `POST /v1/topics/{topic}/events`: events come in. */
import type { FastifyInstance, FastifyReply, FastifyRequest, FastifySchema } from 'fastify';
import { BATCH_TYPE, type Decoded, decodeHttp } from '@millrace/core/cloud-events-http';
import { isJsonType } from '@millrace/core/attributes';
import { hasMoreItems, parseJson } from '@millrace/core/json-scan';
import { Problem } from '@millrace/core/problem';
import type { Published } from '../api.ts';
import type { Limits } from '../limits.ts';
import type { OwnTurn } from '../pace.ts';
import { curlLine } from './curl.ts';
import { isLines, publishLines, takeLines } from './lines.ts';
import { traceOf } from './trace.ts';
import { EVENT_CALLS } from './openapi/events.ts';
import type { How, Publish } from './publish.ts';

/** A body larger than this is read in a turn of the event loop of its own: some 10 ms per MB that all others wait. */
const ALONE_BYTES = 16_384;
const EMPTY = new Uint8Array(0);
/** A list begins within these, or what is no list would be one by its white space. */
const SPACE_BYTES = 1_024;

interface Needs {
  readonly publish: Publish;
  readonly ownTurn: OwnTurn;
}

export function eventRoutes(app: FastifyInstance, { publish, ownTurn }: Needs): void {
  const config = { allow: ['publish'], takes: 'tokens', publishes: true } as const;
  takeLines(app);

  // A batch of which nothing is stored has any status: the types of the answers are too narrow for it.
  const publishing = { config, schema: EVENT_CALLS.publish as FastifySchema };
  app.post('/v1/events', { ...publishing, config: { ...config, signed: true } }, async (request, reply) => {
    refuseForms(request);
    if (isLines(request)) return publishLines(request, reply, publish);
    if (bodyOf(request).length > ALONE_BYTES) await ownTurn();
    const { batch, events } = decode(request, publish.limits);
    if (events.length === 0) throw new Problem('invalid_event', 'a batch has at least one event', { pointer: '' });
    if (batch && request.signed !== undefined) mustHaveIds(events);
    const published = await publish(request.caller, events, howOf(request, batch));
    if (!batch) return answerOne(reply, published[0] as Published);
    return reply.code(statusOf(published)).send({ results: published.map(resultOf) });
  });

  app.post<{ Params: { topic: string } }>(
    '/v1/topics/:topic/events',
    { config, schema: EVENT_CALLS.publishTo, bodyLimit: publish.limits.payloadBytes },
    async (request, reply) => {
      refuseForms(request);
      if (isLines(request)) throw linesElsewhere();
      const data = bodyOf(request);
      if (data.length > ALONE_BYTES) await ownTurn();
      const datacontenttype = request.headers['content-type'];
      // What is called JSON must be JSON: filters, key paths and native clients rely on it.
      if (data.length > 0 && (datacontenttype === undefined || isJsonType(datacontenttype))) parseJson(data);
      const draft = {
        type: request.params.topic,
        ...(data.length === 0 ? {} : { data }),
        ...(datacontenttype === undefined || data.length === 0 ? {} : { datacontenttype }),
      };
      const [published] = await publish(request.caller, [draft], howOf(request));
      return answerOne(reply, published as Published);
    },
  );
}

/** An idempotency key is for one event: without ids, a signed list that somebody has recorded would be stored again. */
function mustHaveIds(events: Decoded['events']): void {
  const at = events.findIndex((event) => !(event instanceof Problem) && event.id === undefined);
  if (at >= 0)
    throw new Problem('invalid_event', 'in a list that is signed each event has an id', {
      pointer: `/${at}/id`,
      advice: 'Give each one an id that stays when it is sent again: it dedupes together with its source.',
    });
}

/** Throws for a body that is no event, or none at all. */
function decode(request: FastifyRequest, { batchEvents, lineBytes, payloadBytes }: Limits): Decoded {
  const body = bodyOf(request);
  const headers = pairsOf(request);
  if (body.length === 0 && !headers.some(([name]) => /^ce-/i.test(name))) throw nothing();
  // Before anything is made of it: what a body may hold for a list is far more than one event may be.
  if (!mayBeList(request, headers)) {
    const most = headers.some(([name]) => /^ce-/i.test(name)) ? payloadBytes : lineBytes;
    if (body.length > most) throw tooLong(most);
  } else if (hasMoreItems(body, batchEvents)) throw tooMany(batchEvents);
  try {
    const decoded = decodeHttp({ headers, body }, batchEvents);
    const [first] = decoded.events;
    // In binary mode the payload is the body itself; what is called JSON must be JSON there, too.
    if (first !== undefined && 'data' in first && first.data === body && isCalledJson(first.datacontenttype)) parseJson(body);
    return decoded;
  } catch (error) {
    throw error instanceof Problem && error.code === 'payload_too_large' ? tooMany(batchEvents) : error;
  }
}

/** In binary mode a list is the payload of one event; else its first sign tells. */
function mayBeList(request: FastifyRequest, said: readonly [string, string][]): boolean {
  const type = request.headers['content-type']?.split(';')[0]?.trim().toLowerCase();
  if (type === BATCH_TYPE) return true;
  return (
    !said.some(([name]) => /^ce-/i.test(name)) && /^\s*\[/.test(Buffer.from(bodyOf(request).subarray(0, SPACE_BYTES)).toString())
  );
}

const isCalledJson = (type: string | undefined): boolean => type !== undefined && isJsonType(type);

const nothing = (): Problem =>
  new Problem('invalid_json', 'there is no body, where an event is expected', {
    advice: 'Send JSON such as {"type":"orders.created","data":{"id":42}}.',
  });

const tooLong = (most: number): Problem =>
  new Problem('payload_too_large', `one event has at most ${most.toLocaleString('en')} bytes here`);

const tooMany = (most: number): Problem =>
  new Problem('payload_too_large', `a batch has at most ${most.toLocaleString('en')} events`, {
    advice: 'Send them in several calls, or line by line as application/x-ndjson.',
  });

const linesElsewhere = (): Problem =>
  new Problem('unsupported_media_type', 'events as NDJSON name their topic line by line', {
    advice: 'Send them to POST /v1/events.',
  });

function bodyOf(request: FastifyRequest): Uint8Array {
  return request.body instanceof Uint8Array ? request.body : EMPTY;
}

/** Those that say what the body is, as they came: in Node's object a header that is there twice looks like one. */
function pairsOf(request: FastifyRequest): [string, string][] {
  const { rawHeaders } = request.raw;
  const pairs: [string, string][] = [];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string;
    if (SAYS_WHAT.test(name)) pairs.push([name, rawHeaders[at + 1] as string]);
  }
  return pairs;
}

const SAYS_WHAT = /^c(?:e-|ontent-type$)/i;

function howOf(request: FastifyRequest, batch = false): How {
  return {
    idempotencyKey: idempotencyKeyOf(request, batch),
    bytes: bodyOf(request).length,
    entered: request.entered,
    // A header that the signature does not cover must not count.
    trace: request.signed === undefined ? traceOf(request) : undefined,
  };
}

/** The id that is signed, which whoever sends the request again can not change; of a list the events have their own. */
function idempotencyKeyOf(request: FastifyRequest, batch: boolean): string | undefined {
  if (request.signed !== undefined) return batch ? undefined : request.signed.id;
  const value = request.headers['idempotency-key'];
  return Array.isArray(value) ? value.join(', ') : value;
}

/** What curl sends where nobody said otherwise, and what a page of another site can make a browser send. */
function refuseForms(request: FastifyRequest): void {
  const type = request.headers['content-type'] ?? '';
  if (!/^\s*(application\/x-www-form-urlencoded|multipart\/form-data)/i.test(type)) return;
  const host = /^[\w.:[\]-]+$/.test(request.host) ? request.host : '127.0.0.1:4400';
  const line = curlLine({
    address: `${request.protocol}://${host}`,
    key: 'YOUR_KEY',
    body: '{"type":"orders.created","data":{"id":42}}',
  });
  throw new Problem('unsupported_media_type', 'the body is called a form; an event is JSON', {
    advice: `Say what it is: ${line}`,
  });
}

/** Of a batch: 202 where at least one event is stored; its results name those that are not. */
function statusOf(published: readonly Published[]): number {
  const [first] = published;
  const isStored = published.some(({ status }) => status !== 'refused');
  return isStored || first?.status !== 'refused' ? 202 : first.problem.status;
}

function answerOne(reply: FastifyReply, published: Published): FastifyReply {
  if (published.status === 'refused') throw published.problem;
  return reply.code(202).send(resultOf(published));
}

function resultOf(published: Published): object {
  if (published.status === 'refused') return { problem: published.problem };
  const { id, shard, position, status } = published;
  return { id, status, shard, position };
}
