/**
 * The raw limit of deliveries, a process of its own: undici clients and nothing else. They post requests that were signed
 * beforehand, with the headers of our deliveries, each client the next one as soon as the last is answered.
 */
import { randomBytes, createHash } from 'node:crypto';
import { Client, type Dispatcher } from 'undici';
import { encodeBinary } from '@millrace/core/cloud-events-http';
import { newId } from '@millrace/core/ids';
import { webhookId } from '@millrace/core/webhook-id';
import { newSecret } from '@millrace/core/signatures';
import { standardSign } from '@millrace/gateway/signing';
import { cpuNow, cpuSince } from './cpu.ts';
import { APP, eventsOf, TOPIC } from './rig.ts';

export interface Order {
  readonly url: string;
  readonly count: number;
  readonly concurrency: number;
}

interface Request {
  readonly headers: string[];
  readonly body: Uint8Array;
}

/** Enough that no cache holds them all, few enough to be made quickly. */
const REQUESTS = 2_000;

function requestsOf(): Request[] {
  const sign = standardSign([newSecret()]);
  const nowMs = Date.now();
  return eventsOf(REQUESTS).map(({ data = new Uint8Array() }, at) => {
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
    const signed = { ...headers, ...sign(webhook, Math.floor(nowMs / 1_000), body) };
    const all = { 'user-agent': 'millrace/0.1', ...signed, 'x-idempotency-key': webhook, 'millrace-subscription': 'bench' };
    return { headers: Object.entries(all).flat(), body };
  });
}

const requests = requestsOf();
const clients: Client[] = [];

function post({ url, count, concurrency }: Order): Promise<void> {
  const { origin, pathname } = new URL(url);
  while (clients.length < concurrency) clients.push(new Client(origin, { pipelining: 1, headersTimeout: 0, bodyTimeout: 0 }));
  let started = 0;
  let answered = 0;
  return new Promise((resolve, reject) => {
    function next(client: Client): void {
      if (started >= count) return;
      const { headers, body } = requests[started++ % REQUESTS] as Request;
      const handler: Dispatcher.DispatchHandler = {
        onRequestStart: () => undefined,
        onResponseStart: () => undefined,
        onResponseData: () => undefined,
        onResponseEnd() {
          if (++answered === count) resolve();
          next(client);
        },
        onResponseError: (_controller, error) => reject(error),
      };
      client.dispatch({ path: pathname, method: 'POST', headers, body }, handler);
    }
    for (const client of clients.slice(0, concurrency)) next(client);
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
