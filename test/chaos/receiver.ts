/** The endpoint of one subscription: a real server that notes every request in the book and answers as its spec says. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Random } from '../simulation/random.ts';
import type { Book, Published } from './book.ts';
import type { Answer, Spec } from './subscriptions.ts';
import { createSignal, pass } from './waiting.ts';

export interface Receiver {
  readonly url: string;
  /** Requests that are not answered yet. */
  readonly open: number;
  /** Resolves when no connection is left: then everything that a killed gateway had sent was noted. */
  quiet(): Promise<void>;
  close(): Promise<void>;
}

interface Needs {
  readonly spec: Spec;
  readonly book: Book;
  readonly random: Random;
  readonly isCalm: () => boolean;
}

export async function startReceiver({ spec, book, random, isCalm }: Needs): Promise<Receiver> {
  const sockets = new Set<Socket>();
  const busyKeys = new Map<string, Published>();
  const changed = createSignal();
  let open = 0;

  // Idle connections stay: a receiver that closes one makes the gateway send again, which here would look like a duplicate.
  const server = createServer({ keepAliveTimeout: 0, requestTimeout: 0 }, (request, response) => {
    open++;
    response.on('close', () => open--);
    take(request, response).catch((error: unknown) => {
      // Cut off in its middle by a kill: as if it had never come.
      if (request.complete) book.breach(`the receiver of ${spec.id} failed: ${String(error)}`);
      request.destroy();
    });
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => {
      sockets.delete(socket);
      changed.fire();
    });
  });

  async function take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const event = eventOf(request, Buffer.concat(chunks).toString());
    if (event === undefined) return void response.writeHead(400).end();
    const answer = spec.answer(event, { random, life: book.life.n, calm: isCalm() });
    const { 'webhook-id': webhookId, 'ce-sequence': sequence } = request.headers;
    const accepted = answer.status === 200 || answer.status === 204;
    book.arrived(spec.id, { event, webhookId: String(webhookId), sequence: String(sequence), accepted });
    const release = spec.ordered && event.key !== undefined ? holdKey(event.key, event) : () => undefined;
    response.on('close', release);
    if (answer.delayMs > 0) await pass(answer.delayMs);
    release();
    answerWith(answer, request, response);
  }

  /** With `ordering: key` a key has one request at a time. What is returned may be called twice. */
  function holdKey(key: string, event: Published): () => void {
    const before = busyKeys.get(key);
    if (before !== undefined) book.breach(`${spec.id} got ${event.id} while ${before.id} of the same key ${key} was under way`);
    busyKeys.set(key, event);
    return () => busyKeys.get(key) === event && busyKeys.delete(key);
  }

  /** Of which event it is; anything about it that is not as it was published is a breach. */
  function eventOf({ headers }: IncomingMessage, body: string): Published | undefined {
    const event = book.events.get(String(headers['ce-id']));
    const wrong =
      event === undefined
        ? `an event that nobody published: ${String(headers['ce-id'])}`
        : !spec.wants(event.topic)
          ? `${event.id} of the topic ${event.topic}, which it has not subscribed to`
          : body !== event.data || headers['ce-type'] !== event.topic || headers['ce-partitionkey'] !== event.key
            ? `${event.id} with another body, type or key than it was published with`
            : headers['millrace-subscription'] !== spec.id || headers['x-idempotency-key'] !== headers['webhook-id']
              ? `${event.id} under the wrong name`
              : undefined;
    if (wrong !== undefined) book.breach(`${spec.id} got ${wrong}`);
    return event;
  }

  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/${spec.id}`,
    get open() {
      return open;
    },
    async quiet() {
      while (sockets.size > 0) await changed.next();
    },
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

function answerWith({ status }: Answer, request: IncomingMessage, response: ServerResponse): void {
  if (status === 'reset') request.socket.resetAndDestroy();
  else response.writeHead(status).end();
}
