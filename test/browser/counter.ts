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

const PACE_MS = 100;
const NAMES = ['Femi', 'Greta', 'Hana', 'Ilse', 'João'];

export function startCounter(t: Pick<TestContext, 'after'>, { url, key }: { url: string; key: string }): Counter {
  const source = '/counters/one';
  const gateway = connect({ url, key, hooks: { onError: () => undefined } });
  const box = outbox(gateway, { maxEvents: 1 });
  const ended = new AbortController();
  let [count, isStopped] = [0, false];
  let bell = Promise.withResolvers<void>();

  async function run(): Promise<void> {
    while (!isStopped) {
      const n = count + 1;
      const customer = NAMES[n % CUSTOMERS] ?? '';
      const data = { n, customer, amount: 5 + ((n * 37) % 95) };
      const order = { type: 'orders.created', source, partitionkey: customer, data };
      await box.sendEvent(order, { signal: ended.signal });
      count = n;
      bell.resolve();
      bell = Promise.withResolvers();
      // real time: it publishes as long as the gateway takes to be killed, to come back, and to want another token
      await new Promise((resolve) => setTimeout(resolve, PACE_MS));
    }
  }

  const running = run();
  running.catch(() => undefined); // the test is over, and the gateway gone
  async function stop(): Promise<number> {
    isStopped = true;
    await running;
    return count;
  }
  t.after(() => {
    isStopped = true;
    ended.abort();
    return gateway.close({ now: true });
  });
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
