/**
 * A receiver on Fastify 5, as a plugin: its parsers are its own, so other routes keep their JSON.
 *
 *   const app = fastify();
 *   await app.register(onFastify(receiver({ secrets, store, handle }), '/hooks'));
 *
 * Parsers are encapsulated, and a parser without `parseAs` is given the stream:
 * https://fastify.dev/docs/latest/Reference/ContentTypeParser/
 */
import type { FastifyPluginAsync } from 'fastify';
import type { Receiver } from '../../sdk/js/millrace.ts';
import { answer, createWork, requestOf, type Work } from './node.ts';

/** With `ack: 'first'` give it a `work` of yours; closing the app waits for it. */
export function onFastify(receive: Receiver, url: string, work: Work = createWork()): FastifyPluginAsync {
  return async (app) => {
    // Nothing is parsed, whatever its type says: what is signed is the bytes.
    app.removeAllContentTypeParsers();
    app.addContentTypeParser('*', (_request, payload, done) => done(null, payload));
    app.route({
      method: ['GET', 'POST', 'OPTIONS'],
      url,
      async handler({ raw }, reply) {
        const response = await receive(requestOf(raw), work);
        reply.hijack();
        await answer(raw, reply.raw, response);
      },
    });
    app.addHook('onClose', () => work.idle());
  };
}
