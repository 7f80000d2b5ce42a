/**
 * Publishes one event, the same once more, and a batch with one that is refused: `node publish.ts`.
 * MILLRACE_KEY is the key; MILLRACE_URL the gateway (http://127.0.0.1:4400).
 */
import { createPublisher, PublishError } from './publisher.ts';

const { MILLRACE_URL: url = 'http://127.0.0.1:4400', MILLRACE_KEY: key = '' } = process.env;
const { publish, publishAll } = createPublisher({ url, key });

try {
  const order = { type: 'orders.created', partitionkey: 'customer-7', data: { id: 42, amount: 150 } };
  const first = await publish(order, 'order-42-created');
  const again = await publish(order, 'order-42-created');
  for (const { status, id } of [first, again]) console.log(`${status}  ${id}`);
  const results = await publishAll([
    { type: 'orders.paid', id: 'order-42-paid', source: '/shop', data: { id: 42 } },
    { type: 'orders.*', data: { id: 43 } },
  ]);
  for (const result of results)
    console.log('problem' in result ? `${result.problem.code}  ${result.problem.detail}` : `${result.status}  ${result.id}`);
} catch (error) {
  if (!(error instanceof PublishError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
