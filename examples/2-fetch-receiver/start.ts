/**
 * Runs the handler on Node: `node start.ts`, with WEBHOOK_SECRETS, WEBHOOK_SIGNATURE (standard or simple) and PORT (3000).
 * The inbox is in memory: what was acked and not done is gone when the process ends.
 */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createMemoryInbox, type Message } from '../1-express-receiver/inbox.ts';
import { createDrain, createReceiver } from './receiver.ts';
import { serve } from './serve.ts';
import { simple, standard } from './verify.ts';

const { WEBHOOK_SECRETS = '', WEBHOOK_SIGNATURE = 'standard', PORT = '3000' } = process.env;
const secrets = WEBHOOK_SECRETS.split(',').filter((secret) => secret !== '');
if (secrets.length === 0) throw new Error('WEBHOOK_SECRETS is empty: set it to the secret of the subscription');

/** All that are open are worked on at once: this bounds both. */
const OPEN_MAX = 100;
const inbox = createMemoryInbox({ openMax: OPEN_MAX });
const receive = createReceiver({
  verify: WEBHOOK_SIGNATURE === 'simple' ? simple({ secrets }) : standard({ secrets }),
  inbox,
  drain: createDrain({ inbox, work, onFailed: ({ id }, error) => console.error(`given up: ${id}: ${error}`) }),
  waitUntil: (promise) => void promise.catch(console.error),
});
const server = serve(receive, Number(PORT));
await once(server, 'listening');
console.log(`receives on http://127.0.0.1:${(server.address() as AddressInfo).port}/hooks`);

/** Yours. Throwing means: once more, after a pause. */
async function work({ id, headers, body }: Message): Promise<void> {
  console.log(`${headers['ce-type']}  ${id}  ${new TextDecoder().decode(body)}`);
}
