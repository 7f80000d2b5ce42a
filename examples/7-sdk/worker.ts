/**
 * Works on orders, with as many copies of itself as you start: `node worker.ts`. MILLRACE_URL is the gateway (http://127.0.0.1:4400), MILLRACE_KEY
 * a key of it. Ctrl-C lets what is begun end, and be acked.
 */
import { connect, ws } from '../../sdk/js/millrace.ts';

const { MILLRACE_URL: url = 'http://127.0.0.1:4400', MILLRACE_KEY: key = '' } = process.env;

const gateway = connect({ url, key, transports: [ws] });

const orders = gateway.subscribe(
  'orders.created',
  async (event, { attempt }) => {
    console.log(`${event.type}  ${event.id}  ${JSON.stringify(event.data)}  attempt ${attempt}`);
    if ((event.data as { amount?: number } | undefined)?.amount === undefined) throw new Error('an order without an amount');
    // The key makes it one event, however often this order is worked on.
    await gateway.sendEvent({ type: 'orders.paid', data: event.data }, { idempotencyKey: `paid-${event.id}` });
  },
  { group: 'payments', concurrency: 8 },
);

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void gateway.close());
await orders.ready;
console.log('works on orders.created');
