/** A real HTTP server that plays the gateway where a test needs it to misbehave. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';

export interface Asked {
  readonly route: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface Answer {
  readonly status?: number;
  readonly json?: unknown;
  readonly type?: string;
  /** Sent as it is. */
  readonly text?: string;
  /** The connection breaks after the text. */
  readonly broken?: boolean;
}

export interface Server {
  readonly address: string;
  /** Resolves with all requests once there are so many. */
  asked(count: number): Promise<readonly Asked[]>;
}

export async function serverFor(t: TestContext, answer: (asked: Asked, count: number) => Answer): Promise<Server> {
  const requests: Asked[] = [];
  const waiting = new Set<() => void>();
  const server = createServer((request, response) => {
    void read(request).then((asked) => {
      requests.push(asked);
      send(response, answer(asked, requests.length));
      for (const wake of waiting) wake();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async asked(count) {
      while (requests.length < count) await new Promise<void>((resolve) => waiting.add(resolve));
      return requests;
    },
  };
}

async function read(request: IncomingMessage): Promise<Asked> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return {
    route: `${request.method} ${request.url}`,
    headers: request.headers as Record<string, string>,
    body: Buffer.concat(chunks).toString(),
  };
}

function send(response: ServerResponse, { status = 200, json, text, type, broken = false }: Answer): void {
  response.writeHead(status, { 'content-type': type ?? (json === undefined ? 'text/plain' : 'application/json') });
  const body = json === undefined ? (text ?? '') : JSON.stringify(json);
  if (!broken) return void response.end(body);
  response.write(body, () => response.destroy());
}
