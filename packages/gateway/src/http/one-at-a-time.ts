/**
 * One request of a connection at a time. A client may send many without waiting for answers; side by side they would be done
 * in any order (RFC 9112, section 9.3.2, allows that to safe ones alone), and all their answers be held while nobody reads
 * the first. So the next one begins when the answer before it has gone out, and nothing is read from the connection meanwhile.
 */
import { Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { createDeque, type Deque } from '../deque.ts';

interface Queue {
  busy: boolean;
  readonly waiting: Deque<() => void>;
}

export function takeOneAtATime(app: FastifyInstance): void {
  const queues = new WeakMap<Socket, Queue>();

  function queueOf(socket: Socket): Queue {
    const queue = queues.get(socket) ?? { busy: false, waiting: createDeque<() => void>() };
    queues.set(socket, queue);
    return queue;
  }

  function wait(socket: Socket, { waiting }: Queue, begin: () => void): void {
    waiting.push(begin);
    // Node resumes as it likes, whenever a body is read. What one chunk brought is parsed to its end all the same.
    if (waiting.size === 1 && socket.listenerCount('resume', pauseAgain) === 0) socket.on('resume', pauseAgain);
    socket.pause();
  }

  function pauseAgain(this: Socket): void {
    if ((queues.get(this)?.waiting.size ?? 0) > 0) this.pause();
  }

  app.addHook('onRequest', ({ raw: { socket } }, reply, done) => {
    if (!(socket instanceof Socket)) return done();
    const queue = queueOf(socket);
    const begin = (): void => {
      reply.raw.once('close', next);
      done();
    };
    const next = (): void => {
      // Of a connection that is gone nothing more is done, as nothing more is read.
      if (socket.destroyed) return;
      const following = queue.waiting.shift();
      if (following === undefined) return void (queue.busy = false);
      // What the answer before it set for itself.
      socket.setTimeout(0);
      following();
      if (queue.waiting.size === 0) socket.resume();
    };
    if (queue.busy) return wait(socket, queue, begin);
    queue.busy = true;
    begin();
  });
}
