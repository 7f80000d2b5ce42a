/** A fetch handler on node:http. Deno, Bun and Workers need none of this: they take the handler as it is. */
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { Readable } from 'node:stream';

/** Listens on 127.0.0.1. What the handler throws is answered with 500: a sender comes again. */
export function serve(handler: (request: Request) => Promise<Response>, port: number): Server {
  return createServer((incoming, outgoing) => {
    void handler(requestOf(incoming))
      .catch((error: unknown) => {
        console.error(error);
        return new Response(null, { status: 500 });
      })
      .then(async (response) => {
        outgoing.writeHead(response.status, Object.fromEntries(response.headers));
        outgoing.end(Buffer.from(await response.arrayBuffer()));
      });
  }).listen(port, '127.0.0.1');
}

function requestOf(incoming: IncomingMessage): Request {
  const { method = 'GET', url = '/', headers } = incoming;
  const hasBody = method !== 'GET' && method !== 'HEAD';
  return new Request(new URL(url, 'http://127.0.0.1'), {
    method,
    headers: Object.entries(headers).map(([name, value]) => [name, String(value)]),
    // A stream, so that the handler's bound counts before everything is in memory.
    ...(hasBody ? { body: Readable.toWeb(incoming), duplex: 'half' } : {}),
  });
}
