/**
 * Works on orders, with as many copies of itself as you start: `node worker.ts`. MILLRACE_URL is the gateway (http://127.0.0.1:4400), MILLRACE_KEY
 * a key of it. Ctrl-C lets what is begun end, and be acked.
 */
import { connect, type Hooks, ws } from '../../sdk/js/millrace.ts';

const { MILLRACE_URL: url = 'http://127.0.0.1:4400', MILLRACE_KEY: key = '' } = process.env;

// Whoever starts it before its gateway sees why nothing happens; it connects by itself when the gateway is there.
const onState: Hooks['onState'] = (now) => {
  if (now.state === 'waiting')
    console.warn(`no connection to ${url} (${now.code}), again in ${Math.ceil(now.retryMs / 1_000)} s`);
};
const gateway = connect({ url, key, transports: [ws], hooks: { onState } });

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
orders.ready.then(
  () => console.log('works on orders.created'),
  (error: Error) => {
    console.error(`does not work on orders.created: ${error.message}`);
    process.exitCode = 1;
  },
);
