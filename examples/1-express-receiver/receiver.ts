/** A receiver on Express: verify, keep, ack at once, and let the worker do the rest. */
import express, { type ErrorRequestHandler, type Express, type Request } from 'express';
import type { Inbox } from './inbox.ts';
import type { Verify } from './verify.ts';

/** Millrace sends at most 512 KB of payload; with `"body": "event"` attributes and base64 come on top. */
const BODY_BYTES_MAX = 1024 * 1024;
/** What a sender is asked to wait while the inbox is full. */
const FULL_SECONDS = 1;

export interface ReceiverNeeds {
  readonly verify: Verify;
  readonly inbox: Inbox;
  /** Called when there is something new in the inbox. */
  readonly wake: () => void;
}

export function createReceiver({ verify, inbox, wake }: ReceiverNeeds): Express {
  const app = express();
  app.disable('x-powered-by');
  // Not `express.json()`: what is signed is the bytes, whatever their type. And no unpacking: Millrace never packs.
  const bytes = express.raw({ type: () => true, limit: BODY_BYTES_MAX, inflate: false });

  // oxlint-disable-next-line oxc/no-async-endpoint-handlers -- Express 5 answers a rejection with 500; Express 4 would not answer
  app.post('/hooks', bytes, async (request, response) => {
    const body = bodyOf(request);
    if (!verify(request.headers, body)) return void response.sendStatus(401);
    // Not `x-idempotency-key`: it says the same, and is not among what is signed.
    const id = request.get('webhook-id');
    if (id === undefined) return void response.sendStatus(400);
    const answer = await inbox.seen({ id, headers: headersOf(request), body });
    if (answer === 'full') return void response.set('retry-after', String(FULL_SECONDS)).sendStatus(503);
    response.sendStatus(204);
    if (answer === 'new') wake();
  });

  app.use(answerError);
  return app;
}

/** An event without data has no body, and then Express gives none. */
function bodyOf({ body }: Request): Buffer {
  return Buffer.isBuffer(body) ? body : Buffer.alloc(0);
}

/** What a worker may want to know; no signatures. */
function headersOf({ headers }: Request): Record<string, string> {
  const wanted = Object.entries(headers).filter(([name]) => name === 'content-type' || name.startsWith('ce-'));
  return Object.fromEntries(wanted.map(([name, value]) => [name, String(value)]));
}

/** Express would show a stranger the stack. Anything but 2xx is sent again. */
const answerError: ErrorRequestHandler = (error: { readonly status?: number }, _request, response, _next) => {
  const { status = 500 } = error;
  if (status >= 500) console.error(error);
  response.sendStatus(status);
};
