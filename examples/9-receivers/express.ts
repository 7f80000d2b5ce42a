/**
 * A receiver on Express 5, before anything that reads bodies: what is signed is the bytes, and they can be read once.
 *
 *   const app = express();
 *   app.all('/hooks', onExpress(receiver({ secrets, store, handle })));
 *   app.use(express.json()); // what comes after it may do as it likes
 */
import type { RequestHandler } from 'express';
import type { Receiver } from '../../sdk/js/millrace.ts';
import { answer, createWork, requestOf, type Work } from './node.ts';

/** With `ack: 'first'` give it a `work` of yours, and await its `idle()` after `server.close()`. */
export function onExpress(receive: Receiver, work: Work = createWork()): RequestHandler {
  return async (request, response) => {
    if (request.readableDidRead) throw new Error('the body was read already: the webhook route goes before express.json()');
    await answer(request, response, await receive(requestOf(request), work));
  };
}
