/**
 * Bodies that trickle: a request whose body is not whole in time is answered and cut off. Not Node's `requestTimeout`, which
 * is one for the whole server: a stream of lines may last as long as it likes.
 */
import type { FastifyInstance, FastifyReply } from 'fastify';
import { Problem } from '@millrace/core/problem';
import type { Timer } from '../ports/clock.ts';
import { hasBody } from './bodies.ts';
import { answerSocket, type Closing, connectionOf } from './closing.ts';
import { isLines } from './lines.ts';

export function cutLateBodies(app: FastifyInstance, closing: Closing): void {
  const { clock, limits } = closing;
  /** Requests whose body is still coming, oldest first, with when that began; answered ones, too, whose body is thrown away. */
  const waiting = new Map<FastifyReply, number>();
  let timer: Timer | undefined;

  function cut(): void {
    timer = undefined;
    const dueMs = clock.monotonic() - limits.requestMs;
    for (const [reply, sinceMs] of waiting) {
      if (sinceMs > dueMs) break;
      waiting.delete(reply);
      cutOff(reply);
    }
    watch();
  }

  function cutOff({ request, sent, raw }: FastifyReply): void {
    const { socket } = request.raw;
    if (sent || raw.headersSent) return void socket.destroy();
    answerSocket(socket, new Problem('request_timeout', `the body did not arrive within ${limits.requestMs / 1_000} s`), closing);
  }

  function watch(): void {
    if (waiting.size > 0) timer ??= clock.after(limits.lateCheckMs, cut);
  }

  app.addHook('onRequest', (request, reply, done) => {
    if (hasBody(request) && !isLines(request) && connectionOf(request) !== undefined) {
      const forget = (): void => void waiting.delete(reply);
      waiting.set(reply, clock.monotonic());
      request.raw.once('end', forget).once('close', forget);
      watch();
    }
    done();
  });
  app.addHook('onClose', () => timer?.cancel());
}
