/**
 * The raw limit of deliveries, a process of its own: undici clients and nothing else. They post requests that were signed
 * beforehand, with the headers of our deliveries, each client the next one as soon as the last is answered.
 */
import { randomBytes, createHash } from 'node:crypto';
import { Client, type Dispatcher } from 'undici';
import { encodeBinary } from '@millrace/core/cloud-events-http';
import { newId } from '@millrace/core/ids';
import { webhookId } from '@millrace/core/webhook-id';
import { newSecret, signStandard } from '@millrace/core/signatures';
import type { Draft } from '@millrace/gateway/api';
import { cpuNow, cpuSince } from './cpu.ts';
import { APP, eventsOf, TOPIC } from './rig.ts';

export interface Order {
  /** Of several endpoints; requests and clients are spread over them. */
  readonly urls: readonly string[];
  readonly count: number;
  /** Clients, at least one per endpoint. */
  readonly concurrency: number;
}

interface Request {
  readonly headers: string[];
  readonly body: Uint8Array;
}

interface Line {
  readonly client: Client;
  readonly path: string;
}

/** Connections stay from pass to pass: opening them is no part of what is measured. */
const CLIENT = { pipelining: 1, headersTimeout: 0, bodyTimeout: 0, keepAliveTimeout: 600_000 } as const;
/** Enough that no cache holds them all, few enough to be made quickly. */
const REQUESTS = 2_000;

async function requestsOf(): Promise<Request[]> {
  const secrets = [newSecret()];
  const nowMs = Date.now();
  const timestampSeconds = Math.floor(nowMs / 1_000);
  const requestOf = async ({ data = new Uint8Array() }: Draft, at: number): Promise<Request> => {
    const id = newId('evt', nowMs, (count) => randomBytes(count));
    const source = `/apps/${APP}`;
    const extensions = { sequence: String(at).padStart(16, '0') };
    const time = new Date(nowMs).toISOString();
    const { headers, body } = encodeBinary({
      id,
      source,
      type: TOPIC,
      time,
      datacontenttype: 'application/json',
      extensions,
      data,
    });
    const identity = { subscription: 'x'.repeat(26), publisher: APP, source, id };
    const webhook = webhookId(identity, (bytes) => createHash('sha256').update(bytes).digest());
    const all = {
      'user-agent': 'millrace/0.1',
      ...headers,
      'webhook-id': webhook,
      'webhook-timestamp': String(timestampSeconds),
      'webhook-signature': await signStandard({ id: webhook, timestampSeconds, body, secrets }),
      'x-idempotency-key': webhook,
      'millrace-subscription': 'bench',
    };
    return { headers: Object.entries(all).flat(), body };
  };
  return Promise.all(eventsOf(REQUESTS).map(requestOf));
}

const requests = await requestsOf();
const lines: Line[] = [];

function post({ urls, count, concurrency }: Order): Promise<void> {
  while (lines.length < concurrency) {
    const { origin, pathname } = new URL(urls[lines.length % urls.length] as string);
    lines.push({ client: new Client(origin, CLIENT), path: pathname });
  }
  let started = 0;
  let answered = 0;
  return new Promise((resolve, reject) => {
    function next(own: Line): void {
      if (started >= count) return;
      const { client, path } = own;
      const { headers, body } = requests[started++ % REQUESTS] as Request;
      const handler: Dispatcher.DispatchHandler = {
        onRequestStart: () => undefined,
        onResponseStart: () => undefined,
        onResponseData: () => undefined,
        onResponseEnd() {
          if (++answered === count) resolve();
          next(own);
        },
        onResponseError: (_controller, error) => reject(error),
      };
      client.dispatch({ path, method: 'POST', headers, body }, handler);
    }
    for (const line of lines.slice(0, concurrency)) next(line);
  });
}

process.on('message', (order: Order) => {
  const before = cpuNow();
  void post(order).then(() => {
    process.send?.(cpuSince(before));
  });
});
process.on('disconnect', () => process.exit());
process.send?.('ready');
