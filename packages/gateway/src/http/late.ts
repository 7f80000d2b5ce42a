/**
 * Bodies that trickle: a request whose body is not whole in time is answered and cut off. Not Node's `requestTimeout`, which
 * is one for the whole server: a stream of lines may last as long as it likes.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { Problem } from '@millrace/core/problem';
import type { Limits } from '../limits.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import { hasBody } from './bodies.ts';
import { isLines } from './lines.ts';
import { answerSocket } from './problems.ts';

export function cutLateBodies(app: FastifyInstance, { clock, limits }: { readonly clock: Clock; readonly limits: Limits }): void {
  /** Requests whose body is still coming, oldest first, with when that began. */
  const waiting = new Map<FastifyRequest, number>();
  let timer: Timer | undefined;

  function cut(): void {
    timer = undefined;
    const dueMs = clock.monotonic() - limits.requestMs;
    for (const [request, sinceMs] of waiting) {
      if (sinceMs > dueMs) break;
      waiting.delete(request);
      answerSocket(
        request.raw.socket,
        new Problem('request_timeout', `the body did not arrive within ${limits.requestMs / 1_000} s`),
      );
    }
    watch();
  }

  function watch(): void {
    if (waiting.size > 0) timer ??= clock.after(limits.lateCheckMs, cut);
  }

  app.addHook('onRequest', (request, _reply, done) => {
    if (hasBody(request)) {
      if (!isLines(request)) waiting.set(request, clock.monotonic());
      watch();
    }
    done();
  });
  app.addHook('preValidation', (request, _reply, done) => {
    waiting.delete(request);
    done();
  });
  app.addHook('onResponse', (request, _reply, done) => {
    waiting.delete(request);
    done();
  });
  app.addHook('onRequestAbort', (request, done) => {
    waiting.delete(request);
    done();
  });
  app.addHook('onClose', () => timer?.cancel());
}
