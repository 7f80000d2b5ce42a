/** What Express and Fastify have in common: a request of node:http as a web-standard one, and its answer. */
import type { IncomingMessage, ServerResponse } from 'node:http';

/** The receiver does not look at the address, and a hostile one could not be parsed. */
const ANYWHERE = 'http://localhost/';

export function requestOf(incoming: IncomingMessage): Request {
  const { method = 'GET', rawHeaders } = incoming;
  const headers = new Headers();
  for (let at = 0; at < rawHeaders.length; at += 2) headers.append(rawHeaders[at] ?? '', rawHeaders[at + 1] ?? '');
  // A stream, so that the receiver's bound counts before everything is in memory; one that leaves the socket open for the answer when it is given up.
  const body = ReadableStream.from(incoming.iterator({ destroyOnReturn: false }));
  return new Request(ANYWHERE, { method, headers, ...(method === 'GET' || method === 'HEAD' ? {} : { body, duplex: 'half' }) });
}

export async function answer(incoming: IncomingMessage, outgoing: ServerResponse, response: Response): Promise<void> {
  // What is left of a body that is too long is thrown away until the sender has read why: `server.requestTimeout` ends it.
  if (!incoming.readableEnded) outgoing.setHeader('connection', 'close');
  outgoing.writeHead(response.status, Object.fromEntries(response.headers));
  outgoing.end(Buffer.from(await response.arrayBuffer()));
  incoming.resume();
}

export interface Work {
  waitUntil(work: Promise<unknown>): void;
  /** Resolves when nothing is open: await it before the process ends. */
  idle(): Promise<void>;
}

/** Node has no `waitUntil`: work goes on after an answer by itself, and is cut off where the process ends. */
export function createWork(): Work {
  const open = new Set<Promise<unknown>>();
  return {
    waitUntil(work) {
      open.add(work);
      void work.finally(() => open.delete(work));
    },
    async idle() {
      while (open.size > 0) await Promise.allSettled(open);
    },
  };
}
