/** A gateway of its own for a test: a real process, and what a person would ask it. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { type Ready, ready, type Running, startProcess, temporary } from '../../packages/gateway/test/process.ts';

// oxlint-disable-next-line typescript/no-explicit-any -- answers of every shape
type Json = any;

export interface Gateway extends Pick<Ready, 'address' | 'key' | 'ask'> {
  readonly running: Running;
  /** Makes it, and returns its secret. */
  subscribe(id: string, members: object): Promise<string>;
  publish(event: object): Promise<string>;
  /** The delivery of the event to the subscription, once it is so: the ledger is written after the answer. */
  delivery(subscription: string, eventId: string, isSo: (delivery: Json) => boolean): Promise<Json>;
}

export async function startGateway(t: Pick<TestContext, 'after'>, options: readonly string[] = []): Promise<Gateway> {
  const running = startProcess(t, ['dev', '--no-sample', '--json', '--port', '0', '--data', temporary(t), ...options]);
  const { address, key, ask } = await ready(running);
  return {
    running,
    address,
    key,
    ask,
    async subscribe(id, members) {
      const { status, json } = await ask(`PUT /v1/subscriptions/${id}`, { topics: ['>'], ...members });
      assert.equal(status, 201, JSON.stringify(json));
      return json.secret;
    },
    async publish(event) {
      const { status, json } = await ask('POST /v1/events', event);
      assert.equal(status, 202, JSON.stringify(json));
      return json.id;
    },
    async delivery(subscription, eventId, isSo) {
      for (;;) {
        const { json } = await ask(`GET /v1/deliveries?subscription=${subscription}`);
        const found = json.data.find(({ event }: Json) => event.id === eventId);
        if (found !== undefined && isSo(found)) return found;
      }
    },
  };
}
