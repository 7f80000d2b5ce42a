/** A publisher that counts: one order after the other, each until the gateway has it, whatever happens to the gateway. */
import type { TestContext } from 'node:test';
import { connect, outbox } from '../../sdk/js/millrace.ts';
import { CUSTOMERS } from './book.ts';

export interface Counter {
  readonly source: string;
  /** How many the gateway has taken. */
  readonly count: number;
  reached(count: number): Promise<void>;
  /** Resolves with how many there were. */
  stop(): Promise<number>;
}

const PACE_MS = 25;

export function startCounter(t: Pick<TestContext, 'after'>, { url, key }: { url: string; key: string }): Counter {
  const source = '/counters/one';
  const gateway = connect({ url, key, hooks: { onError: () => undefined } });
  const box = outbox(gateway, { maxEvents: 1 });
  let [count, isStopped] = [0, false];
  let bell = Promise.withResolvers<void>();

  async function run(): Promise<void> {
    while (!isStopped) {
      const n = count + 1;
      const data = { n, customer: `Customer ${n % CUSTOMERS}`, amount: 5 + ((n * 37) % 95) };
      await box.sendEvent({ type: 'orders.created', source, partitionkey: `customer-${n % CUSTOMERS}`, data });
      count = n;
      bell.resolve();
      bell = Promise.withResolvers();
      // real time: it publishes as long as the gateway takes to be killed, to come back, and to want another token
      await new Promise((resolve) => setTimeout(resolve, PACE_MS));
    }
  }

  const running = run();
  async function stop(): Promise<number> {
    isStopped = true;
    await running;
    return count;
  }
  t.after(() => void (isStopped = true));
  return {
    source,
    get count() {
      return count;
    },
    async reached(wanted) {
      while (count < wanted) await bell.promise;
    },
    stop,
  };
}
