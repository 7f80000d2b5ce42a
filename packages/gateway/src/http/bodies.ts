/** Which bodies the door takes, and how they reach the routes. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { parseJson } from '@millrace/core/json-scan';
import { Problem } from '@millrace/core/problem';
import type { Limits } from '../limits.ts';

/** Bytes as they came: a payload is stored as it was sent. */
export function takeAnyBody(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
}

export function takeJson(app: FastifyInstance, { configurationBytes }: Limits): void {
  app.addHook('onRoute', (route) => void (route.bodyLimit ??= configurationBytes));
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    ['application/json', 'application/merge-patch+json'],
    { parseAs: 'buffer' },
    (_request, body, done) => {
      try {
        done(null, body.length === 0 ? undefined : parseJson(body as Buffer));
      } catch (error) {
        done(error as Problem);
      }
    },
  );
  // A call without a body is a call with an empty one: what it must hold, its schema says.
  app.addHook('preValidation', (request, _reply, done) => {
    request.body ??= {};
    done();
  });
}

/** Whether something comes, or may come, behind the headers. */
export function hasBody({ headers }: FastifyRequest): boolean {
  const { 'content-length': length, 'transfer-encoding': encoding } = headers;
  return (length !== undefined && length !== '0') || encoding !== undefined;
}

/** Payloads are kept as they were sent: what was compressed would be delivered so, or be taken for broken JSON. */
export function refuseCompressed(app: FastifyInstance): void {
  app.addHook('onRequest', (request, reply, done) => {
    const coding = request.headers['content-encoding']?.trim().toLowerCase();
    if (coding === undefined || coding === '' || coding === 'identity' || !hasBody(request)) return done();
    // RFC 9110, section 15.5.16.
    void reply.header('accept-encoding', 'identity');
    throw new Problem('unsupported_media_type', `the body is compressed (Content-Encoding: ${coding.slice(0, 40)})`, {
      advice: 'Send it uncompressed, without Content-Encoding.',
    });
  });
}
