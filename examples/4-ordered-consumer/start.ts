/**
 * Subscribes and runs the consumer: `node start.ts`. MILLRACE_KEY is the key, MILLRACE_URL the gateway
 * (http://127.0.0.1:4400), STATE the file of what it knows (latest.db), PORT (3000), FAIL_EVERY=3 refuses every third request.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { serve } from '../2-fetch-receiver/serve.ts';
import { standard } from '../2-fetch-receiver/verify.ts';
import { createConsumer } from './consumer.ts';
import { type Change, openLatest } from './latest.ts';
import { subscribe } from './subscription.ts';

const { MILLRACE_URL: url = 'http://127.0.0.1:4400', MILLRACE_KEY: key = '', STATE = 'latest.db', PORT = '3000' } = process.env;
const failEvery = Number(process.env['FAIL_EVERY'] ?? Infinity);
// A new one with every start is enough for one process; several need to share theirs.
const secret = process.env['WEBHOOK_SECRET'] ?? `whsec_${randomBytes(32).toString('base64')}`;

const latest = openLatest(STATE);
const consume = createConsumer({
  verify: standard({ secrets: [secret] }),
  apply: latest.apply,
  onChange: ({ key, sequence, data }: Change, isNews) =>
    console.log(`${key}  ${sequence}  ${isNews ? data : 'old: left as it is'}`),
});
let requests = 0;
const server = serve(async (request) => {
  if (++requests % failEvery !== 0) return consume(request);
  console.log('refused, to show what happens');
  return new Response(null, { status: 500 });
}, Number(PORT));
await once(server, 'listening');
const to = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hooks`;
await subscribe({ url, key, id: 'example-4', topics: ['orders.changed'], to, secret });
console.log(`subscribed as example-4, receives on ${to}`);
