/** `POST /v1/events` and `POST /v1/topics/{topic}/events`: events come in. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { decodeHttp } from '@millrace/core/cloud-events-http';
import { isJsonType } from '@millrace/core/attributes';
import { parseJson } from '@millrace/core/json-scan';
import { Problem } from '@millrace/core/problem';
import type { Published } from '../api.ts';
import { curlLine } from './curl.ts';
import { isLines, publishLines, takeLines } from './lines.ts';
import type { Publish } from './publish.ts';

const EMPTY = new Uint8Array(0);

export function eventRoutes(app: FastifyInstance, { publish }: { readonly publish: Publish }): void {
  const config = { allow: ['publish'] } as const;
  takeLines(app);

  app.post('/v1/events', { config }, async (request, reply) => {
    refuseForms(request);
    if (isLines(request)) return publishLines(request, reply, publish);
    const { batch, events } = decodeHttp({ headers: pairsOf(request), body: bodyOf(request) }, publish.limits.batchEvents);
    if (events.length === 0) throw new Problem('invalid_event', 'a batch has at least one event', { pointer: '' });
    const published = await publish(request.caller, events, idempotencyKeyOf(request));
    if (!batch) return answerOne(reply, published[0] as Published);
    return reply.code(statusOf(published)).send({ results: published.map(resultOf) });
  });

  app.post<{ Params: { topic: string } }>('/v1/topics/:topic/events', { config }, async (request, reply) => {
    refuseForms(request);
    if (isLines(request)) throw linesElsewhere();
    const data = bodyOf(request);
    const datacontenttype = request.headers['content-type'];
    // What is called JSON must be JSON: filters, key paths and native clients rely on it.
    if (data.length > 0 && (datacontenttype === undefined || isJsonType(datacontenttype))) parseJson(data);
    const draft = {
      type: request.params.topic,
      ...(data.length === 0 ? {} : { data }),
      ...(datacontenttype === undefined || data.length === 0 ? {} : { datacontenttype }),
    };
    const [published] = await publish(request.caller, [draft], idempotencyKeyOf(request));
    return answerOne(reply, published as Published);
  });
}

const linesElsewhere = (): Problem =>
  new Problem('unsupported_media_type', 'events as NDJSON name their topic line by line', {
    advice: 'Send them to POST /v1/events.',
  });

function bodyOf(request: FastifyRequest): Uint8Array {
  return request.body instanceof Uint8Array ? request.body : EMPTY;
}

/** As they came, one pair per line: in Node's object a header that is there twice looks like one. */
function pairsOf(request: FastifyRequest): [string, string][] {
  const { rawHeaders } = request.raw;
  const pairs: [string, string][] = [];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) pairs.push([rawHeaders[at] as string, rawHeaders[at + 1] as string]);
  return pairs;
}

function idempotencyKeyOf(request: FastifyRequest): string | undefined {
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
