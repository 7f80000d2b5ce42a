/**
 * Answers to requests whose body is still coming: it is of no use, and may be long. The connection is closed behind the answer,
 * in stages (RFC 9112, section 9.6): one that is destroyed with bytes unread takes the answer away from the client, too.
 */
import { Socket } from 'node:net';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { type Problem, PROBLEMS } from '@millrace/core/problem';
import type { Limits } from '../limits.ts';
import type { Clock } from '../ports/clock.ts';
import { hasBody } from './bodies.ts';

type Headers = Readonly<Record<string, string | number | readonly string[] | undefined>>;

export interface Closing {
  readonly clock: Clock;
  readonly limits: Limits;
}

/**
 * What was under way when the door closed is answered, and its connection ends with that: kept open by a client that asks for
 * nothing more, it would hold the door until it is cut. (Fastify sees to what is asked later.)
 */
export function endConnectionsOnClose(app: FastifyInstance): void {
  let isClosing = false;
  app.addHook('preClose', async () => void (isClosing = true));
  app.addHook('onSend', (_request, reply, payload, done) => {
    if (isClosing) void reply.header('connection', 'close');
    done(null, payload);
  });
}

/** Undefined for a request that a test injected. */
export function connectionOf({ raw }: FastifyRequest): Socket | undefined {
  return raw.socket instanceof Socket ? raw.socket : undefined;
}

/** Whether more of a body may come than is thrown away for the sake of keeping a connection. */
export function isBodyComing(request: FastifyRequest, { discardedBytes }: Limits): boolean {
  if (connectionOf(request) === undefined || request.raw.complete || !hasBody(request)) return false;
  const length = request.headers['content-length'];
  return length === undefined || Number(length) > discardedBytes;
}

/** The reply is Fastify's no more: it would be ended by destroying the connection. */
export function answerAndClose(reply: FastifyReply, problem: Problem, closing: Closing): void {
  const { request } = reply;
  const headers = reply.getHeaders();
  reply.hijack();
  const socket = request.raw.socket;
  if (answerSocket(socket, problem, { ...closing, headers })) discard(request, closing.limits);
}

/**
 * Where there is no reply to answer with: written by hand, and the end of the connection; at the latest after `closeMs`, which
 * is for the client to read it. False where nobody can be answered.
 */
export function answerSocket(
  socket: Socket,
  problem: Problem,
  { clock, limits, headers = {} }: Closing & { readonly headers?: Headers },
): boolean {
  if (!socket.writable) {
    socket.destroy();
    return false;
  }
  const timer = clock.after(limits.closeMs, () => socket.destroy());
  socket.once('close', () => timer.cancel());
  socket.end(textOf(problem, headers));
  return true;
}

function textOf(problem: Problem, headers: Headers): string {
  const body = JSON.stringify(problem);
  const all = {
    ...headers,
    'content-type': 'application/problem+json',
    'content-length': Buffer.byteLength(body),
    connection: 'close',
  };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${String(value)}`);
  return [`HTTP/1.1 ${problem.status} ${PROBLEMS[problem.code][1]}`, ...lines, '', body].join('\r\n');
}

/** What comes is thrown away up to a bound: then it waits with the client, which reads its answer or is cut off. */
function discard({ raw }: FastifyRequest, { discardedBytes }: Limits): void {
  let bytes = 0;
  raw.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > discardedBytes) raw.pause();
  });
  raw.once('end', () => raw.socket.destroySoon());
  raw.on('error', () => undefined);
  raw.resume();
}
