/** A webhook's endpoint by the SDK, on node:http: `node receiver.ts`. WEBHOOK_SECRETS verify, PORT is where it listens, SEEN the file of its memory. */
import type { AddressInfo } from 'node:net';
import { DatabaseSync } from 'node:sqlite';
import { receiver, sqliteStore } from '../../sdk/js/millrace.ts';
import { serve } from '../2-fetch-receiver/serve.ts';

const { WEBHOOK_SECRETS = '', PORT = '3000', SEEN = 'seen.db' } = process.env;

const handler = receiver({
  secrets: WEBHOOK_SECRETS.split(','),
  store: sqliteStore(new DatabaseSync(SEEN)),
  handle: (event, { id }) => console.log(`${event.type}  ${id}  ${JSON.stringify(event.data)}`),
  onError: (error) => console.error(String(error)),
});

const server = serve(handler, Number(PORT));
server.on('listening', () => console.log(`receives on http://127.0.0.1:${(server.address() as AddressInfo).port}/hooks`));
