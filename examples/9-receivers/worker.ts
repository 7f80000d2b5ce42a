/**
 * A receiver on Cloudflare Workers. What was seen stands in a Durable Object, as KV can't compare and set; the object's stub, over RPC, is the store.
 *
 *   export { Seen };
 *   export default onWorkers((env) => ({
 *     handle: (event) => env.ORDERS.put(event.id, JSON.stringify(event.data)), ack: 'first', gateways: ['https://events.example'],
 *   }));
 *
 * wrangler.jsonc: "durable_objects": { "bindings": [{ "name": "SEEN", "class_name": "Seen" }] },
 *   "migrations": [{ "tag": "v1", "new_sqlite_classes": ["Seen"] }], a cron trigger every few minutes, and
 * `wrangler secret put WEBHOOK_SECRETS`: several with commas between them, while one is rotated.
 *
 * RPC takes public methods of a class that extends DurableObject: https://developers.cloudflare.com/durable-objects/best-practices/create-durable-object-stubs-and-send-requests/
 * `ctx.waitUntil` lets work go on for up to 30 s after the answer: https://developers.cloudflare.com/workers/runtime-apis/context/
 */
import { DurableObject, type DurableObjectNamespace, type DurableObjectState } from 'cloudflare:workers';
import { durableObjectStore, receiver, type ReceiverOptions, type SeenStore } from '../../sdk/js/millrace.ts';

export interface Env {
  readonly SEEN: DurableObjectNamespace<SeenStore>;
  readonly WEBHOOK_SECRETS: string;
}

interface Context {
  waitUntil(work: Promise<unknown>): void;
}

/** Receivers are made anew for each request: on Workers nothing asynchronous may be carried from one to the next. */
export function onWorkers<E extends Env>(options: (env: E) => Omit<ReceiverOptions, 'secrets' | 'store'>) {
  const receiverOf = (env: E) =>
    receiver({ secrets: env.WEBHOOK_SECRETS.split(','), store: env.SEEN.get(env.SEEN.idFromName('webhooks')), ...options(env) });
  return {
    fetch: (request: Request, env: E, context: Context): Promise<Response> => receiverOf(env)(request, context),
    /** By a cron trigger: what was acked first and cut off. */
    scheduled: async (_event: unknown, env: E): Promise<void> => void (await receiverOf(env).drain()),
  };
}

/** One object for all webhooks that share an id space: some thousand claims a second, which its one thread can do. */
export class Seen extends DurableObject implements SeenStore {
  readonly #store: SeenStore;

  constructor(state: DurableObjectState, env: unknown) {
    super(state, env);
    this.#store = durableObjectStore(state.storage);
  }

  claim(...args: Parameters<SeenStore['claim']>) {
    return this.#store.claim(...args);
  }

  done(...args: Parameters<SeenStore['done']>) {
    return this.#store.done(...args);
  }

  release(...args: Parameters<SeenStore['release']>) {
    return this.#store.release(...args);
  }

  next(...args: Parameters<NonNullable<SeenStore['next']>>) {
    return this.#store.next?.(...args) ?? Promise.resolve(undefined);
  }
}
